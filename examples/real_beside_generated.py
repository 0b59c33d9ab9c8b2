"""A picture of real crops beside generated samples, with the curves that say more than the eye.

    python examples/real_beside_generated.py rock.dsd.h5 berea-2d -o picture.png
    python examples/real_beside_generated.py rock.dsd.h5 berea-2d cell.dsd.h5 nmc-2d --curves-only -o fidelity.png

Every DATASET is followed by its MODEL. The samples have the voxel counts of random training crops, and are compared
with held-out crops of like volume fractions; the dotted curves are as many training crops, whose distance from the
held-out ones is the noise floor. --curves-only leaves out the real crops, for when the data may not be passed on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dsdcli
from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.metrics import measure
from dsdcli.files import atomic
from dsdcli.view.sheet import colours

METRICS = ("two-point", "chords", "pore-size")
TITLES = ("two-point correlation $S_2 - \\varphi^2$", "chord length", "local thickness (radius)")
SHOWN = 8  # images shown of each kind, two in a row
REPEATS = 4  # held-out crops for each sample


@dataclass(frozen=True)
class Panel:
    """One material: stacks (n, Y, X) of phase indices."""

    title: str
    dataset: Dataset
    generated: np.ndarray
    heldout: np.ndarray
    train: np.ndarray


def make_panel(dataset_path: Path, model: str, n: int, steps: int | None, seed: int, device: str) -> Panel:
    """Generate n samples and draw the real crops that go with them."""
    dataset, found = Dataset.open(dataset_path), dsdcli.load(model, device)
    if found.config.ndim != 2:
        raise SystemExit(f"{model} is a 3D model; this picture is for 2D ones")
    samples = found.generate(n, like=dataset, steps=steps, seed=seed)
    order = [[p.name for p in dataset.phases].index(phase.name) for phase in samples.phases]
    stack = np.array(order, np.uint8)[samples.stack]  # the model's phase indices -> the dataset's
    heldout, train = (
        matched_crops(dataset, split, stack, repeats, np.random.default_rng([seed, repeats])).stack
        for split, repeats in (("heldout", REPEATS), ("train", 1))
    )
    title = f"{found.path.name}, {samples.audit['evaluations_per_sample']} evaluations"
    return Panel(title, dataset, stack, heldout, train)


def curves(stack: np.ndarray, phases: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """For every metric and phase the mean covariance at lags 0, 1, ..., or the pooled distribution in percent."""
    measured = [measure(image, phases, METRICS) for image in stack]
    found = {}
    for key in measured[0]:
        mean = np.mean([image[key] for image in measured], axis=0)
        # A two-point vector holds phi^2, then S2 from lag 0 on, which is phi; the others are histograms.
        found[key] = mean[1:] - mean[0] if key[0] == "two-point" else 100 * mean / mean.sum()
    return found


def draw_images(axes: Axes, stack: np.ndarray, panel: Panel, title: str) -> None:
    """A block of images, two in a row."""
    table = colours(panel.dataset.phases)
    tiles = [np.pad(table[image], ((0, 3), (0, 3), (0, 0)), constant_values=255) for image in stack[:SHOWN]]
    half = SHOWN // 2
    axes.imshow(np.vstack([np.hstack(tiles[:half]), np.hstack(tiles[half:])]), interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def line_colours(panel: Panel) -> np.ndarray:
    """The colours of the images, but blue for the light grey, which would not show as a line."""
    table = colours(panel.dataset.phases) / 255
    return np.where(table.min(1, keepdims=True) > 0.6, (0.29, 0.49, 0.69), table)


def draw_curves(row: Sequence[Axes], panel: Panel) -> None:
    """One plot per metric: real, training and generated curves of every phase (of two phases: of the pore)."""
    names = [phase.name for phase in panel.dataset.phases]
    shown = ([n for n in names if n == "pore"] or names[:1]) if len(names) == 2 else names
    length, unit = panel.dataset.voxel_size or 1.0, panel.dataset.voxel_unit or "voxels"
    train, heldout, generated = (curves(stack, names) for stack in (panel.train, panel.heldout, panel.generated))
    for axes, metric, title in zip(row, METRICS, TITLES, strict=True):
        farthest = 0.0
        for name, colour in zip(names, line_colours(panel), strict=True):
            if name not in shown:
                continue
            real = heldout[metric, name]
            x = np.arange(len(real)) * length
            axes.plot(x, real, color=colour, lw=5, alpha=0.3, solid_capstyle="butt")
            axes.plot(x, train[metric, name], color=colour, lw=1, ls=":")
            axes.plot(x, generated[metric, name], color=colour, lw=1.4, label=name)
            farthest = max(farthest, x[np.cumsum(np.abs(real)) <= 0.995 * np.abs(real).sum()][-1])
        if metric == "two-point":
            axes.axhline(0, color="0.85", lw=0.6, zorder=0)
            axes.plot([], [], color="0.4", lw=1.4, label="generated")
            axes.plot([], [], color="0.4", lw=5, alpha=0.3, label="real, held out")
            axes.plot([], [], color="0.4", lw=1, ls=":", label="real, training")
            axes.legend(fontsize=7, frameon=False)
            farthest = x[-1]
        else:
            axes.set_ylabel("% of " + ("the chords" if metric == "chords" else "the volume"), fontsize=8)
        axes.set_xlim(0, farthest)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(labelsize=7)


def draw(panels: Sequence[Panel], curves_only: bool, out: Path) -> None:
    """Write the picture: a row for each material."""
    pictures = 1 if curves_only else 2
    size = (3.0 * (pictures + len(METRICS)) + 1.5, 2.5 * len(panels))
    figure = Figure(figsize=size, layout="constrained")
    widths = [2] * pictures + [1] * len(METRICS)
    grid = figure.subplots(len(panels), len(widths), width_ratios=widths, squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        if not curves_only:
            draw_images(row[0], panel.heldout[::REPEATS], panel, f"real, held out ({panel.dataset.path.name})")
        draw_images(row[pictures - 1], panel.generated, panel, f"generated ({panel.title})")
        draw_curves(row[pictures:], panel)
    with atomic(out) as temporary:
        figure.savefig(temporary, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", metavar="DATASET MODEL", help="one or more datasets, each with its model")
    parser.add_argument("-o", "--out", type=Path, default=Path("real_beside_generated.png"))
    parser.add_argument("-n", type=int, default=64, help="samples of each model, 8 or more (default 64)")
    parser.add_argument("--steps", type=int, help="leaps of the reverse walk (default: as dsd generate)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--curves-only", action="store_true", help="leave out the real crops")
    options = parser.parse_args()
    if len(options.pairs) % 2 or options.n < SHOWN:
        parser.error(f"give every DATASET its MODEL, and -n of {SHOWN} or more")
    pairs = list(zip(options.pairs[::2], options.pairs[1::2], strict=True))
    panels = [
        make_panel(Path(data), model, options.n, options.steps, options.seed, options.device) for data, model in pairs
    ]
    draw(panels, options.curves_only, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
