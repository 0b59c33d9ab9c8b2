"""The flow solver: known answers, order of convergence, precision, and seconds for real cubes.

python examples/studies/flow_study.py                       # slits, ducts, spheres, random cubes
python examples/studies/flow_study.py --real rock.dsd.h5    # and cubes of the held-out part of a dataset
"""

import argparse
import time

import numpy as np
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset
from dsdcli.data.voxel import convert
from dsdcli.evaluation.measures.surfaces import interfaces
from dsdcli.evaluation.measures.transport import permeability_estimate, relative_diffusivity
from dsdcli.flow.clusters import through_clusters
from dsdcli.flow.permeability import Flow, in_millidarcy, in_um2, permeability

MAGIC = {"1/8": 1 / 8, "3/16": 3 / 16}
DRAG = {0.216: 7.442, 0.45: 28.1, 0.5236: 42.14}  # on spheres in a simple cubic array: Zick and Homsy 1982


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 24, 32, 48, 64], help="of the cells with a sphere")
    parser.add_argument("--cube", type=int, default=64, help="side of the cubes that are timed")
    parser.add_argument("-n", type=int, default=4, help="how many of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", metavar="DATASET")
    words = parser.parse_args()
    known_answers(words.sides)
    rng = np.random.default_rng(words.seed)
    fields = [gaussian_filter(rng.normal(size=(words.cube,) * 3), words.cube / 24) for _ in range(words.n)]
    cubes("random cubes, porosity 0.2", [field < np.quantile(field, 0.2) for field in fields], None)
    precision(fields[0] < np.quantile(fields[0], 0.2))
    refinement(
        "random cube", fields[0][: words.cube // 2, : words.cube // 2, : words.cube // 2] < np.quantile(fields[0], 0.2)
    )
    if words.real:
        dataset = Dataset.open(words.real)
        names = [phase.name for phase in dataset.phases]
        pore = names.index("pore") if "pore" in names else 0
        stack = dataset.crops("heldout", words.n, (words.cube,) * 3, rng) == pore
        size, unit = dataset.voxel_size, dataset.voxel_unit
        cubes(f"{words.n} held-out cubes of {words.real}", list(stack), convert(size, unit, "um") if size else None)
        half = stack[0][tuple(slice(words.cube // 2) for _ in range(3))]
        precision(stack[0])
        refinement("real cube", half)


def known_answers(sides: list[int]) -> None:
    print("Permeability over the known one, by the magic parameter\n\n| | " + " | ".join(MAGIC) + " |\n|---|---|---|")
    for width in (1, 2, 4, 8):
        slit = np.zeros((2, width + 2, 2), bool)
        slit[:, 1:-1] = True
        row(f"slit of {width}", slit, width**3 / 12 / (width + 2))
    widths, found = (2, 4, 8, 16, 32), []
    for width in widths:
        duct = np.zeros((2, width + 2, width + 2), bool)
        duct[:, 1:-1, 1:-1] = True
        found.append(row(f"square duct of {width}", duct, 0.0351443 * width**4 / (width + 2) ** 2))
    errors = np.abs(np.array(found[1:]) - 1)
    slopes = -np.polyfit(np.log(widths[1:]), np.log(errors), 1)[0]
    print(f"| order of convergence, ducts from {widths[1]} | {' | '.join(f'{slope:.2f}' for slope in slopes)} |")
    for solid, drag in DRAG.items():
        for side in sides:
            radius = side * (3 * solid / 4 / np.pi) ** (1 / 3)
            distance = ((np.indices((side // 2,) * 3) + 0.5) ** 2).sum(0)  # an octant: the mirrors make up the rest
            octant = distance >= np.sort(distance, axis=None)[round(solid * distance.size)]  # of the sphere's volume
            row(f"spheres, solid {solid}, cell of {side}", octant, side**3 / (6 * np.pi * radius * drag))


def row(name: str, pores: np.ndarray, known: float) -> list[float]:
    found = [permeability(pores, 0, magic=magic).permeability / known for magic in MAGIC.values()]
    print(f"| {name} | {' | '.join(f'{value:.4f}' for value in found)} |", flush=True)
    return found


def cubes(title: str, stack: list[np.ndarray], voxel_um: float | None) -> None:
    """Every axis of every cube: what flows, what it takes, and what the estimate says."""
    unit = "um^2 | mD | " if voxel_um else ""
    print(f"\n{title}\n\n| cube | axis | porosity | voxel^2 | {unit}residual | steps | CPU s | estimate / flow |")
    print("|---" * (8 + 2 * bool(voxel_um)) + "|")
    for number, pores in enumerate(stack):
        for axis in range(3):
            found, seconds = timed(pores, axis)
            k = found.permeability
            effort = f"{found.residual:.0e} | {found.steps} | {seconds:.1f}"
            units = f"{in_um2(k, voxel_um):.4g} | {in_millidarcy(k, voxel_um):.4g} | " if voxel_um else ""
            diffusivity = relative_diffusivity(through_clusters(pores, axis), axis)
            surface = float(interfaces(pores.astype(np.uint8), 2)[0, 1])
            estimate = permeability_estimate(diffusivity, float(pores.mean()), surface, 3)
            print(
                f"| {number} | {'zyx'[axis]} | {pores.mean():.3f} | {k:.4g} | {units}{effort} "
                f"| {estimate / k if k else float('nan'):.2f} |",
                flush=True,
            )


def precision(pores: np.ndarray) -> None:
    found = {name: timed(pores, 0, precision=name) for name in ("float32", "float64")}
    print("\nprecision: " + ", ".join(f"{n} {f.permeability:.6g} in {s:.1f} CPU s" for n, (f, s) in found.items()))


def refinement(title: str, pores: np.ndarray) -> None:
    """The same voxels, each split into 2^3: what resolution alone changes."""
    fine = pores.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    for name, magic in MAGIC.items():
        one, two = (permeability(image, 0, magic=magic).permeability for image in (pores, fine))
        print(f"{title} of {len(pores)}, magic {name}: {one:.4g} voxel^2, split voxels {two / 4:.4g}", flush=True)


def timed(pores: np.ndarray, axis: int, **options: str) -> tuple[Flow, float]:
    start = time.process_time()
    return permeability(pores, axis, **options), time.process_time() - start


if __name__ == "__main__":
    main()
