"""The walk that is under way in a long job, on the disk: its newest state, beside the samples that are made already."""

import time
from pathlib import Path

import torch

from dsdcli.data.journal import WALK_MARK
from dsdcli.errors import DataError, DsdError
from dsdcli.network.checkpoint import load_tensors, save_tensors
from dsdcli.pipeline.progress import Note
from dsdcli.sampling.keeping import Kept

EVERY = 180.0  # seconds between two states
LONG = 2**24  # evaluations of the network times voxels below which a job has no state: minutes of one CPU thread


class WalkFile:
    """Keeps the state of a walk in one file, and tells after how long the next one is due.

    Attributes:
        spent: seconds that went into the state that was found, before this process went on with it.
    """

    def __init__(self, path: Path, note: Note) -> None:
        self.path, self._note = path, note
        self.spent = 0.0
        self._began = self._last = time.monotonic()

    def find(self, samples: range) -> Kept | None:
        """As `dsdcli.sampling.keeping.Keeper.find`; from here on time counts for these samples.

        Raises:
            DataError: the file is damaged.
        """
        self.spent, self._began = 0.0, time.monotonic()
        if not self.path.exists():
            return None
        try:
            tensors = load_tensors(self.path)
            first, stop, done = tensors.pop("about").tolist()
            spent = tensors.pop("spent").item()
        except (DataError, KeyError, ValueError) as error:
            raise DataError(f"{self.path} is damaged; delete it, and its walk begins anew") from error
        if range(first, stop) != samples:
            return None
        self.spent = spent
        self._note(f"going on with {self.path}: a walk after {done} steps and {spent:.0f} s")
        return Kept(samples, done, tensors)

    def due(self) -> bool:
        return time.monotonic() - self._last >= EVERY

    def keep(self, state: Kept) -> None:
        """As `dsdcli.sampling.keeping.Keeper.keep`; a disk that is full ends no walk."""
        spent = self.spent + time.monotonic() - self._began
        about = torch.tensor([state.samples.start, state.samples.stop, state.done])
        own = {"about": about, "spent": torch.tensor(spent, dtype=torch.float64)}
        try:
            save_tensors(self.path, {**state.tensors, **own}, {"format": WALK_MARK})
        except DsdError as error:
            self._note(f"WARNING: the walk goes on, but its state could not be kept: {error}")
        self._last = time.monotonic()
