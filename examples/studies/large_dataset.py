"""How much memory and time do `dsd ingest` and training take of an image that is large?

Makes a synthetic rock of N^3 voxels, slab by slab, as a raw file; ingests it, and trains on crops of it, each in a
process of its own: with the images left in their file, as `dsd` does with what is large, and with --whole also all in
memory, as it does with what is not. Linux: memory is read from /proc.

    python examples/studies/large_dataset.py                         # 1024^3
    python examples/studies/large_dataset.py --side 512 --whole --steps 100 --crop 32x32x32 --batch 4
"""

import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shared import options

from dsdcli.cli.parse import parse_size

WHOLE = 2**62  # bytes; what is smaller than that is read as a whole


def make_rock(path: Path, side: int, seed: int) -> None:
    """Thresholded smooth noise that repeats along z, so that it is made at once: a slab 64 voxels thick."""
    from scipy.ndimage import gaussian_filter

    slab = gaussian_filter(np.random.default_rng(seed).standard_normal((64, side, side), np.float32), 4, mode="wrap")
    labels = np.where(slab < np.quantile(slab[:, ::8, ::8], 0.2), np.uint8(0), np.uint8(255))
    with path.open("wb") as file:
        for start in range(0, side, len(labels)):
            file.write(labels[: side - start].tobytes())


def memory() -> str:
    """Most memory that this process has had, and what of it now is its own rather than pages of files."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    own = int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at the most, {own:.0f} MiB its own"


def one(what: str, words: list[str]) -> None:
    """Do one of the things that are measured, in this process."""
    from dsdcli.data import large

    where, source, dataset, crop, batch, steps = words
    large.LARGE = WHOLE if where == "whole" else 0
    began, spent = time.monotonic(), time.process_time()
    if what == "ingest":
        from dsdcli.pipeline.ingest import ingest

        ingest(source, dataset, voxel_size="2um", axes="zyx")
        done = ""
    else:
        import torch

        from dsdcli.data.dataset import Dataset
        from dsdcli.training.recipes import TrainSettings
        from dsdcli.training.run import make_config
        from dsdcli.training.trainer import Trainer

        opened = Dataset.open(dataset)
        ready = time.monotonic() - began
        settings = TrainSettings(
            "tiny", parse_size(crop), 10**6, None, int(batch), 1e-3, 0, "noflux", "float32", holes=0.0
        )
        trainer = Trainer(make_config(opened, settings), settings, opened, torch.device("cpu"))
        drawn, taken, losses = [], [], []
        for _ in range(int(steps)):
            now = time.process_time()
            opened.crops("train", settings.batch, settings.size, np.random.default_rng(len(drawn)), augment=True)
            drawn.append(time.process_time() - now)
            now = time.process_time()
            losses.append(trainer.train_step(1e-3))
            taken.append(time.process_time() - now)
        crops, step = (1000 * statistics.median(some) for some in (drawn, taken))
        done = f"opened in {ready:.1f} s; {step:.0f} ms of processor a step, {crops:.2f} ms to draw its crops; "
        done += f"loss {losses[-1]:.9f}; "
    seconds = f"{time.monotonic() - began:.0f} s ({time.process_time() - spent:.0f} s of processor)"
    print(f"{what}, {where}: {done}{memory()}, {seconds}")


def main() -> None:
    if sys.argv[1:2] in (["ingest"], ["train"]):
        one(sys.argv[1], sys.argv[2:])
        return
    parser = options(__doc__, "seed")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--whole", action="store_true", help="also with all of it in memory")
    parser.add_argument("--crop", default="64x64", help="size of the training crops")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--folder", help="where the files are made, for as long as it takes; default: TMPDIR")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source = Path(folder) / f"rock_{args.side}x{args.side}x{args.side}.raw"
        make_rock(source, args.side, args.seed)
        print(f"{args.side}^3 voxels, {source.stat().st_size / 2**20:.0f} MiB", flush=True)
        for where in ("in its file", "whole")[: 1 + args.whole]:
            dataset = Path(folder) / f"{where[:2]}.dsd.h5"
            for what in ("ingest", "train"):
                words = [where, str(source), str(dataset), args.crop, str(args.batch), str(args.steps)]
                subprocess.run([sys.executable, __file__, what, *words], check=True)
            print(f"dataset on disk: {dataset.stat().st_size / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
