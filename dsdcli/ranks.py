"""Processes that work on one thing together, as `torchrun` starts them: ranks.

Only numbers and texts pass between them, in tensors: nothing is pickled.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dsdcli.errors import DsdError, ToldElsewhere, UsageError

if TYPE_CHECKING:
    import torch

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that work together; by default it is alone, and all of this costs nothing.

    Attributes:
        here: how many of them run on this machine.
    """

    number: int = 0
    count: int = 1
    here: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.number == 0

    def share(self, items: int) -> slice:
        """Which of the items this rank works on: all ranks have as many, or one more or less."""
        return slice(items * self.number // self.count, items * (self.number + 1) // self.count)

    def sum(self, value: float) -> float:
        """Of the values of all ranks, in float64; the same number on each."""
        return self._reduced(value, "SUM")

    def any(self, yes: bool) -> bool:
        """Whether one of the ranks says yes."""
        return self._reduced(float(yes), "MAX") > 0

    def of_first(self, value: float) -> float:
        """What the first rank has."""
        return self.sum(value if self.first else 0.0)

    def text_of_first(self, text: str) -> str:
        """What the first rank says."""
        if self.count == 1:
            return text
        import torch
        from torch import distributed

        length = int(self.of_first(len(text.encode())))
        content = torch.zeros(length, dtype=torch.uint8)
        if self.first:
            content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        with self._connected():
            distributed.broadcast(content, 0)
        return bytes(content.tolist()).decode()

    def add(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Replace the tensors, in place, by their sums over all ranks: in one message."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with self._connected():
            distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def exchange(self, parcels: "Sequence[torch.Tensor]") -> "list[torch.Tensor]":
        """Send to every rank its parcel, all (n,) of one type with an n of their own, and take what they send here."""
        if self.count == 1:
            return list(parcels)
        import torch
        from torch import distributed

        sizes = torch.tensor([len(parcel) for parcel in parcels])  # in main memory, as these are read here
        coming = torch.empty_like(sizes)
        with self._connected():
            distributed.all_to_all_single(coming, sizes)
            received = parcels[0].new_empty(int(coming.sum()))
            distributed.all_to_all_single(received, torch.cat(list(parcels)), coming.tolist(), sizes.tolist())
        return list(received.split(coming.tolist()))

    @contextmanager
    def together(self) -> Iterator[None]:
        """A piece of work after which all ranks go on, or none: nothing in it may wait for another rank.

        Raises:
            DsdError: on the first rank that failed what it failed with, which stops the others too.
            ToldElsewhere: on these.
        """
        failed: DsdError | None = None
        try:
            yield
        except DsdError as error:
            if self.count == 1:
                raise
            failed = error
        speaks = failed is not None and not isinstance(failed, ToldElsewhere)  # not of a piece of work in this one
        speaker = self._reduced(float(self.number if speaks else self.count), "MIN")
        if speaker == self.count:
            return
        code = int(self.sum(failed.exit_code if failed and self.number == speaker else 0))
        if failed and self.number == speaker:
            raise failed
        raise ToldElsewhere(code)

    def once(self, work: Callable[[], T]) -> T | None:
        """What the first rank does while the others wait; raises as `together`."""
        with self.together():
            return work() if self.first else None

    def _reduced(self, value: float, how: str) -> float:
        if self.count == 1:
            return value
        import torch
        from torch import distributed

        held = torch.tensor([value], dtype=torch.float64)  # in main memory: so that a GPU need not wait for it
        with self._connected():
            distributed.all_reduce(held, getattr(distributed.ReduceOp, how))
        return held.item()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise DsdError(
                f"rank {self.number} of {self.count} has lost another: that has ended, or the network failed; what was "
                "saved stays, so start all again, a training with `resume=True`"
            ) from error


def ranks_here() -> Ranks:
    """This process among those that `torchrun` has started, by the variables that this sets.

    Raises:
        UsageError: they contradict each other, or some are missing.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Ranks()
    try:
        number, count, here, local = (int(os.environ[name]) for name in _NUMBERS)
        if not (0 <= number < count and 0 <= local < here <= count and all(os.environ[name] for name in _ADDRESS)):
            raise ValueError
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is set, so several processes should work together, but {', '.join(_NUMBERS + _ADDRESS)} do "
            "not say how; start them with torchrun, or unset WORLD_SIZE"
        ) from error
    return Ranks(number, count, here)


def own_device(device: "torch.device", ranks: Ranks) -> "torch.device":
    """The device of this rank: of the GPUs of a machine each takes its own.

    Raises:
        UsageError: more ranks than GPUs on this machine.
    """
    if ranks.count == 1 or device.type != "cuda":
        return device
    import torch

    local, available = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= available:
        raise UsageError(f"rank {ranks.number} has no GPU: this machine has {available}; start as many ranks on it")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@contextmanager
def connected(ranks: Ranks, device: "torch.device") -> Iterator[None]:
    """The ranks can speak to each other: over the loopback alone where that is where the first one is.

    Raises:
        DsdError: they cannot.
    """
    if ranks.count == 1:
        yield
        return
    from torch import distributed

    if os.environ["MASTER_ADDR"] in _LOOPBACK and Path("/sys/class/net/lo").is_dir():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    with ranks._connected():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    yield
    distributed.destroy_process_group()  # not after an error, which may be that there is nobody to say goodbye to


def still_connected() -> bool:
    """Whether this process was left while ranks could speak to each other."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def gradient(weight: "torch.Tensor") -> "torch.Tensor":
    """Of the loss; zero, and then remembered as that, on a rank without images."""
    import torch

    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
