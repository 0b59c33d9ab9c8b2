"""A thousand samples of every kind, filled holes, maps with known voxels, volumes: are all counts those requested?

    python examples/studies/exactness.py

2 to 5 phases, 2D and 3D, even, odd and flat shapes, no-flux and periodic walls, ordinary and extreme counts (none, one
voxel, all but one, all). The promise does not depend on what a network has learned, so half of the samples come from
networks with random weights, which are as wrong as can be; the other half from the shipped models.

Every filled hole is a case of its own, in a random image: boxes, discs and scattered voxels, one or several of them,
at borders and around the ring. Every part of a hole must have its counts, and everything outside must be as it was.

So is every map of volume fractions: in 2D and 3D, of any resolution, in cells of one voxel up to the whole, with
fractions of 0 and 1, and with voxels that are known, as far as the map allows. Every cell must hold the whole numbers
that the map implies, and every known voxel must be as it was. And so is every image of which points, lines, planes or
all on one side are known, with the totals of the whole alone.

    python examples/studies/exactness.py --only maps known --steps 1  # only these two

And so is every volume, a fifth as many: by 3D networks and by planes of 2D ones in turn, with random weights and
shipped, of sides from 1 to 12.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from shared import counts_of, options

from dsdcli.data.phases import Phase
from dsdcli.network.catalogue import shipped_models
from dsdcli.network.checkpoint import load_model
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.pipeline.fields import table_of
from dsdcli.process.cells import Cells
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice, as_boundary
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.sweeps import PlaneSweeps, sweep
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.known import random_known

SHAPES = {2: [(16, 16), (7, 13), (1, 9)], 3: [(6, 6, 6), (3, 5, 7)]}
BOUNDARIES = ("noflux", "periodic")
PHASES = (2, 3, 4, 5)
LONGEST = {2: 20, 3: 8}  # side of the images with holes


def random_network(phases: int, ndim: int, seed: int) -> UndoNet:
    """A small network whose weights, the last layer included, are random."""
    torch.manual_seed(seed)
    names = tuple(Phase(f"phase{index}", index) for index in range(phases))
    size = (8,) * ndim
    config = ModelConfig(
        phases=names,
        fractions=(1 / phases,) * phases,
        boundary="noflux",
        size=size,
        dose_min=0.05,
        dose_max=40.0,
        integral_range=tuple(map(tuple, np.eye(phases).tolist())),
        architecture=Architecture((4, 8), blocks=1, fine=4, expansion=1),
    )
    model = UndoNet(config)
    torch.nn.init.normal_(model.net.last.weight, std=0.2)
    return model.eval().requires_grad_(False)


def requests(phases: int, sites: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Voxels of every phase for n samples, int64 (n, K): extremes first, then random compositions."""
    rows = []
    for one in range(phases):
        other = (one + 1) % phases
        for voxels in (sites, sites - 1, 1, 0):
            row = [0] * phases
            row[one], row[other] = voxels, sites - voxels
            rows.append(row)
    while len(rows) < n:
        cuts = np.sort(rng.integers(sites + 1, size=phases - 1))
        rows.append(np.diff([0, *cuts, sites]).tolist())
    return np.array(rows[:n], np.int64)


def cases(total: int) -> Iterator[tuple[str, UndoNet, Lattice, int]]:
    """Models, lattices, and how many samples to draw on each."""
    random = [
        (f"random weights, {phases} phases", random_network(phases, ndim, phases), shape)
        for phases, ndim in itertools.product(PHASES, (2, 3))
        for shape in SHAPES[ndim]
    ]
    shipped = [
        (name, model, shape)
        for name, path in shipped_models().items()
        for model in [load_model(path)]
        for shape in [model.config.size, *SHAPES[model.config.ndim]]
    ]
    shares = [(random, total if not shipped else total // 2), (shipped, total - total // 2)]
    for group, share in shares:
        kinds = list(itertools.product(group, BOUNDARIES))
        for index, ((name, model, shape), boundary) in enumerate(kinds):
            n = share * (index + 1) // len(kinds) - share * index // len(kinds)
            if n:
                yield name, model, Lattice(shape, boundary), n


def random_hole(ndim: int, rng: np.random.Generator) -> Hole:
    """One to four pieces anywhere in an image of random sides; what they leave outside is at least one voxel."""
    while True:
        shape = tuple(rng.integers(1, LONGEST[ndim] + 1, ndim).tolist())
        mask = np.zeros(shape, bool)
        at = np.indices(shape)
        for _ in range(rng.integers(1, 5)):
            centre = np.array([rng.integers(side) for side in shape]).reshape(-1, *(1,) * ndim)
            radius = rng.uniform(0.5, 0.5 + 0.35 * max(shape))
            away = np.abs(at - centre)
            kind = rng.choice(["box", "disc", "scattered"])
            near = away.max(0) <= radius if kind == "box" else (away**2).sum(0) <= radius**2
            mask |= near & (rng.random(shape) < 0.5) if kind == "scattered" else near
        if mask.any() and not mask.all():
            return Hole(shape, str(rng.choice(BOUNDARIES)), mask=mask)


def check_samples(total: int, settings: Trapezoidal, rng: np.random.Generator) -> bool:
    """Generate ``total`` samples and say what came out; whether all counts are right."""
    samples = voxels = wrong = 0
    for name, model, lattice, n in cases(total):
        phases = len(model.config.phases)
        wanted = requests(phases, lattice.sites, n, rng)
        missed = 0
        for image, row in zip(stack_of(generate(model, wanted, lattice, settings, samples, 64)), wanted, strict=True):
            missed += not np.array_equal(np.bincount(image.ravel(), minlength=phases), row)
            voxels += image.size
        samples += n
        wrong += missed
        shape = "x".join(map(str, lattice.shape))
        print(f"{n:4d} samples  {shape:>8}  {lattice.boundary:8}  {missed} wrong  ({name})", flush=True)
    print(f"{samples} samples, {voxels} voxels: {samples - wrong} have requested == achieved counts, {wrong} have not")
    return not wrong


def check_holes(total: int, settings: Trapezoidal, rng: np.random.Generator) -> bool:
    """Fill ``total`` random holes and say what came out; whether all is exact inside and untouched outside."""
    kinds = list(itertools.product(PHASES, LONGEST))
    models = {kind: random_network(*kind, seed=kind[0]) for kind in kinds}
    tally: dict[tuple[int, int], np.ndarray] = defaultdict(lambda: np.zeros(4, np.int64))
    filled = 0
    for case in range(total):
        phases, ndim = kind = kinds[case % len(kinds)]
        hole = random_hole(ndim, rng)
        parts = hole.parts
        around = rng.integers(phases, size=hole.shape).astype(np.uint8)
        # Any of the rows that extremes and compositions make, for every part on its own.
        rows = [rng.choice(requests(phases, int(size), 8 * phases, rng)) for size in np.bincount(parts.ravel())[1:]]
        (image,) = stack_of(generate(models[kind], np.array([rows]), hole, settings, case, 1, around))
        achieved = [np.bincount(image[parts == r], minlength=phases) for r in range(1, parts.max() + 1)]
        outside = np.array_equal(image[~hole.mask], around[~hole.mask])
        tally[kind] += [1, len(rows), not np.array_equal(achieved, rows), not outside]
        filled += int(hole.mask.sum())
    for (phases, ndim), (n, parts, inexact, touched) in tally.items():
        print(f"{n:4d} images  {ndim}D  {phases} phases  {parts} holes  {inexact} wrong inside  {touched} outside")
    n, parts, inexact, touched = sum(tally.values())
    print(
        f"{n} images with {parts} holes, {filled} voxels to fill: {n - inexact} exact in every hole, "
        f"{n - touched} untouched outside"
    )
    return not inexact and not touched


def random_map(shape: tuple[int, ...], phases: int, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Volume fractions of all phases but the last, or but a few, on a grid as fine as the voxels or coarser."""
    grid = [int(rng.integers(1, side + 1)) for side in shape]
    share = rng.dirichlet(np.full(phases, rng.choice([0.02, 0.3, 3.0])), grid)
    share[rng.random(share.shape[:-1]) < 0.2] = np.eye(phases)[rng.integers(phases)]
    return {k: share[..., k] for k in range(phases - 1) if k == 0 or rng.random() < 0.8}


def check_cells(total: int, settings: Trapezoidal, rng: np.random.Generator) -> bool:
    """Draw an image for each of ``total`` random maps; whether all cells and all known voxels are exact."""
    kinds = list(itertools.product((2, 3, 4), LONGEST))
    models = {kind: random_network(*kind, seed=kind[0]) for kind in kinds}
    cell_count = known_count = inexact = changed = 0
    for case in range(total):
        phases, ndim = kind = kinds[case % len(kinds)]
        shape = tuple(rng.integers(1, LONGEST[ndim] + 1, ndim).tolist())
        boundary = as_boundary(str(rng.choice(BOUNDARIES)))
        cells = Cells.of_side(shape, int(rng.integers(1, max(shape) + 1)), boundary)
        table = table_of(random_map(shape, phases, rng), cells, (1 / phases,) * phases)
        # An image with these counts, of which some voxels are known: so that the two never contradict each other.
        image = np.zeros(shape, np.uint8)
        for number, row in enumerate(table, 1):
            image[cells.labels == number] = rng.permutation(np.repeat(np.arange(phases), row))
        known = rng.random(shape) < rng.choice([0.0, 0.05, 0.5, 1.0])
        made = honoured(models[kind], table[None], Lattice(shape, boundary), settings, case, image, known, cells)
        inexact += not np.array_equal(cells.counts(made, phases), table)
        changed += not np.array_equal(made[known], image[known])
        cell_count += len(table)
        known_count += int(known.sum())
    print(
        f"{total} maps with {cell_count} cells and {known_count} known voxels: {total - inexact} exact in every cell, "
        f"{total - changed} with all known voxels as they were"
    )
    return not inexact and not changed


def check_volumes(total: int, settings: Trapezoidal, rng: np.random.Generator) -> bool:
    """Draw a fifth as many volumes by 3D networks and by sweeps over planes; whether all counts are exact."""
    models = [(f"random weights, {k} phases", random_network(k, d, k)) for k in (2, 3, 4) for d in (2, 3)]
    models += [(name, load_model(path)) for name, path in shipped_models().items()]
    few = PlaneSweeps(sweeps=6, dose_start=20.0, leaps=1)
    tally: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, np.int64))
    for case in range(max(1, total // 5)):
        name, model = models[case % len(models)]
        lattice = Lattice(tuple(rng.integers(1, 13, 3).tolist()), BOUNDARIES[case // len(models) % 2])
        phases = len(model.config.phases)
        row = rng.choice(requests(phases, lattice.sites, 8 * phases, rng))[None]
        if model.config.ndim == 2:
            (volume,) = stack_of(sweep((model,) * 3, row, lattice, few, case))
        else:
            (volume,) = stack_of(generate(model, row, lattice, settings, case, 1))
        right = volume.shape == lattice.shape and np.array_equal(counts_of(volume[None], phases), row)
        tally[f"{model.config.ndim}D {name}"] += [1, not right, volume.size]
    for name, (n, wrong, voxels) in tally.items():
        print(f"{n:4d} volumes, {voxels} voxels  {wrong} wrong  ({name})")
    n, wrong, voxels = sum(tally.values())
    print(f"{n} volumes, {voxels} voxels: {n - wrong} have requested == achieved counts, {wrong} have not")
    return not wrong


def honoured(
    model: UndoNet,
    totals: np.ndarray,
    lattice: Lattice,
    settings: Trapezoidal,
    seed: int,
    image: np.ndarray,
    known: np.ndarray,
    cells: Cells | None = None,
) -> np.ndarray:
    """An image with these totals that is as ``image`` where it is known."""
    (made,) = stack_of(generate(model, totals, lattice, settings, seed, 1, image, known=known, cells=cells))
    return made


def check_known(total: int, settings: Trapezoidal, rng: np.random.Generator) -> bool:
    """Draw ``total`` images of which some voxels are known; whether these are as they were, and all totals exact."""
    kinds = list(itertools.product(PHASES, LONGEST))
    models = {kind: random_network(*kind, seed=kind[0]) for kind in kinds}
    known_count = voxels = inexact = changed = case = 0
    while case < total:
        phases, ndim = kind = kinds[case % len(kinds)]
        shape = tuple(rng.integers(1, LONGEST[ndim] + 1, ndim).tolist())
        known = random_known(shape, rng)
        if known.all() or not known.any():
            continue
        lattice = Lattice(shape, as_boundary(str(rng.choice(BOUNDARIES))))
        image = rng.choice(phases, shape, p=rng.dirichlet(np.full(phases, 0.5))).astype(np.uint8)
        totals = np.bincount(image.ravel(), minlength=phases)
        made = honoured(models[kind], totals[None], lattice, settings, case, image, known)
        inexact += not np.array_equal(np.bincount(made.ravel(), minlength=phases), totals)
        changed += not np.array_equal(made[known], image[known])
        known_count += int(known.sum())
        voxels += image.size
        case += 1
    print(
        f"{total} images, {known_count} of {voxels} voxels known: {total - inexact} with exact totals, "
        f"{total - changed} with all known voxels as they were"
    )
    return not inexact and not changed


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("-n", type=int, default=1000, help="samples, images with holes, maps ... (default 1000 each)")
    parser.add_argument("--steps", type=int, default=4, help="leaps of the reverse walk (default 4)")
    checks = {
        "samples": check_samples,
        "holes": check_holes,
        "maps": check_cells,
        "known": check_known,
        "volumes": check_volumes,
    }
    parser.add_argument("--only", nargs="+", choices=checks, help="of the checks")
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    settings = Trapezoidal(steps=chosen.steps)
    wanted = chosen.only or checks
    exact = [check(chosen.n, settings, rng) for name, check in checks.items() if name in wanted]
    raise SystemExit(0 if all(exact) else 1)


if __name__ == "__main__":
    main()
