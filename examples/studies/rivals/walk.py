"""dsd itself, run as a user runs it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.samples import read_samples
from dsdcli.errors import DsdError
from dsdcli.pipeline.describe import describe_model


def sample(
    model: Path, dataset: Dataset, size: tuple[int, ...], number: int, options: list[str]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples (n, *L) with the voxel counts of random training crops, and their audit record.

    Raises:
        DsdError: `dsd generate` failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.h5"
        what = ["--model", model, "--like", dataset.path, "--size", "x".join(map(str, size)), "-n", number, "--seed", 0]
        how = ["--device", "cpu", "--out", out, "--quiet", *options]
        command = [sys.executable, "-m", "dsdcli", "generate", *map(str, [*what, *how])]
        done = subprocess.run(command, check=False, text=True, capture_output=True)
        if done.returncode:
            raise DsdError(f"dsd generate failed: {done.stderr.strip()}")
        record = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
        return read_samples(out, dataset.phases).stack, record


def minutes_trained(model: Path) -> str:
    """Training time of a model by the log of its run; the card of one that has none tells."""
    log = model / "metrics.jsonl"
    if not log.is_file():
        return "see its card"
    return f"{json.loads(log.read_text(encoding='utf-8').splitlines()[-1])['seconds'] / 60:.3g}"


def steps_trained(run: Path) -> int:
    """Optimiser steps of a run."""
    return describe_model(run)["training"]["steps"]
