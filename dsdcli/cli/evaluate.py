"""`dsd evaluate`: how close samples are to real images."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsdcli.cli.console import AsJson, Quiet, emit, emit_json, progress, say, set_quiet
from dsdcli.errors import DataError, UsageError

if TYPE_CHECKING:
    from dsdcli.data.dataset import Dataset
    from dsdcli.data.samples import Samples
    from dsdcli.evaluation.evaluate import Evaluation


def evaluate(
    samples: Annotated[Path | None, typer.Argument(metavar="[SAMPLES]", help="Samples: .tif, .h5, .npy or a folder of images, from dsd generate or any other source. Default: the newest that dsd generate wrote here.", show_default=False)] = None,
    real: Annotated[Path | None, typer.Option(metavar="DATASET", help="Real images to compare with. Default: the dataset that the model was trained on, else the newest here.", show_default=False)] = None,
    no_match: Annotated[bool, typer.Option("--no-match", help="Compare with crops anywhere, not with those of like volume fractions.")] = False,
    metrics: Annotated[str, typer.Option(metavar="NAMES", help="Which metrics, separated by commas, or all.")] = "all",
    crops: Annotated[int | None, typer.Option(metavar="N", min=1, help="Real crops from each slab. Default: at least 256 and twice the samples.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the choice of crops and of the bootstrap.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Compare samples with real images that the model never saw.

    Every distance to the held-out slab stands beside the noise floor: the same distance for as many real crops from the
    training slab. The ratio of the two says whether the samples can be told from the real thing.
    """
    set_quiet(quiet)
    from dsdcli.data.dataset import Dataset
    from dsdcli.data.samples import read_samples
    from dsdcli.evaluation.evaluate import evaluate as run

    chosen = _metrics(metrics)
    samples = samples or _newest_samples()
    if not samples.exists():
        raise DataError(f"there is no samples file {samples}; make one with: dsd generate -o {samples}")
    dataset = Dataset.open(real or _default_real(samples))
    stack = read_samples(samples, dataset.phases)
    with progress("measuring %", 100) as update:
        found = run(
            stack.stack,
            dataset,
            metrics=chosen,
            match=not no_match,
            crops=crops,
            seed=seed,
            progress=lambda done, total: update(100 * done / total, f"({done} of {total} images)"),
        )
    for remark in found.remarks:
        say(f"note: {remark}")
    if as_json:
        emit_json(_as_json(found, samples, dataset, seed))
    else:
        _show(found, stack, dataset)


def _metrics(text: str) -> tuple[str, ...]:
    from dsdcli.evaluation.metrics import METRICS

    if text == "all":
        return tuple(METRICS)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    strange = [name for name in names if name not in METRICS]
    if strange or not names:
        raise UsageError(f"there is no metric '{', '.join(strange)}'; there are {', '.join(METRICS)}, or say all")
    return names


def _newest_samples() -> Path:
    from dsdcli.discover import newest_samples

    path = newest_samples()
    if path is None:
        raise UsageError("no samples in this folder; make some with dsd generate, or name a file: dsd evaluate SAMPLES")
    say(f"samples: {path} (the newest here)")
    return path


def _default_real(samples: Path) -> Path:
    import json

    from dsdcli.discover import newest_dataset

    record = samples.with_suffix(".json")
    trained_on = None
    if record.is_file():
        try:
            trained_on = json.loads(record.read_text(encoding="utf-8")).get("dataset")
        except (OSError, ValueError, AttributeError):
            say(f"note: cannot read the audit record {record}")
    if trained_on and Path(trained_on).is_file():
        say(f"real: {trained_on} (the dataset that the model was trained on)")
        return Path(trained_on)
    path = newest_dataset()
    if path is None:
        missing = f"the dataset {trained_on} that the model was trained on is not at hand, and " if trained_on else ""
        raise UsageError(
            f"nothing real to compare with: {missing}there is no dataset here; "
            "make one with dsd ingest IMAGE, or name it with --real"
        )
    say(f"real: {path} (the newest dataset here)")
    return path


def _as_json(found: "Evaluation", samples: Path, dataset: "Dataset", seed: int) -> dict[str, Any]:
    from dsdcli.evaluation.table import as_json

    axes = len(found.size)
    summary = asdict(found)
    del summary["rows"]
    return {
        "samples_file": str(samples),
        "real": str(dataset.path),
        "real_digest": dataset.digest,
        "voxel_size": dataset.voxel_size,
        "voxel_unit": dataset.voxel_unit,
        "seed": seed,
        "largest_lag": min(found.size) // 2,
        **summary,
        "axes": axes,
        "metrics": [as_json(row) for row in found.rows],
    }


def _show(found: "Evaluation", stack: "Samples", dataset: "Dataset") -> None:
    from dsdcli.evaluation import table

    matched = "anywhere in it" if found.residual_heldout is None else "of like volume fractions"
    say(
        f"{found.samples} samples of {'x'.join(map(str, found.size))} against {found.real_crops} crops of the held-out "
        f"part {matched}; floor: as many training crops as samples"
    )
    if found.residual_heldout is not None:
        say(f"matching: volume fractions differ by {found.residual_heldout:.4f} on average")
    unit = (dataset.voxel_size, dataset.voxel_unit)
    emit_table(table.COLUMNS, [table.cells(row, len(found.size), *unit) for row in found.rows])


def emit_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Coloured on a terminal that is wide enough, plain aligned text elsewhere."""
    from dsdcli.evaluation import table

    for line in table.plain(rows):
        emit(line)
