"""Is one model of several materials as good for each as a model of its own, of as much training?

    dsd ingest berea.tif ketton.tif --class berea --class ketton -o rocks.dsd.h5
    dsd ingest berea.tif -o berea.dsd.h5 && dsd ingest ketton.tif -o ketton.dsd.h5
    dsd train rocks.dsd.h5 --from none --size 64x64 --steps 1200 -o both
    dsd train berea.dsd.h5 --from none --size 64x64 --steps 600 -o berea
    dsd train ketton.dsd.h5 --from none --size 64x64 --steps 600 -o ketton
    python examples/studies/two_rocks.py rocks.dsd.h5 both berea ketton -o two-rocks.png

Samples of each class at the volume fractions of its training images, by the model of all and by its own, beside
held-out crops of the class of like fractions. Errors are distances of `dsd evaluate`; the noise floor is that of
training crops.
"""

from pathlib import Path

import numpy as np
from shared import options, print_row, print_table, say

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.evaluate import evaluate
from dsdcli.pipeline.load import load

METRICS = ("two-point", "lineal-path", "pore-size", "interface")


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("dataset", type=Path, help="of several classes")
    parser.add_argument("both", help="model of all classes")
    parser.add_argument("own", nargs="+", help="model of each class, in the order of the dataset")
    parser.add_argument("-n", type=int, default=64, help="samples of each class by each model (default 64)")
    parser.add_argument("-o", "--out", type=Path, default=Path("two-rocks.png"))
    chosen = parser.parse_args()
    dataset, both = Dataset.open(chosen.dataset), load(chosen.both, chosen.device)
    if len(chosen.own) != len(dataset.classes):
        parser.error(f"{chosen.dataset} has the classes {', '.join(dataset.classes)}: name a model of its own for each")
    pictures = []
    print_table(["class", "metric", "one model of all", "its own model", "floor", "of all / own", "of all / floor"])
    for name, path in zip(dataset.classes, chosen.own, strict=True):
        material, own = dataset.of_class(name), load(path, chosen.device)
        counts = dict(zip((p.name for p in both.phases), _typical(material, both.config.size), strict=True))
        rows = []
        for model, request in ((both, {"class_name": name}), (own, {})):
            made = model.generate(chosen.n, counts=counts, steps=chosen.steps, seed=chosen.seed, **request)
            say(f"{name}: {chosen.n} samples by {model.path}, {made.audit['seconds']:.0f} s")
            rows.append({(r.metric, r.subject): r for r in evaluate(made.stack, material, metrics=METRICS).rows})
            pictures.append((f"{name}, {'one of all' if request else 'its own'}", made.stack))
        pictures.append(
            (f"{name}, real", material.crops("heldout", 4, both.config.size, np.random.default_rng(chosen.seed)))
        )
        for key, ours in rows[0].items():
            theirs = rows[1][key]
            errors = (f"{100 * value:.1f} %" for value in (ours.distance, theirs.distance, ours.floor))
            ratios = (f"{ours.distance / value:.2f}" for value in (theirs.distance, ours.floor))
            print_row([name, " ".join(key), *errors, *ratios])
    draw(chosen.out, pictures)
    print(f"\n{chosen.out}")


def _typical(material: Dataset, size: tuple[int, ...]) -> list[int]:
    """Voxels of each phase at the volume fractions of the training images."""
    sites = int(np.prod(size))
    first = np.round(sites * material.fractions("train")[:-1]).astype(int).tolist()
    return [*first, sites - sum(first)]


def draw(path: Path, pictures: list[tuple[str, np.ndarray]]) -> None:
    """Four images of each stack (n, H, W), in a row."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(pictures), 4, figsize=(6, 1.6 * len(pictures)), layout="constrained")
    for row, (title, stack) in zip(axes, pictures, strict=True):
        row[0].set_title(title, loc="left", fontsize=9)
        for axis, image in zip(row, stack, strict=False):
            axis.imshow(image, cmap="gray", interpolation="nearest")
            axis.axis("off")
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
