"""The report: one self-contained HTML page."""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.phases import Phase
from dsdcli.data.samples import Samples
from dsdcli.evaluation.crops import fractions
from dsdcli.evaluation.evaluate import Evaluation
from dsdcli.evaluation.metrics import METRICS
from dsdcli.evaluation.novelty import Novelty
from dsdcli.files import atomic
from dsdcli.view import plots, table
from dsdcli.view.page import viewer
from dsdcli.view.sheet import colours, intensity_image, sheet_image

_SHOWN = {2: 16, 3: 4}  # images on a sheet, by their dimension
_TITLE = "<title>dsd evaluate:"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1120px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: .18rem .6rem; white-space: nowrap; }
th { text-align: left; border-bottom: 1px solid #888; } td.right, th.right { text-align: right; }
tr.first td { border-top: 1px solid #ddd; }
i.box { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; }
.green { color: #1a7f37; } .yellow { color: #9a6700; } .red { color: #c0282d; font-weight: 600; }
.sheets { display: flex; gap: 1.5rem; flex-wrap: wrap; } figure { margin: 0; } figure img { width: 520px; }
figcaption { color: #555; font-size: 13px; } svg { max-width: 100%; height: auto; } .scroll { overflow-x: auto; }
pre { font-size: 12px; background: #f6f6f6; padding: .8rem; overflow-x: auto; }
"""


def write_report(path: Path, found: Evaluation, samples: Samples, dataset: Dataset, context: Mapping[str, Any]) -> None:
    """Write the page, all or nothing.

    Args:
        path: the file.
        found: the comparison.
        samples: what was compared, with its audit record.
        dataset: the real images.
        context: what else belongs into the record: files, seed, provenance.

    Raises:
        UsageError: the folder does not exist.
        DsdError: the system could not write.
    """
    unit = (dataset.voxel_unit if dataset.voxel_size else None) or "voxel"
    parts = [
        _head(found, context),
        _sheets(found, dataset),
        _volumes(found, dataset),
        f"<h2>The comparison</h2>{comparison_table(found, dataset)}",
        _novelty(found, dataset),
        _curves(found, dataset, unit),
        _record(found, samples, context),
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{_TITLE} '
        f"{html.escape(str(context['samples_file']))}</title><style>{_STYLE}</style></head><body>"
        + "".join(parts)
        + "</body></html>\n"
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def is_report(path: Path) -> bool:
    """Whether `write_report` made the file at ``path``."""
    try:
        with path.open("rb") as file:
            return _TITLE.encode() in file.read(200)
    except OSError:
        return False


def _head(found: Evaluation, context: Mapping[str, Any]) -> str:
    verdicts = [row.verdict for row in found.rows]
    counts = ", ".join(f"{verdicts.count(v)} {_verdict(v)}" for v in dict.fromkeys(verdicts))
    lines = [*found.warnings, *table.novelty_lines(found), *found.remarks]
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return (
        f"<h1>Samples against the real material</h1><p><b>{html.escape(str(context['samples_file']))}</b> against "
        f"<b>{html.escape(str(context['real']))}</b></p><p>{html.escape(table.summary(found))}.</p>"
        f"<p>Verdicts: {counts}.</p><ul>{notes}</ul>"
    )


def _sheets(found: Evaluation, dataset: Dataset) -> str:
    samples, heldout, _ = found.stacks
    repeats = len(heldout) // len(samples)
    matched = "" if found.residual_heldout is None else f", each of like {found.alike} as the sample at its place"
    shown = _SHOWN[len(found.size)]
    return (
        f'<h2>What they look like</h2><p>{_legend(dataset.phases) if dataset.phases else ""}</p><div class="sheets">'
        + _figure(_picture(samples[:shown], dataset), "Samples")
        + _figure(_picture(heldout[::repeats][:shown], dataset), f"Held-out real crops{matched}")
        + "</div>"
    )


def _picture(stack: np.ndarray, dataset: Dataset, columns: int | None = None) -> Any:
    """A sheet of images of the kind of the dataset."""
    if dataset.species:
        return intensity_image(stack, dataset.species, columns)
    return sheet_image(stack, dataset.phases, columns)


def _volumes(found: Evaluation, dataset: Dataset) -> str:
    """Samples and real crops beside each other, turned and cut together; nothing in 2D, or of
    intensities."""
    if len(found.size) != 3 or dataset.species:
        return ""
    samples, heldout, _ = found.stacks
    real = heldout[:: len(heldout) // len(samples)]
    panes = {
        title: [(f"{title} {number}", image) for number, image in enumerate(stack[: _SHOWN[3]])]
        for title, stack in (("sample", samples), ("real crop", real))
    }
    return f"<h2>Look inside</h2>{viewer(panes, dataset.phases, dataset.voxel_size, dataset.voxel_unit)}"


def comparison_table(found: Evaluation, dataset: Dataset) -> str:
    """The comparison as an HTML table with a line on how to read it."""
    align = {name: ' class="right"' if name in table.RIGHT else "" for name in table.COLUMNS}
    head = "".join(f"<th{align[name]}>{name}</th>" for name in table.COLUMNS)
    body, before = "", ""
    for row in found.rows:
        texts = table.cells(row, len(found.size), dataset.voxel_size, dataset.voxel_unit)
        line = "".join(
            f"<td{align[name]}>{html.escape(text)}</td>"
            for name, text in zip(table.COLUMNS[:-1], texts[:-1], strict=True)
        )
        first = ' class="first"' if row.metric != before else ""
        body += f"<tr{first}>{line}<td>{_verdict(row.verdict)}</td></tr>"
        before = row.metric
    return (
        f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
        "<p>Distance: samples to held-out crops. Floor: the same distance for as many crops of the training part, on "
        "average. Ratio: distance over floor, with its 95 % bootstrap interval. <i>Indistinguishable</i>: no "
        "difference from real training crops shows with this many samples; <i>close</i>: at most twice the floor; "
        "<i>off</i>: more; <i>unmatched</i>: no real crops have as much of the "
        "phase. For memorisation and diversity the ratio is real over generated distance.</p>"
    )


def _novelty(found: Evaluation, dataset: Dataset) -> str:
    text, share = "", "rms difference" if dataset.species else "share that differs"
    if found.memorisation:
        what = f"{share} from the nearest training crop"
        text += _pair(found, found.memorisation, dataset, "Memorisation", what, "training crop")
    if found.diversity:
        what = f"{share} between two images"
        text += _pair(found, found.diversity, dataset, "Diversity", what, "another sample")
    return text


def _pair(found: Evaluation, novelty: Novelty, dataset: Dataset, title: str, what: str, partner: str) -> str:
    number, other = novelty.pair
    sample = found.stacks[0][number]
    if dataset.species:
        pair = _picture(np.stack([sample, other, np.abs(sample - other)]), dataset, columns=3)
        caption = f"The closest pair: sample {number}, {partner}, and the size of their difference"
    else:
        phases = dataset.phases
        differs = np.where(sample != other, len(phases), sample).astype(np.uint8)
        pair = sheet_image(np.stack([sample, other, differs]), [*phases, Phase("differs", -1)], columns=3)
        share = 100 * (sample != other).mean()
        caption = f"The closest pair: sample {number}, {partner}, where they differ ({share:.1f} %)"
    return (
        f"<h2>{title}: {_verdict(novelty.row.verdict)}</h2>"
        f'<div class="sheets">{_figure(pair, caption)}<figure>{plots.novelty_figure(novelty, what)}</figure></div>'
    )


def _curves(found: Evaluation, dataset: Dataset, unit: str) -> str:
    names = [phase.name for phase in dataset.phases]
    text = ""
    for metric, about in METRICS.items():
        figure: str | None
        if metric == "volume-fraction" and names and (metric, names[0]) in found.ensembles[0]:
            crops = dataset.crops("heldout", found.real_crops, found.size, np.random.default_rng(0))
            figure = plots.fraction_figure(found, fractions(crops, len(names)), names)
        else:
            figure = plots.metric_figure(found, metric, dataset.voxel_size, unit)
        if figure:
            text += f"<section><h3>{about.title}</h3>{figure}</section>"
    return f'<h2>Metric by metric</h2><div class="sheets">{text}</div>' if text else ""


def _record(found: Evaluation, samples: Samples, context: Mapping[str, Any]) -> str:
    audit = json.dumps(_shortened(samples.audit), indent=2) if samples.audit else "none found beside the samples"
    numbers = json.dumps(table.as_json(found, context), indent=2)
    folded = "".join(
        f"<details><summary>{title}</summary><pre>{html.escape(text)}</pre></details>"
        for title, text in (("Audit record of the samples", audit), ("All numbers", numbers))
    )
    return f"<h2>Record</h2>{folded}"


def _legend(phases: Sequence[Phase]) -> str:
    return "".join(
        f'<i class="box" style="background: rgb{tuple(colour)}"></i>{html.escape(phase.name)}'
        for phase, colour in zip(phases, colours(phases).tolist(), strict=True)
    )


def _verdict(verdict: str) -> str:
    return f'<span class="{table.COLOURS.get(verdict, "")}">{verdict}</span>'


def _shortened(audit: dict[str, Any]) -> dict[str, Any]:
    """The audit record with the first of its samples only: it lists every one."""
    listed = audit.get("samples")
    if not isinstance(listed, list) or len(listed) <= 3:
        return audit
    return {**audit, "samples": [*listed[:3], f"... {len(listed) - 3} more in the audit record"]}


def _figure(picture: Any, caption: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
