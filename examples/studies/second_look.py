"""Give the weights of an older model the second look beside known voxels that a training ends with.

    python examples/studies/second_look.py berea-2d rock.dsd.h5 -o berea-2d-again

All other weights stay as they are, and so do samples without known voxels and holes. `dsd train` does this by itself
when it ends (`dsdcli.training.near`).
"""

import shutil
import time
from pathlib import Path

from shared import options, training_data

from dsdcli.device import pick_device
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model, locate, save_tensors
from dsdcli.training.near import FEWER, STEPS, second_look


def main() -> None:
    parser = options(__doc__, "seed", "device")
    parser.add_argument("model", help="shipped model, run or folder")
    parser.add_argument("dataset", type=Path, help="the dataset it was trained on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the training (default {STEPS})")
    chosen = parser.parse_args()
    path = find_model(chosen.model)
    model = load_model(path, pick_device(chosen.device))
    model.near = None
    dataset = training_data(parser, chosen.dataset, model.config)
    began = time.monotonic()
    second_look(model, dataset, chosen.seed, FEWER * chosen.steps)
    chosen.output.mkdir()
    shutil.copy(locate(path)[0], chosen.output / "config.json")
    save_tensors(chosen.output / "model.safetensors", {n: t.cpu() for n, t in model.state_dict().items()})
    print(f"{chosen.output}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
