"""A generation job from request to files: the samples, their sheet and the audit record."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.data.phases import Phase
from dsdcli.data.samples import AUDIT, write_samples
from dsdcli.device import free_memory
from dsdcli.errors import UsageError
from dsdcli.files import together, write_json
from dsdcli.network.checkpoint import digest, load_model
from dsdcli.network.model import UndoNet
from dsdcli.process.image import Decoded
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.blocks import fitting_batch
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.generate import Progress, generate, sample_seed
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.run import versions
from dsdcli.view.sheet import write_sheet

SHEET_SAMPLES = 64  # as many as a sheet shows well


@dataclass(frozen=True)
class Job:
    """A loaded model and all that decides the samples but their counts."""

    path: Path
    model: UndoNet
    lattice: Lattice
    settings: Trapezoidal | TauLeaping
    seed: int
    batch: int

    @classmethod
    def prepare(
        cls,
        path: Path,
        size: tuple[int, ...] | None,
        boundary: str | None,
        settings: Trapezoidal | TauLeaping,
        seed: int | None,
        batch: int | None,
        device: torch.device,
    ) -> "Job":
        """Load the model and check the request against it; ``None`` takes what the model was trained with, a new seed,
        and as many samples at a time as suit the memory that is free.

        Raises:
            UsageError: a size of another dimension than the model's, or an unknown boundary.
            DataError: damaged model files.
        """
        model = load_model(path, device)
        config = model.config
        size = size or config.size
        if len(size) != config.ndim:
            wanted = "HxW" if config.ndim == 2 else "DxHxW"
            raise UsageError(f"{path.name} is a {config.ndim}D model; give --size {wanted}")
        lattice = Lattice(size, boundary or config.boundary)
        batch = batch or fitting_batch(config, lattice, device, free_memory(device))
        return cls(path, model, lattice, settings, pick_seed(seed), batch)

    def evaluations(self, number: int) -> int | None:
        """Network evaluations, each on a batch, that ``number`` samples take; None where only the rates decide that."""
        return self.settings.evaluations and -(-number // self.batch) * self.settings.evaluations


def pick_seed(seed: int | None) -> int:
    """The seed that was given, or a new one."""
    return seed if seed is not None else int(np.random.SeedSequence().generate_state(1)[0])


def make_totals(
    job: Job, number: int, fractions: Mapping[str, float], counts: Mapping[str, int], like: Path | None
) -> np.ndarray:
    """Voxels of every phase for each sample, int64 (n, K): the same for all, or those of random real crops.

    Raises:
        UsageError: a request that cannot be met, or a dataset with other phases than the model's.
        DataError: the dataset is unreadable or smaller than the samples.
    """
    config, lattice = job.model.config, job.lattice
    if like is None:
        return np.tile(resolve_counts(config.phases, lattice.sites, fractions, counts, config.fractions), (number, 1))
    dataset = Dataset.open(like)
    names = [phase.name for phase in dataset.phases]
    if sorted(names) != sorted(phase.name for phase in config.phases):
        known = ", ".join(phase.name for phase in config.phases)
        raise UsageError(f"--like: {like} has the phases {', '.join(names)}, the model {known}")
    crops = dataset.crops("train", number, lattice.shape, np.random.default_rng(job.seed)).reshape(number, -1)
    return np.stack([(crops == names.index(phase.name)).sum(1) for phase in config.phases], axis=1)


@dataclass(frozen=True)
class Written:
    """Files of a finished job and its audit record."""

    path: Path
    sheet: Path
    record: Path
    audit: dict[str, Any]


def run_job(
    job: Job, totals: np.ndarray, out: Path, argv: list[str], on_progress: Callable[[Progress], None]
) -> Written:
    """Generate, check every count, and write samples, sheet and audit record; nothing is written before all is done.

    Raises:
        DsdError: a file could not be written.
    """
    config = job.model.config
    stack = np.empty((len(totals), *job.lattice.shape), np.uint8)
    samples: list[dict[str, Any]] = [{} for _ in totals]
    names = [phase.name for phase in config.phases]
    batches = 0
    began = time.monotonic()
    for state in generate(job.model, totals, job.lattice, job.settings, job.seed, job.batch):
        for index, decoded in state.finished:
            stack[index] = decoded.image
            achieved = np.bincount(decoded.image.ravel(), minlength=len(names))
            samples[index] = {
                "seed": sample_seed(job.seed, index),
                "requested": dict(zip(names, totals[index].tolist(), strict=True)),
                "achieved": dict(zip(names, achieved.tolist(), strict=True)),
                "decoding": decoding_record(decoded),
            }
        batches += bool(state.finished)
        on_progress(state)
    seconds = time.monotonic() - began
    if any(sample["requested"] != sample["achieved"] for sample in samples):
        raise AssertionError("the decoding missed the requested counts")
    used = {"evaluations_per_sample": round(state.evaluations / batches)}  # a mean where only the rates decide
    audit = audit_record(job, out, argv, seconds, config.phases, config.voxel_size, config.voxel_unit, samples, **used)
    return write_all(
        out, stack, config.phases, audit, lambda path: write_sheet(path, stack[:SHEET_SAMPLES], config.phases)
    )


def decoding_record(decoded: Decoded) -> dict[str, float]:
    """How far the decoding had to go, for an audit record."""
    return {name: round(getattr(decoded, name), 6) for name in ("forced", "overlap", "far")}


def audit_record(
    job: Job,
    out: Path,
    argv: list[str],
    seconds: float,
    phases: Sequence[Phase],
    voxel_size: float | None,
    voxel_unit: str | None,
    samples: list[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """All that is needed to repeat a job and to judge it."""
    return {
        "format": AUDIT,
        "command": argv,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples_file": out.name,
        "model": {"path": str(job.path), "digest": digest(job.path)},
        "dataset": _dataset_of(job.path) or job.model.config.dataset,
        "dataset_digest": job.model.config.dataset_digest,
        "phases": [asdict(phase) for phase in phases],
        "voxel_size": voxel_size,
        "voxel_unit": voxel_unit,
        "size": list(job.lattice.shape),
        "boundary": job.lattice.boundary,
        "seed": job.seed,
        "sampler": {"name": job.settings.name, **asdict(job.settings)},
        "evaluations_per_sample": job.settings.evaluations,
        "device": str(next(job.model.parameters()).device),
        "seconds": round(seconds, 3),
        "versions": versions(),
        **more,
        "samples": samples,
    }


def write_all(
    out: Path,
    stack: np.ndarray,
    phases: Sequence[Phase],
    audit: dict[str, Any],
    write_picture: Callable[[Path], None],
) -> Written:
    """Write samples, sheet and audit record side by side: all of them or none.

    Raises:
        DsdError: a file could not be written.
    """
    sheet = out.with_suffix(".png")
    record = out.with_suffix(".json")
    with together(out.parent) as folder:
        if out != sheet:
            link = {"audit": record.name}
            write_samples(folder / out.name, stack, phases, audit["voxel_size"], audit["voxel_unit"], link)
        write_picture(folder / sheet.name)
        write_json(folder / record.name, audit)
    return Written(out, sheet, record, audit)


def _dataset_of(path: Path) -> str | None:
    """Path of the dataset that a run was trained on, from its manifest; None for a model without one."""
    from dsdcli.training.run import MANIFEST, Run

    folder = path if path.is_dir() else path.parent
    return Run(folder).manifest()["dataset"]["path"] if (folder / MANIFEST).is_file() else None
