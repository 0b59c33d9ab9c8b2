"""Digits as counts of particles: are totals exact, and are the digits of the class that was asked for?

    python examples/studies/digits.py digits -o digits.png

The 8x8 digits of scikit-learn (0 to 16; the last fifth of each class held out) are ingested class by class into the
folder that is named, and a model is trained there for `--max-time`, unless it is there already. A classifier that has
seen the training digits alone (a small convolutional network, which sees them turned, stretched and moved) judges
held-out digits and 1,000 samples, a hundred of each class; samples with a third more and a third less in total; and
digits whose lower half is filled in, with its total.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from shared import options, print_row, print_table, say
from torch import nn

from dsdcli.cli.parse import parse_duration
from dsdcli.data.dataset import Dataset
from dsdcli.data.species import channels
from dsdcli.pipeline.ingest import ingest
from dsdcli.pipeline.load import load
from dsdcli.pipeline.train import train

NAMES = [str(digit) for digit in range(10)]
TOTALS = {"a third less": 2 / 3, "as real ones": 1.0, "a third more": 4 / 3}


def prepare(folder: Path, seconds: float) -> Dataset:
    """The dataset, and a model beside it."""
    from sklearn.datasets import load_digits

    found = load_digits()
    folder.mkdir(exist_ok=True)
    files = [folder / f"{name}.npy" for name in NAMES]
    for digit, file in enumerate(files):
        np.save(file, found.images[found.target == digit].astype(np.uint8))
    out = folder / "digits.dsd.h5"
    dataset = ingest(files, out, intensity=True, largest=16, axes="t", classes=NAMES, holdout=0.2).dataset
    if not (folder / "run").exists():
        train(dataset, batch=128, max_seconds=seconds, validate_every=1000, out=folder / "run", note=say)
    return dataset


def of_split(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Digits (n, 8, 8) and what they are (n,)."""
    images = [channels(image.array)[..., 0] for image in dataset.images(split)]
    kinds = [np.full(len(i), int(of.material or 0)) for i, of in zip(images, dataset.images(split), strict=True)]
    return np.concatenate(images), np.concatenate(kinds)


def classifier(images: np.ndarray, kinds: np.ndarray, steps: int) -> nn.Module:
    """A network that tells digits (n, 8, 8), of counts up to 16, apart."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, features in ((1, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if features == 64 else []
    net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.4), nn.Linear(128 * 16, 10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    digits, labels = torch.from_numpy(images).float()[:, None] / 16, torch.from_numpy(kinds)
    for _ in range(steps):
        rows = torch.randint(len(digits), (128,))
        maps = torch.eye(2, 3) + torch.randn(128, 2, 3) * torch.tensor([0.12, 0.15, 0.12])
        seen = F.grid_sample(digits[rows], F.affine_grid(maps, [128, 1, 8, 8], False), align_corners=False)
        loss = F.cross_entropy(net(seen), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def main() -> None:
    parser = options(__doc__, "steps", "seed")
    parser.add_argument("folder", type=Path, help="of the dataset and the run")
    parser.add_argument("-n", type=int, default=100, help="samples of each digit (default 100)")
    parser.add_argument("--max-time", default="12m", help="of the training (default 12m)")
    parser.add_argument("--judge-steps", type=int, default=1500, help="of the classifier's training (default 1500)")
    parser.add_argument("-o", "--out", type=Path, default=Path("digits.png"))
    chosen = parser.parse_args()
    dataset = prepare(chosen.folder, parse_duration(chosen.max_time))
    model = load(chosen.folder / "run")
    judge = classifier(*of_split(dataset, "train"), chosen.judge_steps)

    def recognised(stack: np.ndarray, kinds: np.ndarray) -> str:
        with torch.inference_mode():
            found = judge(torch.from_numpy(stack.astype(np.float32))[:, None] / 16).argmax(1).numpy()
        return f"{100 * (found == kinds).mean():.1f} %"

    real, which = of_split(dataset, "heldout")
    print_table(["digits", "number", "mean count", "totals exact", "recognised"])
    print_row(["held out", str(len(real)), f"{real.mean():.2f}", "", recognised(real, which)])
    shown = {"held out": np.stack([real[which == digit][0] for digit in range(10)])}
    made_of = np.repeat(np.arange(10), chosen.n)
    for name, factor in TOTALS.items():
        made, exact = [], True
        for digit in range(10):
            totals = real[which == digit].reshape(-1, 64).sum(1, dtype=int)
            wanted = round(factor * totals.mean())
            request = {"like": dataset} if factor == 1 else {"totals": {"intensity": wanted}}
            found = model.generate(
                chosen.n, class_name=str(digit), steps=chosen.steps, seed=chosen.seed + digit, **request
            )
            asked = [sample["requested"]["intensity"] for sample in found.audit["samples"]]
            exact &= found.totals[:, 0].tolist() == asked
            made.append(found.stack[:, 0])
        stack = np.concatenate(made)
        print_row([name, str(len(stack)), f"{stack.mean():.2f}", "all" if exact else "NO", recognised(stack, made_of)])
        shown[name] = stack[:: chosen.n]
    halves = []
    for digit, image in enumerate(shown["held out"]):
        filled = model.inpaint(image, 1, boxes=[[(4, 8), (0, 8)]], class_name=str(digit), seed=chosen.seed)
        halves.append(filled.stack[0, 0])
    shown["lower half filled in"] = np.stack(halves)
    same = np.array_equal(shown["lower half filled in"].sum((1, 2)), shown["held out"].sum((1, 2)))
    print_row(["lower half filled in", "10", "", "all" if same else "NO", recognised(np.stack(halves), np.arange(10))])
    draw(chosen.out, shown)
    print(f"\n{chosen.out}")


def draw(path: Path, shown: dict[str, np.ndarray]) -> None:
    """A digit of each class in every row."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(shown), 10, figsize=(8, 0.85 * len(shown)), layout="constrained")
    for row, (name, stack) in zip(axes, shown.items(), strict=True):
        for axis, image in zip(row, stack, strict=True):
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=16, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(name.replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
