"""How much memory does `dsd generate` hold while it makes many samples, and while it makes a large volume?

    python examples/studies/memory.py -o memory.png          # 1,000 and 10,000 samples; volumes of three sizes

Samples are of 32x32, by an untrained network of two levels, in two leaps. Volumes are made in slabs by berea-3d, in one
leap. Both go to OME-Zarr. The figure shows resident memory over time.
"""

import math
import tempfile
from pathlib import Path

from killed_jobs import untrained
from shared import options
from watch import Watched, run

from dsdcli.cli.parse import parse_size

NUMBERS = (1000, 10_000)
SIZES = ("128x128x64", "256x256x64", "512x512x64")


def draw(panels: dict[str, dict[str, Watched]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, seen in lines.items():
            axes.plot(seen.seconds, seen.resident, label=name)
        axes.set(title=title, xlabel="seconds", ylabel="memory (MiB)", ylim=(0, None))
        axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--numbers", type=int, nargs="+", default=NUMBERS, help="samples of 32x32")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="of volumes")
    parser.add_argument("--model", default="berea-3d", help="of the volumes")
    parser.add_argument("-o", "--out", type=Path, default=Path("memory.png"))
    args = parser.parse_args()
    samples: dict[str, Watched] = {}
    volumes: dict[str, Watched] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = str(untrained(Path(folder) / "model"))
        for number in args.numbers:
            out = Path(folder, f"{number}.zarr")
            words = ["--model", plain, "--size", "32x32", "--steps", "2", "-n", str(number)]
            samples[f"{number:,}"] = seen = run(["generate", "-q", "--device", "cpu", *words, "-o", str(out)], out)
            print(f"{number} samples: peak {seen.peak:.0f} MiB, {seen.seconds[-1]:.0f} s", flush=True)
        for size in args.sizes:
            out = Path(folder, f"{size}.zarr")
            words = ["--model", args.model, "--size", size, "--steps", "1", "-n", "1", "--slabs"]
            volumes[size] = seen = run(["generate", "-q", "--device", "cpu", *words, "-o", str(out)], out)
            each = seen.peak * 2**20 / math.prod(parse_size(size))
            print(f"{size}: peak {seen.peak:.0f} MiB, {each:.0f} bytes a voxel, {seen.seconds[-1]:.0f} s", flush=True)
    draw({"samples of 32x32": samples, "one volume": volumes}, args.out)
    print(f"{args.out}: the figure")


if __name__ == "__main__":
    main()
