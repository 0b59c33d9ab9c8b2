"""A run on disk: configuration, manifest, metrics log and checkpoints."""

import itertools
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError, UsageError
from dsdcli.files import write_json
from dsdcli.network.catalogue import CONFIG
from dsdcli.network.checkpoint import read_config, save_config, save_tensors
from dsdcli.network.config import ModelConfig, preset
from dsdcli.process.image import one_hot
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import integral_range
from dsdcli.record import provenance
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.trainer import STATE, Report, Trainer

MANIFEST = "train.json"
LOG = "metrics.jsonl"
SPECTRUM_CROPS = 2000
SPECTRUM_VOXELS = 2**23
KERNEL = {2: 5, 3: 3}  # of the convolutions by dimension: wider ones cost little in 2D
LENGTH = 64  # voxels that the largest dose mixes at least: smaller crops see it in those that are wider


def make_config(dataset: Dataset, settings: TrainSettings) -> ModelConfig:
    """The model that ``settings`` ask for on ``dataset``.

    All phases are carried, but of two the one of smaller volume: a complement is treated worse where others meet
    (specks: method.md, section 1), and two phases cannot meet elsewhere.

    Raises:
        DataError: the training images hold a single phase.
    """
    fractions = dataset.fractions("train")
    if (fractions > 0).sum() < 2:
        raise DataError(f"{dataset.path}: the training images hold a single phase; there is nothing to learn")
    carried = tuple(range(len(fractions))) if len(fractions) > 2 else (int(fractions.argmin()),)
    number = min(SPECTRUM_CROPS, max(SPECTRUM_CROPS // 20, SPECTRUM_VOXELS // math.prod(settings.size)))
    crops = dataset.crops("train", number, settings.size, np.random.default_rng(settings.seed))
    fields = one_hot(torch.from_numpy(crops), carried)
    return ModelConfig(
        phases=dataset.phases,
        carried=carried,
        fractions=tuple(float(f) for f in fractions),
        boundary=settings.boundary,
        size=settings.size,
        dose_min=settings.dose_min,
        dose_max=Lattice((max(LENGTH, *settings.size),), settings.boundary).mixing_dose(),
        integral_range=tuple(map(tuple, integral_range(fields, settings.boundary).tolist())),
        architecture=replace(preset(settings.preset), kernel=KERNEL[len(settings.size)]),
        voxel_size=dataset.voxel_size,
        voxel_unit=dataset.voxel_unit,
        dataset=dataset.path.name,
        dataset_digest=dataset.digest,
    )


class Run:
    """The folder of one training run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, out: Path | None, dataset: Dataset, config: ModelConfig, settings: TrainSettings) -> "Run":
        """Make the folder (``runs/<dataset>-001`` and up when ``out`` is None) and write its config and manifest.

        Raises:
            UsageError: ``out`` exists and is not an empty folder, or its parent does not exist.
        """
        out = out or _next_folder(dataset)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} exists already; go on with it by `resume=True`, or name another folder by `out`")
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
                **provenance(),
                "machine": {"threads": torch.get_num_threads(), "gpu": _gpu_name()},
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
        line: dict[str, float] = {"step": report.step, "loss": report.mean, "lr": report.lr}
        line["seconds"] = round(report.seconds, 3)
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

    def sheet(self, step: int) -> Path:
        """Where the samples drawn at a step are shown."""
        return self.folder / f"sheet-{step:06d}.png"


def _next_folder(dataset: Dataset) -> Path:
    """The first of runs/<dataset>-001, -002, ... that is free."""
    stem = dataset.path.name.split(".")[0]
    Path("runs").mkdir(exist_ok=True)
    return next(p for n in itertools.count(1) if not (p := Path("runs") / f"{stem}-{n:03d}").exists())


def _gpu_name() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
