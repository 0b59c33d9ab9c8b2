"""`dsd evaluate`: how close samples are to real images."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsdcli.cli.console import AsJson, Quiet, emit, emit_json, progress, say, set_quiet
from dsdcli.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from dsdcli.data.dataset import Dataset
    from dsdcli.data.samples import Samples
    from dsdcli.evaluation.cache import Cache
    from dsdcli.evaluation.evaluate import Evaluation
    from dsdcli.evaluation.workers import Workers


def evaluate(
    samples: Annotated[Path | None, typer.Argument(metavar="SAMPLES", help="Samples: .tif, .h5, .npy or a folder of images, from dsd generate or any other source. Default: the newest that dsd generate wrote here.", show_default=False)] = None,
    real: Annotated[Path | None, typer.Option(metavar="FILE", help="Real images: a dataset, or a segmented image. Default: the dataset that the model was trained on, else the newest here.", show_default=False)] = None,
    metrics: Annotated[str, typer.Option(metavar="NAMES", help="fast, all, or names of metrics separated by commas.")] = "all",
    no_match: Annotated[bool, typer.Option("--no-match", help="Compare with crops anywhere, not with those of like volume fractions.")] = False,
    crops: Annotated[int | None, typer.Option(metavar="N", min=1, help="Real crops from each of the two parts. Default: at least 256 and twice the samples, fewer for volumes.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the choice of crops and of the bootstrap.")] = 0,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a report: one page with sheets, curves and the table.", show_default=False)] = None,
    gate: Annotated[list[str] | None, typer.Option(metavar="METRIC=RATIO", help="Exit with code 3 if a ratio is larger, by more than chance; repeatable; all=RATIO for every metric.", show_default=False)] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out images of a folder that cannot be read, and name them.")] = False,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. Default: as many as cores, where the work is worth it.", show_default=False)] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Measure on this dask cluster.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to solve for diffusion: cpu, or cuda or auto for large volumes on a GPU.")] = "cpu",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Compare samples with real images that the model never saw.

    Every distance to the held-out slab stands beside the noise floor: the same distance for as many real crops from the
    training slab. The ratio of the two says whether the samples can be told from the real thing.
    """
    set_quiet(quiet)
    chosen = _metrics(metrics)
    gates = _gates(gate or [], chosen)
    if report is not None:
        from dsdcli.files import require_folder

        require_folder(report)

    from dsdcli.evaluation.cache import Cache
    from dsdcli.evaluation.workers import Workers
    from dsdcli.pipeline.inputs import read_stack

    samples = samples or _newest_samples()
    if not samples.exists():
        raise UsageError(f"there is no samples file {samples}; make one with: dsd generate -o {samples}")
    dataset = _open_real(real, samples)
    stack, bad = read_stack(samples, dataset.phases, skip_bad)
    for line in bad:
        say(f"WARNING: left out: {line}")
    workers = Workers(jobs, scheduler, _device(device))
    partial = Path(f"{samples.resolve().stem}.evaluate-partial.jsonl")
    cache = Cache(partial, [phase.name for phase in dataset.phases])
    if cache.found:
        say(f"going on with what an earlier run left in {partial}: {cache.found} measured images")
    try:
        found = _run(stack, dataset, chosen, cache, not no_match, crops, seed, workers)
    except KeyboardInterrupt:
        if partial.exists():
            say(f"what was measured is kept in {partial}; the same command goes on from there")
        raise
    for remark in _differences(stack, dataset) + found.remarks:
        say(f"note: {remark}")
    context = _context(samples, stack, dataset, seed)
    if report is not None:
        from dsdcli.view.report import write_report

        write_report(report, found, stack, dataset, context)
        say(f"report: {report}")
    cache.discard()
    if as_json:
        from dsdcli.view.table import as_json as to_json

        emit_json(to_json(found, context))
    else:
        _show(found, dataset)
    _check(gates, found)


def _metrics(text: str) -> tuple[str, ...]:
    from dsdcli.evaluation.metrics import ALL, FAST, METRICS

    if text in ("all", "fast"):
        return ALL if text == "all" else FAST
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    strange = [name for name in names if name not in METRICS]
    if strange or not names:
        raise UsageError(f"there is no metric '{', '.join(strange)}'; there are fast, all, {', '.join(METRICS)}")
    return names


def _gates(texts: list[str], chosen: tuple[str, ...]) -> dict[str, float]:
    from dsdcli.cli.parse import parse_pairs

    gates = parse_pairs("--gate", texts, float)
    for name, limit in gates.items():
        if name != "all" and name not in chosen:
            raise UsageError(f"--gate {name}: this metric is not computed; there are all, {', '.join(chosen)}")
        if not limit > 0:
            raise UsageError(f"--gate {name}={limit:g}: a ratio is larger than 0")
    return gates


def _device(name: str) -> str:
    if name == "cpu":
        return name
    from dsdcli.device import pick_device

    return str(pick_device(name))


def _check(gates: dict[str, float], found: "Evaluation") -> None:
    failed = []
    for row in found.rows:
        limit = gates.get(row.metric, gates.get("all", math.inf))
        passed = row.verdict in ("indistinguishable", "novel", "diverse")  # more than the limit, but only by chance
        if row.ratio > limit and not passed:
            failed.append(f"{row.metric} {row.subject} {row.ratio:.2f} > {limit:g}")
    if failed:
        raise GateFailed(f"gate failed: {', '.join(failed)}")


def _newest_samples() -> Path:
    from dsdcli.pipeline.defaults import newest_samples

    path = newest_samples()
    if path is None:
        raise UsageError("no samples in this folder; make some with dsd generate, or name a file: dsd evaluate SAMPLES")
    say(f"samples: {path} (the newest here)")
    return path


def _open_real(real: Path | None, samples: Path) -> "Dataset":
    from dsdcli.pipeline.inputs import named_phases, open_real

    dataset, remarks = open_real(real or _default_real(samples), named_phases(samples) if real else None)
    for remark in remarks:
        say(f"note: {remark}")
    return dataset


def _default_real(samples: Path) -> Path:
    import json

    from dsdcli.pipeline.defaults import newest_dataset

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
            "make one with dsd ingest IMAGE, or name it (or a segmented image) with --real"
        )
    say(f"real: {path} (the newest dataset here)")
    return path


def _run(
    stack: "Samples",
    dataset: "Dataset",
    metrics: tuple[str, ...],
    cache: "Cache",
    match: bool,
    crops: int | None,
    seed: int,
    workers: "Workers",
) -> "Evaluation":
    from dsdcli.evaluation.evaluate import evaluate as run

    with progress("evaluating %", 100) as update:
        return run(
            stack.stack,
            dataset,
            metrics=metrics,
            match=match,
            crops=crops,
            seed=seed,
            workers=workers,
            cache=cache,
            progress=lambda share, note: update(100 * share, f"({note})"),
        )


def _differences(stack: "Samples", dataset: "Dataset") -> list[str]:
    """What makes the comparison less than fair."""
    remarks = []
    trained_on = (stack.audit or {}).get("dataset_digest")
    if trained_on and trained_on != dataset.digest:
        remarks.append(
            f"{dataset.path} is not the dataset that the model was trained on: its training part may hold what "
            "the model has not seen, and its held-out part what it has"
        )
    sizes = stack.voxel_size, dataset.voxel_size
    if all(sizes) and stack.voxel_unit == dataset.voxel_unit and abs(sizes[0] / sizes[1] - 1) > 0.01:
        remarks.append(
            f"the voxels of the samples are {sizes[0]:g} {stack.voxel_unit}, those of {dataset.path} {sizes[1]:g}: "
            "crops of as many voxels are compared, in the units of the latter"
        )
    return remarks


def _context(samples: Path, stack: "Samples", dataset: "Dataset", seed: int) -> dict[str, object]:
    return {
        "samples_file": str(samples),
        "real": str(dataset.path),
        "real_digest": dataset.digest,
        "phases": [phase.name for phase in dataset.phases],
        "voxel_size": dataset.voxel_size,
        "voxel_unit": dataset.voxel_unit,
        "seed": seed,
        "command": sys.argv,
    }


def _show(found: "Evaluation", dataset: "Dataset") -> None:
    from dsdcli.view import table

    say(table.summary(found))
    rows = [table.cells(row, len(found.size), dataset.voxel_size, dataset.voxel_unit) for row in found.rows]
    if sys.stdout.isatty():
        table.print_rich(rows)
    else:
        for line in table.plain(rows):
            emit(line)
    for line in table.novelty_lines(found):
        say(line)
