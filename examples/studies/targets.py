"""How far does a target move what samples have, of a model that was told such numbers in training?

    dsd train rock.dsd.h5 --condition interface --condition diffusivity.grain -o told
    python examples/studies/targets.py told rock.dsd.h5 --guidance 1 2 -o targets.png
    python examples/studies/targets.py told rock.dsd.h5 --max-time 515s --quantities diffusivity.grain --device cuda

A model that is not there yet is trained first (third command): it is told the quantities of nearly every crop, so that
none has holes, known voxels or another size, as half and more of those of `dsd train` do, and learns nothing else.

Samples at the volume fractions of the training images say what the model does where nothing is asked: mean and
deviation of each number. Then as many are asked for the mean less and plus one deviation, with the same seeds.
"Shift": what the mean moved, over what was asked for. Two-point errors and floors are those of `steering.py`: against
held-out crops of like volume fractions whose number is nearest to the request.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from shared import options, print_row, print_table, say
from steering import distance, draw, real_crops

from dsdcli.cli.parse import parse_duration
from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.pipeline.load import load
from dsdcli.pipeline.output import Samples
from dsdcli.pipeline.properties import measured_bank
from dsdcli.pipeline.steer import make_steer
from dsdcli.training.recipes import choose_settings
from dsdcli.training.run import Run, make_config
from dsdcli.training.trainer import Trainer

TOLD = {"holes": 0.0, "known": 0.0, "large": 0.0, "unconditional": 0.1}


def train_told(
    folder: Path, dataset: Dataset, quantities: Sequence[str], start: str, seconds: float, device: str, batch: int
) -> None:
    """A run of a model that begins with the weights of another one and is told quantities of nearly every crop."""
    target, begin = pick_device(device), load_model(find_model(start))
    asked = {
        "preset": "tiny",
        "size": begin.config.size,
        "batch": batch,
        "lr": 2e-3,
        "steps": 10**7,
        "precision": "float32",
        "max_seconds": seconds,
        "condition": tuple(quantities),
        "validate_every": 1500,
    }
    settings = replace(choose_settings(dataset, asked, target.type == "cuda")[0], **TOLD)
    bank = measured_bank(dataset, settings, say)
    config = replace(make_config(dataset, settings), properties=bank.properties if bank else ())
    trainer = Trainer(config, settings, dataset, target, bank=bank)
    trainer.start_from(begin)
    run = Run.create(folder, dataset, config, settings)
    for report in trainer.run():
        if report.validation is not None:
            say(f"step {report.step}: held-out loss {report.validation:.4f}")
            run.log(report)
            run.checkpoint(trainer, report.best)


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="run or folder of a model that is told numbers")
    parser.add_argument("--max-time", help="train the model first, for so long, if it is not there yet")
    parser.add_argument("--from", dest="start", default="berea-2d", help="begin with its weights (default berea-2d)")
    parser.add_argument("--batch", type=int, default=256, help="crops of a step of that training (default 256)")
    parser.add_argument("dataset", type=Path, help="of the same phases, in the same order")
    parser.add_argument("-n", type=int, default=64, help="samples of each request (default 64)")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--quantities", nargs="+", help="(default: all that the model is told)")
    parser.add_argument("-o", "--out", type=Path, default=Path("targets.png"))
    chosen = parser.parse_args()
    dataset, folder = Dataset.open(chosen.dataset), Path(chosen.model)
    if chosen.max_time and not folder.exists():
        if not chosen.quantities:
            parser.error("--max-time trains a model: name what it is told by --quantities")
        seconds = parse_duration(chosen.max_time)
        train_told(folder, dataset, chosen.quantities, chosen.start, seconds, chosen.device, chosen.batch)
    model = load(chosen.model, chosen.device)
    names, axes = [phase.name for phase in model.phases], model.config.ndim
    if names != [phase.name for phase in dataset.phases]:
        parser.error(f"{chosen.dataset} has other phases than {chosen.model}")

    def generate(**request: object) -> Samples:
        return model.generate(chosen.n, steps=chosen.steps, seed=chosen.seed, note=say, **request)

    plain = generate()
    shown: dict[str, dict[str, np.ndarray]] = {}
    pictures = {"not asked": plain.stack}
    print_table(["asked for", "W", "not asked", "request", "achieved", "shift", "two-point error", "floor"])
    for name in chosen.quantities or [each.name for each in model.config.properties]:
        plan = make_steer({name: (1.0, 1.0)}, None, model.config, axes, "cpu")
        measured = np.array([plan.targets[0].measure(image, "cpu") for image in plain.stack])
        mean, deviation = np.nanmean(measured), np.nanstd(measured, ddof=1)
        shown[name] = {"unsteered": measured}
        for sign in (-1, 1):
            wanted = float(mean + sign * deviation)
            target = make_steer({name: (wanted, 1.0)}, None, model.config, axes, "cpu").targets[0]
            rng = np.random.default_rng(chosen.seed)
            heldout, train = (real_crops(dataset, split, target, plain.stack, rng) for split in ("heldout", "train"))
            floor = 100 * distance(train, heldout, names)
            for guidance in chosen.guidance:
                asked = generate(target={name: wanted}, guidance=guidance)
                if not np.array_equal(asked.counts, plain.counts):
                    raise SystemExit("a count is not exact")
                found = np.array([sample["targeted"][name] for sample in asked.audit["samples"]], float)
                print_row(
                    [
                        f"{name} {target.unit}".rstrip(),
                        f"{guidance:g}",
                        f"{mean:.4g} ± {deviation:.2g}",
                        f"{wanted:.4g}",
                        f"{np.nanmean(found):.4g} ± {np.nanstd(found, ddof=1):.2g}",
                        f"{(np.nanmean(found) - mean) / (wanted - mean):.2f}",
                        f"{100 * distance(asked.stack, heldout, names):.1f} %",
                        f"{floor:.1f} %",
                    ]
                )
            shown[name][f"{wanted:.3g}"] = found  # of the last guidance
            pictures[f"{name} {wanted:.3g}"] = asked.stack
    draw(chosen.out, shown, pictures)
    print(f"\nCounts are exact in all samples. {chosen.out}")


if __name__ == "__main__":
    main()
