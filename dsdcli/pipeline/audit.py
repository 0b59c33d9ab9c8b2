"""The audit record: all that is needed to repeat a job and to judge it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsdcli.data.phases import Phase
from dsdcli.data.samples import AUDIT
from dsdcli.network.catalogue import MANIFEST
from dsdcli.network.checkpoint import digest
from dsdcli.pipeline.model import LoadedModel
from dsdcli.process.image import Decoded
from dsdcli.process.lattice import Lattice
from dsdcli.record import provenance
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.slabs import Part
from dsdcli.sampling.sweeps import PlaneSweeps
from dsdcli.training.run import Run


def audit_record(
    model: LoadedModel,
    lattice: Lattice,
    sampler: Sampler | PlaneSweeps,
    seed: int,
    seconds: float,
    phases: Sequence[Phase],
    voxel_size: float | None,
    voxel_unit: str | None,
    **more: Any,
) -> dict[str, Any]:
    """The record of a job whose samples have not been written yet; their entries come last, as ``samples``."""
    return {
        "format": AUDIT,
        **provenance(),
        "samples_file": None,
        "model": model_record(model),
        "dataset": _dataset_of(model.path) or model.config.dataset,
        "dataset_digest": model.config.dataset_digest,
        "phases": [asdict(phase) for phase in phases],
        "voxel_size": voxel_size,
        "voxel_unit": voxel_unit,
        "size": list(lattice.shape),
        "boundary": lattice.boundary,
        "seed": seed,
        "sampler": {"name": sampler.name, **asdict(sampler)},
        "evaluations_per_sample": sampler.evaluations,
        "device": str(model.device),
        "seconds": round(seconds, 3),
        **more,
    }


def model_record(model: LoadedModel) -> dict[str, str]:
    """Where a model is, and what names it exactly."""
    return {"path": str(model.path), "digest": digest(model.path)}


def decoding_record(decoded: Decoded | Part) -> dict[str, float]:
    """How far the decoding had to go."""
    return {name: round(getattr(decoded, name), 6) for name in ("forced", "overlap", "far")}


def _dataset_of(path: Path) -> str | None:
    """Path of the dataset that a run was trained on, from its manifest; None for a model without one."""
    folder = path if path.is_dir() else path.parent
    return Run(folder).manifest()["dataset"]["path"] if (folder / MANIFEST).is_file() else None
