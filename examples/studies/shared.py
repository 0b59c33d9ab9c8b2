"""Used by the studies beside it: their options, stacks of samples with exact counts, means of metrics, and tables."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.device import free_memory
from dsdcli.evaluation.compare import mean_vector
from dsdcli.evaluation.metrics import Vectors, measure
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.blocks import fitting_batch
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.generate import Progress, generate, stack_of
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.trapezoidal import Trapezoidal

OPTIONS: dict[str, dict[str, Any]] = {
    "steps": {"type": int, "default": Trapezoidal().steps, "help": "leaps of the reverse walk"},
    "seed": {"type": int, "default": 0},
    "device": {"default": "auto", "help": "auto, cpu or cuda"},
    "threads": {"type": int, "help": "CPU threads (default: PyTorch's choice)"},
}


def options(doc: str | None, *names: str) -> argparse.ArgumentParser:
    """A parser described by the first line of a module's text, with those of the shared options that are named."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name in names:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    return parser


def machine(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"


# --- counts and stacks --------------------------------------------------------------------------------------------


def typical_totals(config: ModelConfig, lattice: Lattice, number: int) -> np.ndarray:
    """Voxels of every phase at the volume fractions of the training images, the same for all: int64 (n, K)."""
    return np.tile(resolve_counts(config.phases, lattice.sites, {}, {}, config.fractions), (number, 1))


def counts_of(stack: np.ndarray, phases: int) -> np.ndarray:
    """Voxels of every phase in images (n, *L): int64 (n, K)."""
    return np.stack([np.bincount(image.ravel(), minlength=phases) for image in stack])


def training_data(parser: argparse.ArgumentParser, path: Path, config: ModelConfig) -> Dataset:
    """The dataset of a model, whose phases it must have in their order.

    Raises:
        SystemExit: it has others.
    """
    dataset = Dataset.open(path)
    names, theirs = ([phase.name for phase in each.phases] for each in (config, dataset))
    if names != theirs:
        parser.error(f"the model has the phases {', '.join(names)}, {path} {', '.join(theirs)}: not one order")
    return dataset


def to_model(dataset: Dataset, config: ModelConfig) -> np.ndarray:
    """The model's index of every phase of the dataset, to be indexed by the images of the dataset: uint8 (K,).

    Raises:
        SystemExit: the two have other phases.
    """
    names, known = ([phase.name for phase in phases] for phases in (config.phases, dataset.phases))
    if sorted(names) != sorted(known):
        raise SystemExit(f"{dataset.path} has the phases {', '.join(known)}, the model {', '.join(names)}")
    return np.array([names.index(name) for name in known], np.uint8)


def samples(
    model: UndoNet,
    totals: np.ndarray,
    lattice: Lattice,
    sampler: Sampler,
    seed: int,
    around: np.ndarray | None = None,
    on_progress: Callable[[Progress], None] = lambda state: None,
) -> np.ndarray:
    """All images of `dsdcli.sampling.generate.generate`, which this takes its arguments for: (n, *L).

    Raises:
        SystemExit: a count is not exact.
    """
    device = next(model.parameters()).device
    batch = fitting_batch(model.config, lattice, device, free_memory(device))

    def watched() -> Iterable[Progress]:
        for state in generate(model, totals, lattice, sampler, seed, batch, around):
            on_progress(state)
            yield state

    stack = stack_of(watched())
    inside = lattice.walkable().numpy()
    wanted = totals.reshape(len(totals), -1, len(model.config.phases)).sum(1)
    if not np.array_equal(counts_of(stack[:, inside], wanted.shape[1]), wanted):
        raise SystemExit("a count is not exact")
    return stack


def mean_vectors(stack: Iterable[np.ndarray], names: Sequence[str], metrics: Sequence[str]) -> Vectors:
    """Mean vector of every metric and subject over images of phase indices (n, *L)."""
    found = [measure(image, names, metrics) for image in stack]
    return {key: mean_vector(np.array([vectors[key] for vectors in found], float)) for key in found[0]}


# --- tables -------------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Talk while the work goes on."""
    print(line, file=sys.stderr, flush=True)


def line(cells: Iterable[Any]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def markdown(head: Sequence[Any], rows: Iterable[Sequence[Any]] = ()) -> str:
    """A Markdown table, or the two lines that it begins with."""
    return "\n".join(line(cells) for cells in (head, ["---"] * len(head), *rows))


def print_table(head: Sequence[Any], rows: Iterable[Sequence[Any]] = ()) -> None:
    """Print a Markdown table, or its beginning."""
    print(markdown(head, rows), flush=True)


def print_row(cells: Iterable[Any]) -> None:
    """Print the next line of a Markdown table."""
    print(line(cells), flush=True)


def slashed(values: Iterable[float], form: str = ".1f") -> str:
    """Numbers divided by slashes; a dash for what is not known."""
    return " / ".join("-" if np.isnan(value) else format(value, form) for value in values)
