"""Discrete Spatial Diffusion: microstructures with exact phase fractions.

``dsdcli.load("berea-2d").generate(64, porosity=0.21, seed=7)`` gives samples; docs/guide/python.md shows the rest.
What is named here is loaded when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Threads that wait for each other spin by default, which makes everything ten times as slow on a machine that has other
# work; threads that sleep at once take half as long again for a training step on one that has none. So they spin for a
# moment (docs/studies/speed.md). PyTorch looks at this when it is loaded.
if os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE") == "PASSIVE":
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

if TYPE_CHECKING:
    from dsdcli.data.dataset import Dataset
    from dsdcli.errors import DsdError
    from dsdcli.pipeline.describe import describe
    from dsdcli.pipeline.evaluate import evaluate
    from dsdcli.pipeline.gather import gather
    from dsdcli.pipeline.ingest import ingest
    from dsdcli.pipeline.load import Model, load
    from dsdcli.pipeline.output import Samples, read_samples
    from dsdcli.pipeline.rev import rev
    from dsdcli.pipeline.train import train

__all__ = [
    "Dataset",
    "DsdError",
    "Model",
    "Samples",
    "describe",
    "evaluate",
    "gather",
    "ingest",
    "load",
    "read_samples",
    "rev",
    "train",
]

_ROOMS = {
    "Dataset": "data.dataset",
    "DsdError": "errors",
    "Model": "pipeline.load",
    "Samples": "pipeline.output",
    "describe": "pipeline.describe",
    "evaluate": "pipeline.evaluate",
    "gather": "pipeline.gather",
    "ingest": "pipeline.ingest",
    "load": "pipeline.load",
    "read_samples": "pipeline.output",
    "rev": "pipeline.rev",
    "train": "pipeline.train",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'dsdcli' has no attribute '{name}'")
    return getattr(import_module(f"dsdcli.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
