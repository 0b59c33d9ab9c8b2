"""How well do filled holes fit? dsd, pasted real pieces and random voxels beside what was really there.

    python examples/studies/inpaint_quality.py berea-2d rock.dsd.h5 -o holes.png
    python examples/studies/inpaint_quality.py berea-3d rock.dsd.h5 -n 16 --steps 16

Square holes and free-form ones (discs, one centred on another) are cut into held-out crops, four into each, one in
every quarter; cubes and balls into volumes, one into each. They are filled with the very voxel counts that they had: by
dsd; by pasting a piece of the training images, of 256 random ones that with the nearest counts; and by shuffling. Each
hole is filled twice by each. Measured at the same places, and divided by what the real content gives there:

* rim mismatch: how often two neighbouring voxels on either side of the rim differ;
* two-point error: the mean covariance S2 - phi phi' at lags 1 to 16, relative L2 distance; "inside" for pairs in the
  hole, "across" for pairs with one voxel in the hole and one outside;
* interface: faces between unlike voxels in the hole.

"real, elsewhere" is the noise floor: half of the real holes against the other half, scaled to as many as there are.
Beside it stands what the same model does when it makes whole images. Intervals are 95 %, from a bootstrap of the crops.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from inpaint_measures import Statistics, covariance, errors, floor, ratios
from shared import counts_of, markdown, options, samples, to_model
from skimage.morphology import ball, disk

from dsdcli.data.dataset import Dataset
from dsdcli.data.phases import Phase
from dsdcli.data.voxel import sides
from dsdcli.device import pick_device
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.network.model import UndoNet
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.hole_counts import kept
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.view.sheet import write_sheet

SQUARE = 24  # side of the square holes
BLOB = {2: 500, 3: 8000}  # voxels of a free-form hole, or a few more
MARGIN = 8  # voxels between a hole and the border of its quarter
FILLINGS = 2  # of each hole
QUARTERS = {2: 4, 3: 1}  # of a crop, each with a hole
PIECES = 256  # that the pasted one is chosen from
SHOWN = 5  # holes of each kind in the picture


def square(side: int, ndim: int, rng: np.random.Generator) -> np.ndarray:
    """A square or cubic hole anywhere in a quarter but at its margin: bool (side, ...)."""
    mask = np.zeros((side,) * ndim, bool)
    low = rng.integers(MARGIN, side - MARGIN - SQUARE + 1, ndim)
    mask[tuple(slice(a, a + SQUARE) for a in low)] = True
    return mask


def free_form(side: int, ndim: int, rng: np.random.Generator) -> np.ndarray:
    """Discs or balls, each centred on one before it, until they cover `BLOB` voxels: bool (side, ...)."""
    mask = np.zeros((side,) * ndim, bool)
    room = (slice(MARGIN, side - MARGIN),) * ndim
    mask[tuple(rng.integers(side // 3, side - side // 3, ndim))] = True
    while mask.sum() < BLOB[ndim]:
        centre = np.argwhere(mask)[rng.integers(mask.sum())]
        disc = np.pad((disk if ndim == 2 else ball)(int(rng.integers(3, 9)), bool), side)
        at = len(disc) // 2 - centre
        disc = disc[tuple(slice(a, a + side) for a in at)]
        mask[room] |= disc[room]
    return mask


def quarters(images: np.ndarray) -> np.ndarray:
    """Images (n, 2a, 2a) cut into four: (4n, a, a), quarters of an image one after another. Volumes stay whole."""
    if images.ndim == 4:
        return images
    n, side, _ = images.shape
    return images.reshape(n, 2, side // 2, 2, side // 2).swapaxes(2, 3).reshape(-1, side // 2, side // 2)


def joined(parts: np.ndarray) -> np.ndarray:
    """The inverse of `quarters`."""
    if parts.ndim == 4:
        return parts
    side = parts.shape[-1]
    return parts.reshape(-1, 2, 2, side, side).swapaxes(2, 3).reshape(-1, 2 * side, 2 * side)


def fill(model: UndoNet, real: np.ndarray, masks: np.ndarray, settings: Trapezoidal, seed: int) -> np.ndarray:
    """dsd: all holes of a crop at once, `FILLINGS` times: (n, FILLINGS, a, ...)."""
    filled, each = [], QUARTERS[real.ndim - 1]
    for number, (crop, mask) in enumerate(zip(joined(real), joined(masks), strict=True)):
        hole = Hole(crop.shape, mask=mask)
        totals = kept(crop, hole.parts, len(model.config.phases))
        images = samples(model, np.stack([totals] * FILLINGS), hole, settings, seed + number, crop)
        filled.append(quarters(images).reshape(FILLINGS, each, *real.shape[1:]).swapaxes(0, 1))
        print(f"\r{number + 1} of {len(real) // each} crops filled ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return np.concatenate(filled)


def paste(real: np.ndarray, masks: np.ndarray, pieces: np.ndarray, phases: int) -> np.ndarray:
    """The pieces (m, a, ...) whose counts in the hole are nearest to the real ones: (n, FILLINGS, a, ...)."""
    filled = np.repeat(real[:, None], FILLINGS, axis=1)
    for images, mask in zip(filled, masks, strict=True):
        content = np.concatenate([images[:1, mask], pieces[:, mask]])  # (1 + m, voxels)
        counts = np.stack([(content == phase).sum(1) for phase in range(phases)], axis=1)
        nearest = np.argsort(np.abs(counts[1:] - counts[0]).sum(1), kind="stable")[:FILLINGS]
        images[:, mask] = pieces[nearest][:, mask]
    return filled


def shuffle(real: np.ndarray, masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The real voxels in random order: (n, FILLINGS, a, ...)."""
    filled = np.repeat(real[:, None], FILLINGS, axis=1)
    for images, mask in zip(filled, masks, strict=True):
        images[:, mask] = rng.permuted(images[:, mask], axis=1)
    return filled


def percent(values: np.ndarray) -> str:
    return " / ".join(f"{100 * value:.0f}" for value in values) + " %"


def print_table(
    real: np.ndarray, masks: np.ndarray, methods: Mapping[str, np.ndarray], phases: Sequence[Phase]
) -> None:
    """Compare the fillings (n, FILLINGS, a, ...) of every method with the real images (n, a, a), in Markdown."""
    names, k = [phase.name for phase in phases], len(phases)
    shown, crops, rng = shown_phases(phases), len(real) // QUARTERS[real.ndim - 1], np.random.default_rng(0)
    pairs = [f", {names[a]}-{names[b]}" for a, b in zip(*np.triu_indices(k, 1), strict=True)] if k > 2 else []
    rims = [f"rim mismatch{pair}" for pair in ("", *pairs)]
    truth = Statistics.of(real, masks, k)
    head, rows = ["", *rims, "two-point error inside", "across", "interface"], []
    for method, filled in methods.items():
        found = Statistics.of(filled.reshape(-1, *real.shape[1:]), np.repeat(masks, FILLINGS, axis=0), k)
        curves = [
            percent(errors(*both)[shown]) for both in ((found.inside, truth.inside), (found.across, truth.across))
        ]
        rim, faces = ratios(found.rim, truth.rim, crops, rng), ratios(found.faces, truth.faces, crops, rng)
        rows.append([method, *rim[: len(rims)], *curves, faces[0]])
    curves = [percent(floor(x, rng)[shown]) for x in (truth.inside, truth.across)]
    rows.append(["real, elsewhere", *[""] * len(rims), *curves, ""])
    print(markdown(head, rows))


def shown_phases(phases: Sequence[Phase]) -> list[int]:
    """All phases; of two the pore, else the first, since the other has the same curves."""
    names = [phase.name for phase in phases]
    return list(range(len(names))) if len(names) > 2 else [names.index("pore") if "pore" in names else 0]


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="shipped model, run or folder")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-n", type=int, default=200, help="fillings of holes of each kind by each method (default 200)")
    parser.add_argument("--eta", type=float, default=Trapezoidal().eta, help="share of back-and-forth hops kept")
    parser.add_argument("-o", "--out", type=Path, default=Path("inpaint_quality.png"))
    chosen = parser.parse_args()
    dataset, settings = Dataset.open(chosen.dataset), Trapezoidal(steps=chosen.steps, eta=chosen.eta)
    model = load_model(find_model(chosen.model), pick_device(chosen.device))
    phases, ndim = model.config.phases, model.config.ndim
    k, side, halves = len(phases), max(*model.config.size, SQUARE + 2 * MARGIN), 2 if ndim == 2 else 1
    names, order = [phase.name for phase in phases], to_model(dataset, model.config)
    rng = np.random.default_rng(chosen.seed)
    crops = -(-chosen.n // (FILLINGS * QUARTERS[ndim]))
    real = quarters(order[dataset.crops("heldout", crops, (halves * side,) * ndim, rng)])  # (n, a, ...)
    pieces = order[dataset.crops("train", PIECES, (side,) * ndim, rng)]
    print(
        f"{chosen.model}, {settings.evaluations} evaluations, eta {settings.eta:g}: {len(real)} holes of each kind in "
        f"{crops} held-out crops of {sides((halves * side,) * ndim)}, each filled {FILLINGS} times. "
        f"Two-point errors of {' / '.join(names[phase] for phase in shown_phases(phases))}."
    )
    tiles: list[np.ndarray] = []
    for title, make in ((f"Square holes, {sides((SQUARE,) * ndim)}", square), ("Free-form holes", free_form)):
        masks = np.stack([make(side, ndim, rng) for _ in real])
        methods = {
            "dsd": fill(model, real, masks, settings, chosen.seed),
            "pasted piece": paste(real, masks, pieces, k),
            "random voxels": shuffle(real, masks, rng),
        }
        print(f"\n{title}, {masks.sum() / len(masks):.0f} voxels on average\n", flush=True)
        print_table(real, masks, methods, phases)
        for image, mask, *fillings in zip(real[:SHOWN], masks, *methods.values(), strict=False):
            some = [image, np.where(mask, k, image), *fillings[0][:2], *(filled[0] for filled in fillings[1:])]
            tiles += some if ndim == 2 else [volume[np.argwhere(mask).mean(0).astype(int)[0]] for volume in some]
    whole = np.ones_like(real, bool)
    made = samples(model, counts_of(real, k), Lattice((side,) * ndim), settings, chosen.seed)
    found, truth = (np.stack([covariance(i, w, w, k) for i, w in zip(x, whole, strict=True)]) for x in (made, real))
    shown = shown_phases(phases)
    print(
        f"\nWhole images of {sides((side,) * ndim)} by the same model, with the counts of the {len(real)} quarters: "
        f"two-point error {percent(errors(found, truth)[shown])}; real, elsewhere {percent(floor(truth, rng)[shown])}."
    )
    titles = ["real", "hole", "dsd", "dsd", "pasted piece", "random voxels"]
    write_sheet(chosen.out, np.stack(tiles), [*phases, Phase("hole", -1)], 6, titles * (len(tiles) // 6))
    print(f"\n{chosen.out}")


if __name__ == "__main__":
    main()
