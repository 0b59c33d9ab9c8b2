"""`dsd view`: a page in which volumes are turned and cut."""

from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit, say, set_quiet
from dsdcli.cli.options import Quiet


def view(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Samples file, dataset, or any image that dsd ingest reads.")],
    sample: Annotated[list[int] | None, typer.Option(metavar="N", min=0, help="Show this image of the file, counted from 0; repeatable. Default: the first ones, as many as a page holds.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="The page. Default: FILE with the ending .html; a file that is no such page is not replaced.", show_default=False)] = None,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write one HTML page that shows the images of a file.

    Volumes are turned, cut along three axes, and seen phase by phase; 2D images are paged through. The page holds all
    that it needs: it opens in a browser without a network, and can be sent to others.
    """
    set_quiet(quiet)
    from dsdcli.pipeline.view import view as run

    viewed = run(file, out, sample or [])
    for note in viewed.notes:
        say(f"note: {note}")
    emit(str(viewed.path))
