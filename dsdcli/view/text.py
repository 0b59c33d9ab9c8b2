"""Descriptions as text for people."""

from collections.abc import Iterable, Sequence
from typing import Any

from dsdcli.data.voxel import sides
from dsdcli.record import created

_MOST_ROWS = 20


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 0) -> list[str]:
    """Lines of an aligned table, indented; the first ``left`` columns flush left, the others flush right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def voxel(about: dict[str, Any]) -> str:
    """The voxel size of a description."""
    return f"{about['voxel_size']:g} {about['voxel_unit']}" if about["voxel_size"] else "unknown"


def slices(slice_axes: str) -> str:
    """What 2D crops of a dataset are."""
    if slice_axes == "t":
        return "independent 2D images"
    return f"slices across {', '.join(slice_axes)}"


def images(entries: Sequence[dict[str, Any]]) -> str:
    """The images of one split, equal ones counted."""
    words = {"ZYX": ("volume", "volumes"), "TYX": ("stack", "stacks"), "YX": ("image", "images")}
    kinds: dict[tuple[str, str], int] = {}
    for entry in entries:
        kind = (entry["axes"], sides(entry["shape"]))
        kinds[kind] = kinds.get(kind, 0) + 1
    shown = [
        f"{count} {words[axes][count > 1]} of {shape}" for (axes, shape), count in list(kinds.items())[:_MOST_ROWS]
    ]
    return ", ".join(shown) + (", ..." if len(kinds) > _MOST_ROWS else "") or "nothing"


def dataset_lines(about: dict[str, Any]) -> list[str]:
    """A dataset, from `describe_dataset`."""
    split_names = [split for split in ("train", "heldout") if about["images"][split]]
    return [
        f"{about['path']}: dataset, {slices(about['slice_axes'])}",
        *([f"  classes     {', '.join(about['classes'])}"] if about["classes"] else []),
        f"  train       {images(about['images']['train'])}",
        f"  held out    {images(about['images']['heldout'])}",
        f"  voxel size  {voxel(about)}"
        + (f" (downsampled by {about['downsample']})" if about["downsample"] > 1 else ""),
        *([f"  left out    {about['ignored']} voxels"] if about["ignored"] else []),
        f"  made from   {', '.join(source['name'] for source in about['provenance'].get('sources', [])[:4])}"
        + (", ..." if len(about["provenance"].get("sources", [])) > 4 else "")
        + f" on {created(about['provenance']) or 'an unknown day'}",
        f"  digest      {about['digest']}",
        *(species_table(about) if "species" in about else _phase_table(about, split_names)),
    ]


def species_table(about: dict[str, Any]) -> list[str]:
    """The channels of a dataset of intensities."""
    split_names = [split for split in ("train", "heldout") if about["images"][split]]
    rows = [
        [s["name"], s["dtype"], str(s["cap"]), *(f"{s[name]:.4f}" for name in ("mean", *split_names))]
        for s in about["species"]
    ]
    return table(["channel", "type", "max", "mean", *split_names], rows, left=1)


def _phase_table(about: dict[str, Any], split_names: Sequence[str]) -> list[str]:
    return [
        *table(
            ["phase", "label", "fraction", *split_names],
            [
                [p["name"], str(p["label"]), f"{p['fraction']:.4f}", *(f"{p[split]:.4f}" for split in split_names)]
                for p in about["phases"]
            ],
            left=1,
        ),
    ]


def samples_lines(about: dict[str, Any]) -> list[str]:
    """A samples file, from `describe_samples` or `describe_intensities`."""
    if "species" in about:
        head = ["channel", "type", "max", "mean", "least total", "most total"]
        rows = [
            [s["name"], s["dtype"], str(s["cap"]), f"{s['mean']:.4f}", str(s["least_total"]), str(s["most_total"])]
            for s in about["species"]
        ]
    else:
        head = ["phase", "label", "fraction", "least voxels", "most voxels"]
        rows = [
            [p["name"], str(p["label"]), f"{p['fraction']:.4f}", str(p["least_voxels"]), str(p["most_voxels"])]
            for p in about["phases"]
        ]
    return [
        f"{about['path']}: {about['samples']} samples of {sides(about['size'])}",
        f"  voxel size  {voxel(about)}",
        f"  audit       {'yes (in the JSON)' if about['audit'] else 'none'}",
        *table(head, rows, left=1),
    ]


def image_lines(about: dict[str, Any]) -> list[str]:
    """An image from elsewhere, from `describe_image`."""
    found = about["labels"]
    source = f" ({about['voxel_size_source']})" if about["voxel_size_source"] else ""
    kind = {"YX": "2D image", "TYX": "stack of 2D images", "ZYX": "volume", "TZYX": "several volumes"}
    lines = [
        f"{about['path']}: {kind.get(about['axes'], 'volume or stack')} {sides(about['shape'])} {about['type']}",
        f"  voxel size  {voxel(about)}{source}",
        *table(
            ["label", "fraction", "voxels"],
            [[str(e["label"]), f"{e['fraction']:.4f}", str(e["voxels"])] for e in found[:_MOST_ROWS]],
        ),
    ]
    if len(found) > _MOST_ROWS:
        lines.append(f"  ... {len(found)} different values in all: not segmented")
    return lines


def model_lines(about: dict[str, Any]) -> list[str]:
    """A model or a run: every value on its line, nested ones indented."""
    inner = {key: value for key, value in about.items() if key not in ("path", "kind")}
    return [f"{about['path']}: {about['kind']}", *_nested(inner, 1)]


def _nested(values: dict[str, Any], depth: int) -> list[str]:
    width = max((len(key) for key, value in values.items() if not isinstance(value, dict)), default=0)
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["  " * depth + key, *_nested(value, depth + 1)]
        else:
            lines.append("  " * depth + f"{key.ljust(width)}  {_plain(value)}")
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return " ".join(_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "unknown" if value is None else str(value)
