"""Kill a long `dsd generate` again and again at random moments, and see that what is resumed equals what is not.

The work is done in processes of its own, ended by SIGKILL when their file has reached a random size. Without --model an
untrained network of two levels makes the samples, as what is tested depends on none.

    python examples/studies/killed_jobs.py                       # 10,000 samples of 32x32, ten kills
    python examples/studies/killed_jobs.py --number 2000 --size 64x64 --model berea-2d --out s.zarr
"""

import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from shared import options
from watch import Watched, run

from dsdcli.data.phases import Phase
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.pipeline.output import read_samples


def untrained(folder: Path) -> Path:
    """A model of two phases with random weights."""
    torch.manual_seed(0)
    config = ModelConfig(
        phases=(Phase("pore", 0), Phase("grain", 1)),
        fractions=(0.3, 0.7),
        boundary="noflux",
        size=(32, 32),
        dose_min=0.05,
        dose_max=10.0,
        integral_range=((4.0, 0.0), (0.0, 4.0)),
        architecture=Architecture((8, 16)),
    )
    folder.mkdir()
    save_config(folder, config)
    save_tensors(folder / "model.safetensors", UndoNet(config).state_dict())
    return folder


def told(seen: list[Watched]) -> str:
    """Memory and time of a job that took several processes."""
    return f"peak {max(each.peak for each in seen):.0f} MiB, {sum(each.seconds[-1] for each in seen):.0f} s"


def main() -> None:
    parser = options(__doc__, "seed")
    parser.add_argument("--number", type=int, default=10_000, help="samples")
    parser.add_argument("--size", default="32x32")
    parser.add_argument("--steps", type=int, default=2, help="leaps of the reverse walk")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--model", help="default: an untrained one")
    parser.add_argument("--out", default="samples.zarr", help="name of the file, which decides its format")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or str(untrained(Path(folder) / "model"))
        for name in ("tenth", "whole", "killed"):
            (Path(folder) / name).mkdir()
        tenth, whole, killed = (Path(folder) / name / args.out for name in ("tenth", "whole", "killed"))
        words = ["generate", "-q", "--model", model, "--size", args.size, "--steps", str(args.steps), "--seed", "1"]
        words += ["--device", "cpu"]
        seen = run([*words, "-n", str(args.number // 10), "-o", str(tenth)], tenth)
        print(f"{args.number // 10} samples, not killed: {told([seen])}", flush=True)
        words += ["-n", str(args.number)]
        seen = run([*words, "-o", str(whole)], whole)
        print(f"{args.number} samples, not killed: {told([seen])}", flush=True)
        words += ["--resume", "-o", str(killed)]
        ends = (*sorted(rng.uniform(0.02, 0.98) * seen.most for _ in range(args.kills)), float("inf"))
        all_seen = [run(words, killed, until) for until in ends]
        print(f"{args.number} samples, killed {args.kills} times: {told(all_seen)}", flush=True)
        made, plain = read_samples(killed), read_samples(whole)
        assert made.audit and plain.audit
        same = np.array_equal(made.stack, plain.stack) and made.audit["samples"] == plain.audit["samples"]
        seeds = {record["seed"] for record in made.audit["samples"]}
        left = [path.name for path in killed.parent.iterdir() if "unfinished" in path.name]
        print(f"{len(made)} samples, {len(seeds)} different seeds, left behind: {left or 'nothing'}")
        print("voxels and records equal those of the run that was not killed" if same else "THEY DIFFER")
        shutil.rmtree(killed.parent)
    raise SystemExit(0 if same and len(seeds) == args.number else 1)


if __name__ == "__main__":
    main()
