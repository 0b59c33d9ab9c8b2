"""Which whole number an expected count stands for, so that samples have the histogram of the material.

A network of intensities expects the mean of what it is not sure of, and walks at its rates leave that mean closer to
those of the neighbours than it should be: rounded as it is, a sixth of the sites that should be full lacks a particle
or two. The order of the sites is right, so a monotone map is what is missing (method.md, section 15): the threshold
between k and k + 1 is where as many sites of samples lie above it as real ones hold more than k.
"""

import numpy as np
import torch

LEVELS = 64  # thresholds that are kept of a species; between them the map is linear


def shape(species: int) -> tuple[int, ...]:
    """Of a table: the thresholds, and the counts k + 1/2 that they stand for, of each species."""
    return 2, species, LEVELS


def thresholds(expected: np.ndarray, real: np.ndarray, caps: np.ndarray) -> torch.Tensor:
    """The table (2, C, LEVELS) with which expected counts (n, C, *L) round to the histogram of real ones (m, C, *L).

    Args:
        caps: of each species, (C,).
    """
    table = torch.zeros(shape(len(caps)))
    for species, cap in enumerate(caps.tolist()):
        guess, counts = np.sort(expected[:, species], axis=None), np.sort(real[:, species], axis=None)
        whole = np.unique(np.linspace(0, cap - 1, min(cap, LEVELS)).round())
        # sites of samples that should hold no more than these
        below = np.searchsorted(counts, whole, side="right") * len(guess) // len(counts)
        beside = np.stack([guess[(below - 1).clip(0)], guess[below.clip(0, len(guess) - 1)]]).mean(0)
        at = np.where(below == 0, 0.0, np.where(below == len(guess), cap, beside))
        rest = LEVELS - len(whole)
        table[0, species] = torch.from_numpy(np.pad(at, (0, rest), constant_values=cap))
        table[1, species] = torch.from_numpy(np.pad(whole + 0.5, (0, rest), constant_values=cap))
    return table


def levelled(expected: np.ndarray, table: torch.Tensor, caps: np.ndarray) -> np.ndarray:
    """Expected counts (B, C, *L), moved to where they round to what they stand for."""
    found = np.empty_like(expected)
    for species, cap in enumerate(caps.tolist()):
        at, count = (part[species].double().cpu().numpy() for part in table)
        at = np.maximum.accumulate(np.concatenate([[0.0], at, [cap]])) + 1e-9 * np.arange(LEVELS + 2)
        found[:, species] = np.interp(expected[:, species], at, np.concatenate([[0.0], count, [cap]]))
    return found
