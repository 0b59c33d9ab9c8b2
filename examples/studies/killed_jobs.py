"""Kill a long `dsd generate` again and again at random moments, and see that what is resumed equals what is not.

The work is done in processes of its own, ended by SIGKILL when their file has reached a random size. Without --model an
untrained network of two levels makes the samples, as what is tested depends on none. Linux: memory is read from /proc.

    python examples/studies/killed_jobs.py                       # 10,000 samples of 32x32, ten kills
    python examples/studies/killed_jobs.py --number 2000 --size 64x64 --model berea-2d --out s.zarr
"""

import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from shared import options

from dsdcli.data.phases import Phase
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.pipeline.output import read_samples

POLL = 0.02  # seconds


def untrained(folder: Path) -> Path:
    """A model of two phases with random weights."""
    torch.manual_seed(0)
    config = ModelConfig(
        phases=(Phase("pore", 0), Phase("grain", 1)),
        carried=(0, 1),
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


def run(words: list[str], out: Path, until: float = float("inf")) -> tuple[float, float, int]:
    """Run `dsd` until it ends or its unfinished file has ``until`` bytes: peak MiB, seconds, most bytes of the file."""
    kept = out.with_name(f"{out.name}.unfinished")
    began, peak, most = time.monotonic(), 0.0, 0
    process = subprocess.Popen([sys.executable, "-m", "dsdcli", *words], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            peak = max(peak, int(found[1]) / 1024)
        if kept.exists():
            most = max(most, kept.stat().st_size)
        if most >= until:
            process.send_signal(signal.SIGKILL)
        time.sleep(POLL)
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"dsd ended with {process.returncode}")
    return peak, time.monotonic() - began, most


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
        peak, seconds, _ = run([*words, "-n", str(args.number // 10), "-o", str(tenth)], tenth)
        print(f"{args.number // 10} samples, not killed: peak {peak:.0f} MiB, {seconds:.0f} s", flush=True)
        words += ["-n", str(args.number)]
        peak, seconds, most = run([*words, "-o", str(whole)], whole)
        print(f"{args.number} samples, not killed: peak {peak:.0f} MiB, {seconds:.0f} s", flush=True)
        words += ["--resume", "-o", str(killed)]
        peaks, spent = [], 0.0
        for until in (*sorted(rng.uniform(0.02, 0.98) * most for _ in range(args.kills)), float("inf")):
            peak, seconds, _ = run(words, killed, until)
            peaks.append(peak)
            spent += seconds
        print(f"{args.number} samples, killed {args.kills} times: peak {max(peaks):.0f} MiB, {spent:.0f} s", flush=True)
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
