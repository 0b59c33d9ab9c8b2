"""Ranks that are threads of one process, for laws that many numbers of ranks must obey."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from dsdcli.ranks import Ranks


class Table:
    """What passes between the threads: everybody puts something on it, then all see it."""

    def __init__(self, count):
        self.barrier, self.held = threading.Barrier(count, timeout=60), [None] * count

    def show(self, number, thing):
        self.held[number] = thing
        self.barrier.wait()
        seen = list(self.held)
        self.barrier.wait()
        return seen


@dataclass(frozen=True)
class Threads(Ranks):
    table: Table = field(default=None, compare=False)

    def add(self, tensors):
        shown = self.table.show(self.number, [tensor.clone() for tensor in tensors])
        for tensor, *parts in zip(tensors, *shown, strict=True):
            tensor.copy_(torch.stack(parts).sum(0))

    def exchange(self, parcels):
        return [each[self.number].clone() for each in self.table.show(self.number, list(parcels))]

    def _reduced(self, value, how):
        seen = self.table.show(self.number, value)
        return sum(seen) if how == "SUM" else {"MAX": max, "MIN": min}[how](seen)


def on_ranks(count, work):
    """What ``work`` gives on each of so many ranks."""
    if count == 1:
        return [work(Ranks())]
    table = Table(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda number: work(Threads(number, count, count, table)), range(count)))
