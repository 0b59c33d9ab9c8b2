"""What volumes and jobs beyond one machine take, on paper: time, memory and traffic from a few measured figures.

    python examples/studies/beyond.py                                    # the tables of docs/studies/beyond.md
    python examples/studies/beyond.py --seconds H200=1.4e-8              # with a figure of your own
    python examples/studies/beyond.py --figures mine.json --sides 1024

Seconds are those of a voxel and an evaluation of the network, all else included. Memory and traffic follow from the
network's architecture, as the code of `dsdcli.sampling.slabs` and `dsdcli.process.slab` has it. The JSON file may have
the entries of `FIGURES`.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_config
from dsdcli.network.config import ModelConfig
from dsdcli.network.slabs import slab_of
from dsdcli.process.lattice import Lattice
from dsdcli.ranks import Ranks
from dsdcli.sampling.slabs import slab_bytes

GIB = 2**30
# Of each kind: seconds of a voxel and an evaluation at 256^3, GiB of memory, GB/s out of one device to its neighbours,
# TFLOP/s of float32 (the last three by data sheet). The H200's seconds are measured (docs/studies/speed.md: 15.8 s for
# 63 evaluations of 256^3); those of the others are in proportion to their memory bandwidth by data sheet (4.8, 3.35
# and 2.0 TB/s), since the walk is taken to be bound by that.
FIGURES = {
    "H200": {"seconds": 1.5e-8, "memory": 131, "link": 450, "flops": 67},
    "H100": {"seconds": 1.5e-8 * 4.8 / 3.35, "memory": 74, "link": 450, "flops": 67},
    "A100": {"seconds": 1.5e-8 * 4.8 / 2.0, "memory": 74, "link": 300, "flops": 19.5},
}
MEASURED = 256  # side of the cube that the seconds come from
NETWORK = 25  # GB/s out of a node, where ranks are on several: 200 Gbit/s


@dataclass(frozen=True)
class Cost:
    """Of one volume on one rank: seconds of work, bytes of memory, and bytes sent in an evaluation.

    Attributes:
        edges: rows of features for the neighbours.
        turns: fields for products along the first axis.
        crossing: particles that change hands.
    """

    work: float
    memory: int
    edges: float
    turns: float
    crossing: float
    evaluations: int

    @property
    def sent(self) -> float:
        return self.edges + self.turns + self.crossing

    def seconds(self, link: float) -> float:
        """In all, where nothing is sent while something is computed."""
        return self.work + self.evaluations * self.sent / (link * 1e9)


def cost(config: ModelConfig, side: int, ranks: int, about: dict[str, float], evaluations: int, hop: float) -> Cost:
    """Of a cube, for a rank in the middle.

    Args:
        about: a kind of device, as of `FIGURES`.
        hop: mean number of rows that a particle moves in a stage of a leap.
    """
    architecture = config.architecture
    lattice = Lattice((side,) * config.ndim)
    slab = slab_of(architecture, lattice, Ranks(ranks // 2, ranks))
    sites, phases = lattice.sites / ranks, len(config.phases)
    # Three walks of the origins, and above the least dose two fields to waves and one back: of every axis a product.
    products = 6 * phases
    longer = 2 * config.ndim * products * (side - MEASURED) / (about["flops"] * 1e12)  # than in what was measured
    work = sites * evaluations * (about["seconds"] + longer)
    if ranks == 1:
        return Cost(work, slab_bytes(config, slab), 0, 0, 0, evaluations)
    levels = len(architecture.channels)
    reach = architecture.kernel // 2
    edges = reach * slab.plane * architecture.fine
    for level, width in enumerate(architecture.channels):
        blocks = architecture.blocks * (1 if level == levels - 1 else 2)
        edges += blocks * reach * slab.plane / (architecture.patch * 2**level) ** (config.ndim - 1) * width
    turns = sites * (1 - 1 / ranks) * 4 * (products + 3 * phases)  # walks go there and back
    # A place, a number, and half of the time the first stage's means; out at both faces.
    crossing = 2 * slab.plane * hop / 2 * (16 + 4 * lattice.directions / 2)
    return Cost(work, slab_bytes(config, slab), 2 * 4 * edges, turns, crossing, evaluations)


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="berea-3d")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4, 8, 32])
    parser.add_argument("--evaluations", type=int, default=63)
    parser.add_argument("--hop", type=float, default=2.0, help="rows that a particle moves in a stage, on average")
    parser.add_argument("--figures", type=Path, help="JSON file with entries as of FIGURES")
    parser.add_argument("--seconds", action="append", default=[], metavar="KIND=S", help="seconds of a kind")
    parser.add_argument("--samples", type=int, default=10**5)
    parser.add_argument("--sample-side", type=int, default=128)
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64])
    asked = parser.parse_args()
    figures = {**FIGURES, **(json.loads(asked.figures.read_text()) if asked.figures else {})}
    for entry in asked.seconds:
        kind, value = entry.split("=")
        figures[kind] = {**figures.get(kind, FIGURES["H200"]), "seconds": float(value)}
    config = load_config(find_model(asked.model))
    rows = []
    for side in asked.sides:
        for ranks in asked.ranks:
            for kind, about in figures.items():
                one = cost(config, side, ranks, about, asked.evaluations, asked.hop)
                fits = one.memory <= about["memory"] * GIB
                time = duration(one.seconds(about["link"])) if fits else "does not fit"
                apart = duration(one.seconds(NETWORK)) if fits and ranks > 1 else "-"
                parts = (one.edges, one.turns, one.crossing)
                sent = " / ".join(f"{part / GIB:.2f}" for part in parts) if ranks > 1 else "-"
                rows.append([f"{side}^3", f"{ranks} x {kind}", f"{one.memory / GIB:.0f}", sent, time, apart])
    head = ["volume", "devices", "GiB each", "GiB sent by each an evaluation: edges / turns / particles"]
    print(table([*head, "one node", f"{NETWORK} GB/s"], rows))
    voxels = asked.samples * asked.sample_side**3
    rows = []
    for number in asked.devices:
        for kind, about in figures.items():
            time = voxels * about["seconds"] * asked.evaluations / number
            rows.append([f"{number} x {kind}", duration(time), f"{voxels / 8 / 1e12:.2f} TB"])
    print(f"\n{asked.samples} samples of {asked.sample_side}^3, {asked.evaluations} evaluations each:\n")
    print(table(["devices", "time", "disk, at a bit a voxel"], rows))


if __name__ == "__main__":
    main()
