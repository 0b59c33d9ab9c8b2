"""`dsd gather`: the parts of a job, put together."""

from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit_written, progress, say, set_quiet, until_the_end
from dsdcli.cli.options import AsJson, Quiet


def gather(
    shards: Annotated[list[Path], typer.Argument(metavar="PART", help="Files that dsd generate --part wrote, with their audit records.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Output: .tif, .h5, .zarr or .npy. Default: samples.h5 here, or the next free samples-2.h5 ...", show_default=False)] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put the parts of a job together: the samples that it would have made at once.

    Writes the samples, a PNG sheet and an audit record (JSON) next to each other, and prints the path of the samples.
    Parts of different jobs are refused; of parts that are missing it says which. One part at a time is in memory.
    """
    set_quiet(quiet)

    from dsdcli.pipeline.gather import gather as put_together
    from dsdcli.pipeline.output import output

    out = until_the_end(output(out, "samples.h5", shards))
    with progress("gathering") as update:
        written = put_together(shards, out, update)
    about = written.about
    say(
        f"{about['job']['samples']} samples of {len(shards)} parts, seed {about['seed']}, {about['seconds']:.1f} s in all"
    )
    emit_written(written, as_json)
