"""How many images at a time: blocks, which decide how the network rounds, and batches, which only take memory."""

from dataclasses import dataclass

import torch

from dsdcli.network.config import ModelConfig
from dsdcli.network.model import NOTHING, Given
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.rates import Conditional
from dsdcli.threads import side_by_side

# Sites that the network takes at a time. Convolutions of another batch size may round differently, and one rounding
# changes a random walk for good; so the batch size of the network depends on the lattice and the device alone.
BLOCK_SITES = {"cpu": 2**15, "cuda": 2**20}
SMALLEST_LATTICE = 2**10  # what smaller ones count as, since the network pads them

BATCH_BLOCKS = 8  # blocks in a batch; more of them are no faster
USED_SHARE = 0.5  # of the free memory, since the rest of the machine works on

# Memory as measured, rounded up: arrays held at once of the network's first level and of its head at full resolution,
# and fields of rates in a leap.
ACTIVATIONS = 4
FINE = 2
RATES = 6
RESERVE = 2**26  # bytes that libraries take for themselves at the first evaluation


def block_images(lattice: Lattice, device: torch.device) -> int:
    """Images that the network takes at a time."""
    return max(1, BLOCK_SITES[device.type] // max(lattice.sites, SMALLEST_LATTICE))


@dataclass(frozen=True, eq=False)
class InBlocks:
    """The same rates, asked for a fixed number of images at a time, filled up with empty ones.

    Sample i of a job always takes the same place in its block, since on odd lattices the place decides the rounding too
    (vector instructions treat the ends of arrays otherwise).

    Attributes:
        first: index in the job of the first of the images.
        given: of the clean images.
    """

    rates: Conditional
    first: int
    given: Given = NOTHING

    @torch.inference_mode()
    def __call__(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        block = block_images(lattice, counts.device)
        before = self.first % block
        end = before + len(counts)
        after = -end % block
        empty = counts.new_zeros(1, *counts.shape[1:])
        filled = torch.cat([empty.expand(before, *counts.shape[1:]), counts, empty.expand(after, *counts.shape[1:])])
        doses = torch.cat([dose[:1].expand(before), dose, dose[:1].expand(after)])
        which = torch.tensor([0] * before + [*range(len(counts))] + [0] * after)

        @torch.inference_mode()  # of the thread that it runs in
        def one(counts: torch.Tensor, dose: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
            return self.rates(counts, dose, lattice, self.given.take(images.tolist()))

        columns = filled.split(block), doses.split(block), which.split(block)
        # A block of one large image has all threads within; which way it goes must depend on the lattice alone.
        made = map(one, *columns) if block == 1 else side_by_side(one, counts.device, *columns)
        return torch.cat(list(made))[before:end]


def peak_bytes(config: ModelConfig, lattice: Lattice, device: torch.device, batch: int) -> int:
    """Memory that generating ``batch`` images at a time takes at most, beside the weights: an estimate, on the safe
    side. One block of the network, and the rates of the whole batch, 4 bytes per number."""
    architecture = config.architecture
    features = ACTIVATIONS * architecture.channels[0] / architecture.patch**lattice.ndim + FINE * architecture.fine
    rates = RATES * len(config.fractions) * lattice.directions
    sites = max(lattice.sites, SMALLEST_LATTICE)
    return int(RESERVE + 4 * sites * (block_images(lattice, device) * features + batch * rates))


def fitting_batch(config: ModelConfig, lattice: Lattice, device: torch.device, free: int) -> int:
    """Images to compute at a time: as many as gain speed and fit into half of ``free`` bytes, and at least 1.

    Whole blocks where that is possible, since a block takes as long when it is not full. The samples do not depend
    on it, nor on the memory of the day.
    """
    block = block_images(lattice, device)
    most = BATCH_BLOCKS * BLOCK_SITES[device.type] // max(lattice.sites, SMALLEST_LATTICE)
    none, one = (peak_bytes(config, lattice, device, n) for n in (0, 1))
    batch = max(1, min(most, int((USED_SHARE * free - none) // (one - none))))
    return batch - batch % block if batch > block else batch
