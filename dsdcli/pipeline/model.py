"""A trained model at hand: its network, on a device, and where it came from."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from dsdcli.data.phases import Phase
from dsdcli.network.checkpoint import load_model
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """``path`` is the model's folder, run or weights file."""

    path: Path
    network: UndoNet

    @classmethod
    def open(cls, path: Path, device: torch.device) -> "LoadedModel":
        """Load it; raises as `dsdcli.network.checkpoint.load_model`."""
        return cls(path, load_model(path, device))

    def on(self, device: torch.device) -> "LoadedModel":
        """The same with its network on a device; it is copied if it lies elsewhere."""
        here = self.device.type == device.type
        return self if here else LoadedModel(self.path, copy.deepcopy(self.network).to(device))

    @property
    def config(self) -> ModelConfig:
        return self.network.config

    @property
    def phases(self) -> tuple[Phase, ...]:
        return self.config.phases

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
