"""How long `dsd evaluate` takes with all metrics: 64 images of 128x128, and 8 volumes of 64^3 (or what fits).

The images are crops of the training part of DATASET (made by `dsd ingest`), so every verdict but that on memorisation
should be "indistinguishable".

    python examples/studies/benchmark_evaluate.py berea.dsd.h5
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.samples import write_samples

CASES = ((64, (128, 128)), (8, (64, 64, 64)))


def main() -> None:
    dataset = Dataset.open(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        for number, wanted in CASES:
            room = [min(image.array.shape[-len(wanted) :]) for image in dataset.heldout]
            size = tuple(min(side, *room) for side in wanted)
            path = Path(folder) / "samples.tif"
            crops = dataset.crops("train", number, size, np.random.default_rng(0))
            write_samples(path, crops, dataset.phases, dataset.voxel_size, dataset.voxel_unit)
            command = [sys.executable, "-m", "dsdcli", "evaluate", str(path), "--real", sys.argv[1], "-q"]
            start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            verdicts = [line.split()[-1] for line in done.stdout.splitlines()[1:]]
            said = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
            print(
                f"{number} samples of {'x'.join(map(str, size))}: {wall:.0f} s, {cpu:.0f} CPU seconds; {said}",
                flush=True,
            )


if __name__ == "__main__":
    main()
