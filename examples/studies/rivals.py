"""dsd beside what one would use instead: the same data, voxel counts and metrics, everything made on one CPU thread.

    python examples/studies/rivals.py berea.dsd.h5 --minutes 20 -n 128 --dsd-reference berea-2d --work rivals

trains dsd and a Gaussian diffusion model with the same U-Net for the same time, lets simulated annealing and porespy's
generators make as many samples, and prints a Markdown table; the samples are drawn in rivals.png. `--work` keeps the
trained weights, so that the table can be made again without training. `--size` of three sides compares volumes, and
`--planes` adds those that a 2D model makes plane by plane. `--authors`, a checkout of
github.com/lanl/DiscreteSpatialDiffusion, adds a table of the forward corruption beside that of the method's authors.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # here and in the commands that are run: everyone gets one thread

import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from rivals import annealing, corruption, gaussian, generators, table, walk
from rivals.table import Method
from shared import counts_of, markdown, options

from dsdcli.cli.parse import parse_size
from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.errors import DsdError, UsageError
from dsdcli.evaluation.cache import Cache
from dsdcli.evaluation.evaluate import evaluate
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_tensors
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import Run, make_config
from dsdcli.training.trainer import Trainer
from dsdcli.view.sheet import write_sheet

VOXELS = 2**17  # of the crops of a training step together: 32 crops of 64x64, 4 of 32x32x32
BATCH = 64
LEAPS = (4, 8, 16)  # of dsd, beside the default: how fast it is at the error of a rival
SHOWN = 8  # samples of each method on the sheet
FITTED = 256  # training crops that annealing and the length scales of porespy's generators are fitted to


def train(
    kind: type[Trainer], folder: Path, dataset: Dataset, size: tuple[int, ...], minutes: float, device: str = "cpu"
) -> Run:
    """The run of a trainer, ended by time alone; from ``folder`` if it was trained before.

    All of dsd's training goes into whole crops, none into holes: its rival does not learn to in-paint either.
    """
    steps, batch, lr, seed = 10**7, max(1, VOXELS // math.prod(size)), 1e-3, 0
    settings = TrainSettings(
        "tiny",
        size,
        steps,
        60 * minutes,
        batch,
        lr,
        seed,
        boundary="noflux",
        precision="bfloat16",
        holes=0.0,
        large=0.0,
    )
    run = Run(folder)
    if run.resumable():
        if run.config().dataset_digest != dataset.digest or run.settings() != settings:
            raise UsageError(f"{folder} was trained on other data or in another way; name another --work")
        return run
    run = Run.create(folder, dataset, make_config(dataset, settings), settings)
    trainer = kind(run.config(), settings, dataset, pick_device(device))
    *_, last = trainer.run()
    run.log(last)
    run.checkpoint(trainer, best=True)
    return run


def by_dsd(
    name: str, model: Path, dataset: Dataset, size: tuple[int, ...], n: int, options: Sequence[str] = ()
) -> Method:
    stack, record = walk.sample(model, dataset, size, n, list(options))
    forced = float(np.mean([sample["decoding"]["forced"] for sample in record["samples"]]))
    minutes, evaluations = walk.minutes_trained(model), record["evaluations_per_sample"]
    return Method(name, stack, record["seconds"], forced, minutes, evaluations, rival=False)


def by_gaussian(run: Run, totals: np.ndarray, size: tuple[int, ...]) -> Method:
    model = gaussian.Denoiser(run.config()).eval()
    model.load_state_dict(load_tensors(run.folder / "last.safetensors"))
    began = time.monotonic()
    images, changed = zip(*gaussian.sample(model, totals, size, BATCH, seed=0), strict=True)
    seconds = time.monotonic() - began
    minutes = walk.minutes_trained(run.folder)
    return Method(
        "Gaussian diffusion", np.stack(images), seconds, float(np.mean(changed)), minutes, gaussian.EVALUATIONS
    )


def by_annealing(totals: np.ndarray, size: tuple[int, ...], data: np.ndarray, seconds: float) -> Method:
    state = annealing.Annealing(totals, size, data, np.random.default_rng(0))
    swaps = state.run(seconds)
    return Method(f"annealing of two-point ({swaps} swaps a sample)", state.stack(), seconds)


def by_porespy(
    generator: generators.Generator, dataset: Dataset, totals: np.ndarray, size: tuple[int, ...], data: np.ndarray
) -> Method:
    background = int(dataset.fractions("train").argmax())
    others = [phase for phase in range(len(dataset.phases)) if phase != background]
    began = time.monotonic()
    scales = {p: generators.fit_scale(generator, data, p, dataset.phases[p].name) for p in others}
    fitted = time.monotonic()
    stack, changed = generators.sample(generator, totals, size, dataset.phases, background, scales, seed=0)
    found = ", ".join(f"{scale:g}" for scale in scales.values())
    return Method(
        f"porespy {generator.__name__} (scale {found})",
        stack,
        time.monotonic() - fitted,
        changed,
        minutes=f"{(fitted - began) / 60:.1g}",
    )


def methods(
    dataset: Dataset,
    size: tuple[int, ...],
    minutes: float,
    n: int,
    cfl: int,
    work: Path,
    reference: Path | None,
    planes: Path | None,
    device: str,
) -> Iterator[Method]:
    """n samples of every method, with the voxel counts of those of the first; ``cfl`` ones by the paper's sampler."""
    folder = work / f"dsd-{minutes:g}min"
    train(Trainer, folder, dataset, size, minutes, device)
    rival = train(gaussian.GaussianTrainer, work / f"gaussian-{minutes:g}min", dataset, size, minutes, device)
    trained = {f"dsd ({walk.steps_trained(folder)} steps)": folder}
    if reference:
        trained[f"dsd, {reference.name}"] = reference
    ours = [by_dsd(name, model, dataset, size, n) for name, model in trained.items()]
    yield from ours
    for name, model in trained.items():
        for leaps in sorted({*LEAPS} - {Trapezoidal.usual(len(size)).steps}):
            yield by_dsd(f"{name}, {leaps} leaps", model, dataset, size, n, ("--steps", str(leaps)))
    if planes:
        yield by_dsd(f"dsd, {planes.name} by plane sweeps", planes, dataset, size, n)
    if cfl:
        name = f"{reference.name if reference else 'dsd'}, CFL tau-leaping, {cfl} samples"
        yield by_dsd(name, reference or folder, dataset, size, cfl, ("--sampler", "cfl"))
    totals = counts_of(ours[0].stack, len(dataset.phases))
    yield by_gaussian(rival, totals, size)
    data = dataset.crops("train", FITTED, size, np.random.default_rng(0))
    yield by_annealing(totals, size, data, ours[0].seconds)
    for generator in generators.SCALES:
        yield by_porespy(generator, dataset, totals, size, data)


def compare(dataset: Dataset, found: Sequence[Method], work: Path) -> str:
    """The table of every method against held-out crops of the same voxel counts, and what dsd loses in."""
    names = [phase.name for phase in dataset.phases]
    scored = []
    for method in found:
        cache = Cache(work / "measured.jsonl", names)  # the real crops are the same for all: they are measured once
        result = evaluate(method.stack, dataset, metrics=table.METRICS, cache=cache)
        cache.write()
        if not scored:
            real = table.floor(result)
        scored.append((method, table.scores(result)))
    rows = [(f"real against real, {len(found[0].stack)} samples", *table.quality(real, "1 ± "), *["-"] * 5)]
    rows += [
        (method.name, *table.quality(score), *table.cost(method), table.equal(score, scored))
        for method, score in scored
    ]
    return "\n".join([markdown(("", *table.COLUMNS), rows), "", *table.losses(scored, real), ""])


def corruption_table(folder: Path, dataset: Dataset) -> str:
    """Forward corruption by the authors' code and by dsd; the images are those of the rarest phase."""
    authors = corruption.load_authors(folder)
    phase = int(dataset.fractions("train").argmin())
    head = ("walls, crop", "dose", "authors, ms", "dsd, ms", "authors' table, s", "p, authors", "p, dsd")
    rows = []
    for boundary, side in (("periodic", 64), ("noflux", 32)):
        images = dataset.crops("train", 32, (side, side), np.random.default_rng(0)) == phase
        for dose in corruption.DOSES:
            c = corruption.measure(authors, images, Lattice((side, side), boundary), dose)
            times = (f"{1000 * c.authors:.2f}", f"{1000 * c.dsd:.2f}", f"{c.table:.2g}")
            rows.append((f"{boundary}, {side}x{side}", f"{dose:g}", *times, f"{c.p_authors:.2f}", f"{c.p_dsd:.2f}"))
    return markdown(head, rows) + "\n"


def sheet(path: Path, dataset: Dataset, found: Sequence[Method]) -> None:
    """Real crops, then a row for each method; of volumes their middle planes across z."""
    size = found[0].stack.shape[1:]
    blocks = [("real, held out", dataset.crops("heldout", SHOWN, size, np.random.default_rng(0)))]
    blocks += [(method.name, method.stack) for method in found]
    if len(size) == 3:
        blocks = [(name, stack[:, size[0] // 2]) for name, stack in blocks]
    columns = min(SHOWN, *(len(stack) for _, stack in blocks))
    titles = [title for name, _ in blocks for title in (name, *[""] * (columns - 1))]
    write_sheet(path, np.concatenate([stack[:columns] for _, stack in blocks]), dataset.phases, columns, titles)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("dataset", type=Path, help="made by dsd ingest, of any number of phases")
    parser.add_argument("--device", default="cpu", help="where both networks are trained (default cpu)")
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of each network (default 20)")
    parser.add_argument("-n", type=int, default=128, help="samples of each method, 2 or more (default 128)")
    parser.add_argument(
        "--cfl", type=int, default=8, metavar="N", help="samples by CFL tau-leaping (default 8, slow; 0: none)"
    )
    parser.add_argument("--size", type=parse_size, default=(64, 64), help="sides of crops and samples (default 64x64)")
    parser.add_argument("--dsd-reference", metavar="MODEL", help="a dsd model trained for longer, name or path")
    parser.add_argument("--planes", metavar="MODEL", help="of volumes: a 2D model, which makes them plane by plane")
    parser.add_argument("--authors", type=Path, metavar="DIR", help="checkout of lanl/DiscreteSpatialDiffusion")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where to keep the trained weights")
    parser.add_argument("-o", "--out", type=Path, default=Path("rivals.png"), help="the sheet of samples")
    chosen = parser.parse_args()
    if chosen.n < 2:
        parser.error("-n: an ensemble has 2 samples or more")
    dataset = Dataset.open(chosen.dataset)
    reference, planes = (find_model(m) if m else None for m in (chosen.dsd_reference, chosen.planes))
    if chosen.work:
        chosen.work.mkdir(exist_ok=True)
    with nullcontext(chosen.work) if chosen.work else tempfile.TemporaryDirectory() as work:
        found = list(
            methods(
                dataset, chosen.size, chosen.minutes, chosen.n, chosen.cfl, Path(work), reference, planes, chosen.device
            )
        )
        with tempfile.TemporaryDirectory() as scratch:
            text = compare(dataset, found, Path(scratch))
    sheet(chosen.out, dataset, found)
    phases = " / ".join(phase.name for phase in dataset.phases)
    print(f"{dataset.path.name}, phases {phases}; seconds for {chosen.n} samples; torch {torch.__version__}\n")
    print(text)
    if chosen.authors:
        print(corruption_table(chosen.authors, dataset))
    else:
        print("The authors' corruption is left out; name their checkout by --authors.")
    print(chosen.out)


if __name__ == "__main__":
    try:
        main()
    except DsdError as error:
        sys.exit(f"error: {error}")
