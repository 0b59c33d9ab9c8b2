"""`dsd info`: what is in a dataset, a samples file, a run, a model or an image."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dsdcli.cli.console import AsJson, emit, emit_json


def info(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Dataset, samples file, run, model (folder, weights file or name), or image."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a dataset, samples file, run, model or image holds.

    Prints phases, fractions, shapes, voxel size and where it comes from. With --json several files give a list.
    """
    from dsdcli.view import text

    found = [_describe(file) for file in files]
    if as_json:
        emit_json(found[0] if len(found) == 1 else found)
        return
    lines = {
        "dataset": text.dataset_lines,
        "samples": text.samples_lines,
        "image": text.image_lines,
    }
    for about in found:
        for line in lines.get(about["kind"], text.model_lines)(about):
            emit(line)


def _describe(file: str) -> dict[str, Any]:
    path = Path(file)
    if not path.exists():
        from dsdcli.network.catalogue import shipped_models

        path = shipped_models().get(file, path)
    if path.suffix == ".safetensors" or (path.is_dir() and _is_model(path)):
        from dsdcli.network.checkpoint import describe

        return describe(path)
    from dsdcli.data.dataset import Dataset, is_dataset
    from dsdcli.data.samples import is_samples, read_samples
    from dsdcli.pipeline.describe import describe_dataset, describe_image, describe_samples

    if path.is_dir():
        return describe_samples(read_samples(path), path)
    if path.is_file() and is_dataset(path):
        return describe_dataset(Dataset.open(path))
    if path.is_file() and is_samples(path):
        return describe_samples(read_samples(path), path)
    return describe_image(file)


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or any(folder.glob("*.safetensors"))
