"""A run on disk: configuration, manifest, metrics log, checkpoints and sample sheets."""

import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsdcli import __version__
from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError, UsageError
from dsdcli.files import write_json
from dsdcli.network.checkpoint import CONFIG, read_config, save_config, save_tensors
from dsdcli.network.config import ModelConfig, preset
from dsdcli.process.image import one_hot
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import integral_range
from dsdcli.sampling.generate import generate
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.trainer import STATE, Report, Trainer
from dsdcli.view.sheet import write_sheet

MANIFEST = "train.json"
LOG = "metrics.jsonl"
SHEET_IMAGES = 8
SPECTRUM_CROPS = 2000


def make_config(dataset: Dataset, settings: TrainSettings) -> ModelConfig:
    """The model that ``settings`` ask for on ``dataset``; the phase of largest volume is the background.

    Raises:
        DataError: the training images hold a single phase.
    """
    fractions = dataset.fractions("train")
    if (fractions > 0).sum() < 2:
        raise DataError(f"{dataset.path}: the training images hold a single phase; there is nothing to learn")
    background = int(fractions.argmax())
    crops = dataset.crops("train", SPECTRUM_CROPS, settings.size, np.random.default_rng(settings.seed))
    carried = one_hot(torch.from_numpy(crops), tuple(np.delete(np.arange(len(fractions)), background).tolist()))
    return ModelConfig(
        phases=dataset.phases,
        background=background,
        fractions=tuple(float(f) for f in fractions),
        boundary=settings.boundary,
        size=settings.size,
        dose_min=settings.dose_min,
        dose_max=Lattice(settings.size, settings.boundary).mixing_dose(),
        integral_range=tuple(map(tuple, integral_range(carried, settings.boundary).tolist())),
        architecture=preset(settings.preset),
        voxel_size=dataset.voxel_size,
        voxel_unit=dataset.voxel_unit,
        dataset=dataset.path.name,
        dataset_digest=dataset.digest,
    )


def versions() -> dict[str, str]:
    """Versions that decide what a command computes, for manifests and audit records."""
    return {
        "dsd": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


class Run:
    """The folder of one training run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(
        cls, out: Path | None, dataset: Dataset, config: ModelConfig, settings: TrainSettings, argv: list[str]
    ) -> "Run":
        """Make the folder (``runs/<dataset>-001`` and up when ``out`` is None) and write its config and manifest.

        Raises:
            UsageError: ``out`` exists and is not an empty folder, or its parent does not exist.
        """
        if out is None:
            stem = dataset.path.name.split(".")[0]
            Path("runs").mkdir(exist_ok=True)
            number = 1
            while (out := Path("runs") / f"{stem}-{number:03d}").exists():
                number += 1
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} exists already; go on with it by --resume, or name another folder by --out")
        if not out.absolute().parent.is_dir():
            raise UsageError(f"cannot make {out}: the folder {out.absolute().parent} does not exist; create it first")
        out.mkdir(exist_ok=True)
        run = cls(out)
        save_config(out, config)
        write_json(
            out / MANIFEST,
            {
                "settings": asdict(settings),
                "dataset": {"path": str(dataset.path.absolute()), "digest": dataset.digest},
                "argv": argv,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": {"threads": torch.get_num_threads(), "gpu": _gpu_name()},
                "versions": versions(),
            },
        )
        return run

    def manifest(self) -> dict[str, Any]:
        """What the run was started with.

        Raises:
            UsageError: the folder is not a run.
            DataError: its manifest is damaged.
        """
        if not (self.folder / MANIFEST).is_file() or not (self.folder / CONFIG).is_file():
            raise UsageError(f"{self.folder} is not a training run (no {MANIFEST}); runs lie in ./runs")
        try:
            value = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            value["settings"]["size"] = tuple(value["settings"]["size"])
            return value
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.folder / MANIFEST} is damaged ({error}); start a new run") from error

    def settings(self) -> TrainSettings:
        """The settings the run was started with; raises as `manifest`."""
        try:
            return TrainSettings(**self.manifest()["settings"])
        except TypeError as error:
            raise DataError(f"{self.folder / MANIFEST} does not fit this version of dsd ({error})") from error

    def config(self) -> ModelConfig:
        """The model that the run trains; raises as `read_config`."""
        return read_config(self.folder / CONFIG)

    def resumable(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / STATE).is_file()

    def log(self, report: Report) -> None:
        """Append one line to the metrics log; its ``loss`` is the mean of the last 100 steps."""
        line = {"step": report.step, "loss": report.mean, "lr": report.lr, "seconds": round(report.seconds, 3)}
        if report.validation is not None:
            line["validation"] = report.validation
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def trim_log(self, step: int) -> None:
        """Drop the lines after ``step``, so that a resumed run leaves the log of an uninterrupted one."""
        path = self.folder / LOG
        if path.is_file():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] <= step]
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def checkpoint(self, trainer: Trainer, best: bool) -> None:
        """Save the full state and the averaged weights as ``last``, and as ``best`` too if told so."""
        trainer.save(self.folder)
        weights = trainer.average.state_dict()
        save_tensors(self.folder / "last.safetensors", weights)
        if best:
            save_tensors(self.folder / "best.safetensors", weights)

    def sheet(self, trainer: Trainer) -> Path:
        """Draw a few samples with the counts of held-out crops, and write them as a PNG sheet."""
        size, config = trainer.settings.size, trainer.model.config
        crops = trainer.dataset.crops("heldout", SHEET_IMAGES, size, np.random.default_rng(1))
        totals = np.stack([(crops == k).reshape(len(crops), -1).sum(1) for k in range(len(config.phases))], axis=1)
        job = generate(trainer.average, totals, trainer.lattice, Trapezoidal(steps=8), 0, SHEET_IMAGES)
        images = [decoded.image for state in job for _, decoded in state.finished]
        path = self.folder / f"sheet-{trainer.step:06d}.png"
        titles = ["real"] * len(crops) + ["generated"] * len(crops)
        write_sheet(path, np.concatenate([crops, np.stack(images)]), config.phases, len(crops), titles)
        return path


def _gpu_name() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
