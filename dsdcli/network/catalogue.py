"""Where models lie: the names of their files, and the pretrained ones that come with the package."""

from pathlib import Path

import dsdcli
from dsdcli.errors import UsageError

CONFIG = "config.json"
MANIFEST = "train.json"  # of a training run
WEIGHTS = ("model.safetensors", "best.safetensors", "last.safetensors")  # in the order they are looked for


def shipped_models() -> dict[str, Path]:
    """Name -> folder of every model that was installed with the package (or lies in the repository beside it)."""
    package = Path(dsdcli.__file__).parent
    for library in (package / "models", package.parent / "models"):
        found = {p.parent.name: p.parent for p in sorted(library.glob(f"*/{CONFIG}"))}
        if found:
            return found
    return {}


def find_model(name: str) -> Path:
    """Folder or file of the model called ``name``: a path first, else a shipped model.

    Raises:
        UsageError: neither; lists what exists.
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    raise UsageError(
        f"unknown model '{name}': no such path, and the shipped models are {', '.join(shipped) or 'none'}; "
        "train one with: dsd train"
    )
