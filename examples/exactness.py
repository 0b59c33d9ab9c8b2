"""A thousand samples of every kind: do all voxel counts equal the requested ones?

    python examples/exactness.py

2 to 4 phases, 2D and 3D, even, odd and flat shapes, no-flux and periodic walls, ordinary and extreme counts (none, one
voxel, all but one, all). The promise does not depend on what a network has learned, so half of the samples come from
networks with random weights, which are as wrong as can be; the other half from the shipped models.
"""

import argparse
import itertools
from collections.abc import Iterator

import numpy as np
import torch

from dsdcli.data.phases import Phase
from dsdcli.network.checkpoint import load_model
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.network.shipped import shipped_models
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.reverse import SamplerSettings
from dsdcli.sampling.sampler import generate

SHAPES = {2: [(16, 16), (7, 13), (1, 9)], 3: [(6, 6, 6), (3, 5, 7)]}
BOUNDARIES = ("noflux", "periodic")


def random_network(phases: int, ndim: int, seed: int) -> UndoNet:
    """A small network whose weights, the last layer included, are random."""
    torch.manual_seed(seed)
    names = tuple(Phase(f"phase{index}", index) for index in range(phases))
    size = (8,) * ndim
    config = ModelConfig(
        phases=names,
        background=phases - 1,
        fractions=(1 / phases,) * phases,
        boundary="noflux",
        size=size,
        dose_min=0.05,
        dose_max=40.0,
        integral_range=tuple(map(tuple, np.eye(phases - 1).tolist())),
        architecture=Architecture((8, 16)),
    )
    model = UndoNet(config)
    torch.nn.init.normal_(model.unet.last.conv.weight, std=0.2)
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
        for phases, ndim in itertools.product((2, 3, 4), (2, 3))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1000, help="samples in all (default 1000)")
    parser.add_argument("--steps", type=int, default=4, help="leaps of the reverse walk (default 4)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    samples = voxels = wrong = 0
    for name, model, lattice, n in cases(options.n):
        phases = len(model.config.phases)
        wanted = requests(phases, lattice.sites, n, rng)
        missed = 0
        for state in generate(model, wanted, lattice, SamplerSettings(steps=options.steps), samples, 64):
            for index, decoded in state.finished:
                achieved = np.bincount(decoded.image.ravel(), minlength=phases)
                missed += not np.array_equal(achieved, wanted[index])
                voxels += decoded.image.size
        samples += n
        wrong += missed
        shape = "x".join(map(str, lattice.shape))
        print(f"{n:4d} samples  {shape:>8}  {lattice.boundary:8}  {missed} wrong  ({name})", flush=True)
    print(f"{samples} samples, {voxels} voxels: {samples - wrong} have requested == achieved counts, {wrong} have not")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
