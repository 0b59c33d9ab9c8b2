"""The forward corruption of the authors' own code (github.com/lanl/DiscreteSpatialDiffusion) beside dsd's."""

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from dsdcli.errors import UsageError
from dsdcli.process.image import place
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, diffuse, undo_counts

DOSES = (0.5, 5.0, 50.0)
REPEATS = 5
WALKERS = 100_000  # of the test of displacements


@dataclass(frozen=True)
class Corruption:
    """Corruption of images at one dose, each with the targets that training needs.

    ``table`` is the processor time to build the authors' table of this one dose, in seconds; the others are per image.
    ``p_authors`` and ``p_dsd`` come from a chi-square test of the sites that walkers from one site reach, against the
    exact kernel.
    """

    lattice: Lattice
    dose: float
    table: float
    authors: float
    dsd: float
    p_authors: float
    p_dsd: float


def load_authors(folder: Path) -> SimpleNamespace:
    """The functions of the authors' checkout that corrupt an image.

    Raises:
        UsageError: they are not there.
    """
    if "torchvision" not in sys.modules and find_spec("torchvision") is None:
        sys.modules["torchvision"] = ModuleType("torchvision")  # imported there, but only for its data sets
    sys.path.insert(0, str(folder.absolute()))
    try:
        import faster_diffusion_dataset as module
        import toolkit
    except ImportError as error:
        raise UsageError(
            f"--authors: no code of DiscreteSpatialDiffusion in {folder} ({error}); name a checkout"
        ) from error
    return SimpleNamespace(
        walk=module.forward_backward_sample,
        tables={"periodic": toolkit.get_transition_matrix_PBC_fast, "noflux": toolkit.get_transition_matrix},
    )


def authors_table(authors: SimpleNamespace, lattice: Lattice, dose: float) -> np.ndarray:
    """Transition probabilities after ``dose``: (S, 1) when periodic, else (S, S)."""
    # A schedule of two times, 0 and 1, and a hopping rate that is the dose. The table is also written to ./data.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        Path("data").mkdir()
        _, _, table = authors.tables[lattice.boundary](dose, 2, lattice.shape[0], "linear")
    return np.ascontiguousarray(table[..., 1])


def measure(authors: SimpleNamespace, images: np.ndarray, lattice: Lattice, dose: float) -> Corruption:
    """Corrupt square images bool (B, L, L) at one dose in both ways."""
    torch.set_num_threads(1)  # again: numba, which the metrics use, changes it where both run on one OpenMP
    began = time.process_time()
    table = authors_table(authors, lattice, dose)
    building = time.process_time() - began
    ladder = np.cumsum(table, axis=0)
    side, rng = lattice.shape[0], np.random.default_rng(0)

    def theirs(stack: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            authors.walk(flat, table, ladder, rng.random(flat.sum()), side, int(lattice.boundary == "periodic"))
            for flat in stack.reshape(len(stack), -1).astype(np.int64)
        ]

    carried = torch.from_numpy(images)[:, None]
    generator = torch.Generator().manual_seed(0)

    def ours(carried: torch.Tensor) -> torch.Tensor:
        start = place(carried)
        doses = torch.full((len(carried),), dose, dtype=torch.float64)
        now = diffuse(start, doses, lattice, generator)
        undo = undo_counts(now, start, doses, lattice)
        targets = torch.zeros(carried.numel(), lattice.directions, dtype=torch.float64)
        targets.index_add_(0, now.image * lattice.sites + lattice.ravel(now.site), undo)
        return now.occupancy(lattice, len(carried), 1)

    origin = np.zeros((1, *lattice.shape), np.int64)
    origin[0, 1, side // 3] = WALKERS
    together = Particles(
        *(torch.zeros(WALKERS, dtype=torch.int64),) * 2, torch.tensor([[1, side // 3]]).expand(WALKERS, 2)
    )
    moved = diffuse(together, torch.tensor([dose], dtype=torch.float64), lattice, generator)
    kernel = axis_kernel(side, lattice.boundary, torch.tensor([dose]))[0].numpy()
    exact = np.outer(kernel[:, 1], kernel[:, side // 3])
    return Corruption(
        lattice=lattice,
        dose=dose,
        p_authors=p_value(theirs(origin)[0][0], exact),
        p_dsd=p_value(moved.occupancy(lattice, 1, 1).numpy(), exact),
        table=building,
        authors=seconds(theirs, images) / len(images),
        dsd=seconds(ours, carried) / len(images),
    )


def seconds(function: Callable[[Any], Any], argument: Any) -> float:
    """Median processor time of a call on this one thread, after a call that pays for compilation."""
    taken = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        function(argument)
        taken.append(time.process_time() - began)
    return float(np.median(taken[1:]))


def p_value(counts: np.ndarray, exact: np.ndarray) -> float:
    """Chi-square test of the numbers of walkers on all sites; sites where few are expected are taken together."""
    from scipy.stats import chisquare

    expected = exact.ravel() / exact.sum() * counts.sum()
    many = expected >= 10
    pooled = [np.append(values.ravel()[many], values.ravel()[~many].sum()) for values in (counts, expected)]
    if pooled[1][-1] == 0:
        pooled = [values[:-1] for values in pooled]
    return float(chisquare(*pooled).pvalue)
