"""`dsd info`: what is in a dataset, a samples file, a run, a model or an image."""

from typing import Annotated

import typer

from dsdcli.cli.console import emit, emit_json
from dsdcli.cli.options import AsJson
from dsdcli.view import text


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
    from dsdcli.pipeline.describe import describe

    found = [describe(file) for file in files]
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
