"""Loading a model, and what it can be asked for."""

from pathlib import Path

from dsdcli.device import pick_device
from dsdcli.pipeline import generate as generation
from dsdcli.pipeline import inpaint as inpainting
from dsdcli.pipeline.defaults import choose_model
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.progress import Note, silent


class Model(LoadedModel):
    """A trained model; `load` gives one."""

    generate = generation.generate
    stream = generation.stream
    inpaint = inpainting.inpaint


def load(name: Path | str | None = None, device: str = "auto", note: Note = silent) -> Model:
    """Load a shipped model by its name, or the one in a run folder, model folder or weights file.

    Args:
        name: by default the newest run under ./runs, else berea-2d.
        device: auto, cpu or cuda.
        note: is told what was picked.

    Raises:
        UsageError: no such model or device.
        DataError: damaged files.
    """
    path, remark = choose_model(str(name) if name else None)
    if remark:
        note(remark)
    found = LoadedModel.open(path, pick_device(device))
    return Model(found.path, found.network)
