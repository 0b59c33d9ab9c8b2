"""How far does steering move a property, without training? Requests one deviation to either side, at fixed counts.

    python examples/studies/steering.py berea-2d rock.dsd.h5 -o steering.png

Samples at the volume fractions of the training images say what the model does by itself: mean and deviation of
each property. Then as many are steered to the mean less and plus one deviation, with the same seeds. "Shift": what the
mean moved, over what was asked for. Two-point errors are against held-out crops of like volume fractions whose property
is nearest to the request; "floor" is that of as many training crops, chosen in the same way.
"""

from pathlib import Path

import numpy as np
from shared import mean_vectors, options, print_row, print_table, say, slashed

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.metrics import METRICS
from dsdcli.pipeline.load import load
from dsdcli.pipeline.output import Samples
from dsdcli.pipeline.steer import TOLERANCE, Target, make_steer

POOL = 4000  # crops that the real ones are chosen from
NEAR = 0.03  # of the volume fraction of the first phase


def real_crops(dataset: Dataset, split: str, target: Target, like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many crops as samples (n, *L), of like volume fractions, with the property nearest to the target."""
    crops = dataset.crops(split, POOL, like.shape[1:], rng)
    off = np.abs((crops == 0).reshape(POOL, -1).mean(1) - (like == 0).mean())
    crops = crops[np.argsort(off, kind="stable")[: max(2 * len(like), int((off < NEAR).sum()))]][: 16 * len(like)]
    error = [abs(target.measure(crop, "cpu") - target.value) for crop in crops]
    return crops[np.argsort(np.nan_to_num(error, nan=np.inf), kind="stable")[: len(like)]]


def distance(stack: np.ndarray, real: np.ndarray, names: list[str]) -> float:
    """Two-point error of images (n, *L)."""
    ours, theirs = (mean_vectors(images, names, ["two-point"]) for images in (stack, real))
    kind = METRICS["two-point"].kind(stack.ndim - 1)
    return float(np.mean([kind.distance(ours[key], theirs[key]) for key in ours]))


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="shipped model, run or folder")
    parser.add_argument("dataset", type=Path, help="of the same phases, in the same order")
    parser.add_argument("-n", type=int, default=64, help="samples of each request (default 64)")
    parser.add_argument("--walkers", type=int, default=8)
    parser.add_argument("--quantities", nargs="+", default=["interface", "diffusivity.grain"])
    parser.add_argument("-o", "--out", type=Path, default=Path("steering.png"))
    chosen = parser.parse_args()
    model, dataset = load(chosen.model, chosen.device), Dataset.open(chosen.dataset)
    names, axes = [phase.name for phase in model.phases], model.config.ndim
    if names != [phase.name for phase in dataset.phases]:
        parser.error(f"{chosen.dataset} has other phases than {chosen.model}")

    def generate(**request: object) -> Samples:
        return model.generate(chosen.n, steps=chosen.steps, seed=chosen.seed, **request)

    plain = generate()
    say(f"{chosen.n} samples unsteered: {plain.audit['seconds']:.0f} s")
    shown: dict[str, dict[str, np.ndarray]] = {}
    pictures = {"unsteered": plain.stack}
    print_table(["steered to", "unsteered", "request", "achieved", "shift", "seconds", "two-point error", "floor"])
    for name in chosen.quantities:
        plan = make_steer({name: (1.0, 1.0)}, None, model.config, axes, "cpu")
        measured = np.array([plan.targets[0].measure(image, "cpu") for image in plain.stack])
        mean, deviation = np.nanmean(measured), np.nanstd(measured, ddof=1)
        shown[name] = {"unsteered": measured}
        for sign in (-1, 1):
            wanted = float(mean + sign * deviation)
            steered = generate(steer={name: wanted}, walkers=chosen.walkers)
            if not np.array_equal(steered.counts, plain.counts):
                raise SystemExit("a count is not exact")
            found = np.array([sample["steered"][name] for sample in steered.audit["samples"]], float)
            target = make_steer({name: wanted}, None, model.config, axes, "cpu").targets[0]
            rng = np.random.default_rng(chosen.seed)
            heldout, train = (real_crops(dataset, split, target, plain.stack, rng) for split in ("heldout", "train"))
            error, floor = (100 * distance(images, heldout, names) for images in (steered.stack, train))
            shift = (np.nanmean(found) - mean) / (wanted - mean)
            unit = f" {target.unit}".rstrip()
            print_row(
                [
                    f"{name}{unit}",
                    f"{mean:.4g} ± {deviation:.2g}",
                    f"{wanted:.4g} ± {TOLERANCE:.0%}",
                    f"{np.nanmean(found):.4g} ± {np.nanstd(found, ddof=1):.2g}",
                    f"{shift:.2f}",
                    slashed([steered.audit["seconds"]], ".0f"),
                    f"{error:.1f} %",
                    f"{floor:.1f} %",
                ]
            )
            shown[name][f"{wanted:.3g}"] = found
            pictures[f"{name} {wanted:.3g}"] = steered.stack
    draw(chosen.out, shown, pictures)
    print(f"\nCounts are exact in all samples. {chosen.out}")


def draw(path: Path, shown: dict[str, dict[str, np.ndarray]], pictures: dict[str, np.ndarray]) -> None:
    """What every sample has, and below the first sample of each request, which all began with the same seed."""
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subfigures(2, 1)
    for axis, (name, groups) in zip(above.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        for place, (request, values) in enumerate(groups.items()):
            spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(values))
            axis.plot(place + spread, values, "o", alpha=0.5, color=f"C{place}")
            aim = np.nanmean(values) if request == "unsteered" else float(request)
            axis.hlines(aim, place - 0.3, place + 0.3, color="black")
        axis.set_xticks(range(len(groups)), [r if r == "unsteered" else f"asked for {r}" for r in groups])
        axis.set_title(name)
    for axis, (title, stack) in zip(below.subplots(1, len(pictures)), pictures.items(), strict=True):
        image = stack[0] if stack.ndim == 3 else stack[0, 0]
        axis.imshow(image, cmap="gray", interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
