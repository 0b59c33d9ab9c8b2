"""A run on disk: configuration, manifest, metrics log and checkpoints."""

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError, DsdError, UsageError
from dsdcli.files import parse_json, require_folder, write_json
from dsdcli.network.catalogue import CONFIG, MANIFEST
from dsdcli.network.checkpoint import load_model, read_config, save_config, save_tensors
from dsdcli.network.config import Material, ModelConfig, preset
from dsdcli.process.image import one_hot
from dsdcli.process.lattice import Boundary, Lattice
from dsdcli.process.long_waves import integral_range, odds_exponents
from dsdcli.record import provenance
from dsdcli.training.calibrate import calibration
from dsdcli.training.couple import Draw, coupled
from dsdcli.training.levels import levels_of
from dsdcli.training.log import LOG, append, trim
from dsdcli.training.near import second_look
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.state import STATE
from dsdcli.training.trainer import Report, Trainer

BEST, LAST = "best.safetensors", "last.safetensors"
SPECTRUM_CROPS = 2000
SPECTRUM_VOXELS = 2**23
LENGTH = 64  # voxels that the largest dose mixes at least: smaller crops see it in those that are wider


def make_config(dataset: Dataset, settings: TrainSettings) -> ModelConfig:
    """The model that ``settings`` ask for on ``dataset``. Voxels of every phase walk: one that is only where the
    others are not is treated worse (specks: method.md, section 5).

    Raises:
        DataError: the training images hold a single phase.
    """
    fractions = dataset.fractions("train")
    if (fractions > 0).sum() < 2:
        raise DataError(f"{dataset.path}: the training images hold a single phase; there is nothing to learn")
    return ModelConfig(
        phases=dataset.phases,
        fractions=tuple(float(f) for f in fractions),
        boundary=settings.boundary,
        size=settings.size,
        dose_min=settings.dose_min,
        dose_max=Lattice((max(LENGTH, *settings.size),), settings.boundary).mixing_dose(),
        **long_waves(dataset, settings.size, settings.boundary, settings.seed),
        architecture=preset(settings.preset, len(settings.size)),
        voxel_size=dataset.voxel_size,
        voxel_unit=dataset.voxel_unit,
        dataset=dataset.path.name,
        dataset_digest=dataset.digest,
        classes=tuple(
            Material(
                name,
                tuple(map(float, own.fractions("train"))),
                **long_waves(own, settings.size, settings.boundary, settings.seed),
            )
            for name, own in zip(dataset.classes, dataset.materials, strict=False)
        ),
    )


def long_waves(dataset: Dataset, size: tuple[int, ...], boundary: Boundary, seed: int) -> dict[str, Any]:
    """The ``integral_range`` and ``range_exponents`` of a `ModelConfig`, from random training crops: at least `LENGTH`
    wide, or where the images are not, of the size of the training's."""
    wide = tuple(max(LENGTH, side) for side in size)
    size = wide if dataset.holds("train", wide) else size
    number = min(SPECTRUM_CROPS, max(SPECTRUM_CROPS // 20, SPECTRUM_VOXELS // math.prod(size)))
    crops = dataset.crops("train", number, size, np.random.default_rng(seed))
    voxels = one_hot(torch.from_numpy(crops), len(dataset.phases))
    independent = sum(image.array.size for image in dataset.images("train")) / math.prod(size)
    exponents = odds_exponents(voxels, boundary, independent)
    ranges = integral_range(voxels, boundary, exponents, torch.from_numpy(dataset.fractions("train")))
    return {"integral_range": tuple(map(tuple, ranges.tolist())), "range_exponents": tuple(exponents.tolist())}


class Run:
    """The folder of one training run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(
        cls,
        out: Path | None,
        dataset: Dataset,
        config: ModelConfig,
        settings: TrainSettings,
        start_from: Mapping[str, Any] | None = None,
    ) -> "Run":
        """Make the folder (``runs/<dataset>-001`` and up when ``out`` is None) and write its config and manifest.

        Args:
            start_from: of `dsdcli.training.kindred.Start.manifest`.

        Raises:
            UsageError: ``out`` exists and is not an empty folder, or its parent does not exist.
            DsdError: the system could not write; then there is no such folder.
        """
        if out is not None:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise UsageError(
                    f"{out} exists already; go on with it by `resume=True`, or name another folder by `out`"
                )
            require_folder(out)
        try:
            if out is None:
                out = _next_folder(dataset)
            else:
                out.mkdir(exist_ok=True)
        except OSError as error:
            raise DsdError(f"cannot make {error.filename}: {error.strerror or error}") from error
        try:
            save_config(out, config)
            write_json(  # last: a folder with it is a run
                out / MANIFEST,
                {
                    "settings": asdict(settings),
                    "dataset": {"path": str(dataset.path.absolute()), "digest": dataset.digest},
                    "start_from": start_from,
                    **provenance(),
                    "machine": {"threads": torch.get_num_threads(), "gpu": _gpu_name()},
                },
            )
        except DsdError:
            (out / CONFIG).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                out.rmdir()
            raise
        return cls(out)

    def manifest(self) -> dict[str, Any]:
        """What the run was started with.

        Raises:
            UsageError: the folder is not a run.
            DataError: its manifest is damaged.
        """
        if not (self.folder / MANIFEST).is_file() or not (self.folder / CONFIG).is_file():
            raise UsageError(f"{self.folder} is not a training run (no {MANIFEST}); runs lie in ./runs")
        try:
            value = parse_json((self.folder / MANIFEST).read_bytes())
            for name in {"size", "condition"} & value["settings"].keys():
                value["settings"][name] = tuple(value["settings"][name])
            if not all(isinstance(value["dataset"][name], str) for name in ("path", "digest")):
                raise TypeError("its dataset is not named")
            return value
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.folder / MANIFEST} is damaged ({error}); start a new run") from error

    def settings(self) -> TrainSettings:
        """The settings the run was started with; raises as `manifest`."""
        settings = self.manifest()["settings"]
        try:
            return TrainSettings(**settings)
        except (TypeError, UsageError) as error:
            raise DataError(f"{self.folder / MANIFEST} does not fit this version of dsd ({error})") from error

    def config(self) -> ModelConfig:
        """The model that the run trains; raises as `read_config`."""
        return read_config(self.folder / CONFIG)

    def resumable(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / STATE).is_file()

    def log(self, report: Report) -> None:
        """Append one line to the metrics log; its ``loss`` is the mean of the last 100 steps.

        Raises:
            DsdError: the system could not write.
        """
        line: dict[str, float] = {"step": report.step, "loss": report.mean, "lr": report.lr}
        line["seconds"] = round(report.seconds, 3)
        if report.validation is not None:
            line["validation"] = report.validation
        append(self.folder / LOG, line)

    def restore(self, trainer: Trainer) -> int:
        """Bring a new trainer, and the log, to where the last checkpoint was made; to the beginning if there is none.
        Of several ranks the first one sees to the log.

        Returns:
            lines of the log that could not be read, which are dropped.

        Raises:
            DataError: the state is damaged.
            DsdError: the system could not write.
        """
        if (self.folder / STATE).is_file():
            trainer.restore(self.folder)
            if not (self.folder / BEST).is_file():
                trainer.best = math.inf  # so that the next validation makes one
        return trim(self.folder / LOG, trainer.step) if trainer.ranks.first else 0

    def checkpoint(self, trainer: Trainer, best: bool) -> None:
        """Save the averaged weights as ``last``, and as ``best`` too if told so, and the full state.

        The state comes last: it knows the best loss, whose weights must then be there. Whatever ends this half-way, the
        run goes on from the state before, and makes the same weights again.
        """
        weights = trainer.average.state_dict()
        if best:
            save_tensors(self.folder / BEST, weights)
        save_tensors(self.folder / LAST, weights)
        trainer.save(self.folder)

    def calibrate(
        self, dataset: Dataset, device: torch.device, seed: int, trained: int, stop: Callable[[], bool], draw: Draw
    ) -> None:
        """Give the best weights their second look beside known voxels (`dsdcli.network.near`) and their tables
        (`dsdcli.network.tabled`), of each class its own. Nothing changes where
        ``stop`` says so before all is measured. Weights that are better yet, of a run that goes on, have none until it
        ends too.

        Args:
            trained: steps of the training.
            draw: as `dsdcli.training.couple.coupled` and `dsdcli.training.levels.levels_of` ask for it.

        Raises:
            DsdError: the system could not write.
        """
        if not (self.folder / BEST).is_file():
            return
        model = load_model(self.folder / BEST, device)
        if model.is_finished():  # a run that had ended made nothing better
            return
        second_look(model, dataset, seed, trained, stop)
        classes = [model.of_class(kind) for kind in range(len(dataset.classes))]
        for one, material in zip(classes or [model], dataset.materials if classes else [dataset], strict=True):
            table = calibration(one, material, seed, stop)
            if stop():
                return
            one.calibration = table
            one.coupling = coupled(one, material, seed, draw)
            one.levels = levels_of(one, material, seed, draw)
        if classes:
            model.take_tables(classes)
        if model.is_finished() and not stop():
            save_tensors(self.folder / BEST, {name: tensor.cpu() for name, tensor in model.state_dict().items()})

    def sheet(self, step: int) -> Path:
        """Where the samples drawn at a step are shown."""
        return self.folder / f"sheet-{step:06d}.png"


def _next_folder(dataset: Dataset) -> Path:
    """Make the first of runs/<dataset>-001, -002, ... that is free, for this process alone."""
    stem = dataset.path.name.split(".")[0]
    Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        folder = Path("runs") / f"{stem}-{number:03d}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("endless")


def _gpu_name() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
