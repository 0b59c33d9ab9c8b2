"""Changing as few voxels of an image as its parts need to hold what they must, with interfaces as long as before."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import torch

from dsdcli.process.image import beside, count_parts, one_hot
from dsdcli.process.lattice import Lattice

CHOICE = 16  # candidates for each voxel that a part has to change, the most probable ones, and some more
MORE = 64


def exchange(
    image: np.ndarray, evidence: np.ndarray, totals: np.ndarray, lattice: Lattice, parts: np.ndarray
) -> np.ndarray:
    """The image with exactly the wanted voxels of every phase in every part; those in no part stay.

    As few voxels change as possible, one in each part in turn. Of those that may, it is the one with the largest

        log p_b(x) - log p_a(x) - sum over pairs of ((d + c)^2 - d^2) / 2

    for a change from phase a to phase b, where c is by how many contacts of a pair of phases it changes their number,
    and d by how many those before it did: a voxel is not changed because it sticks out, which would smooth the image.

    Args:
        image: phase indices (*L); ``evidence``: log-probability of every phase at every voxel (K, *L).
        totals: int64 (R, K), as many in each part as it has voxels; ``parts``: 1 to R of every voxel, 0 in none, (*L).

    Returns:
        phase indices (*L), in the type of ``image``.
    """
    phases = len(evidence)
    result = np.ascontiguousarray(image).copy()
    phase, log_p = result.reshape(-1), evidence.reshape(phases, -1)
    inside = parts > 0
    surplus = count_parts(image[inside], parts[inside], len(totals), phases) - totals
    contacts = beside(one_hot(torch.from_numpy(result)[None], phases), lattice.boundary == "periodic")[0].numpy()
    contacts = contacts.astype(np.int8).reshape(phases, -1)
    drift = np.zeros((phases, phases))
    tasks = [task for part in _of_each(surplus, parts) for task in _tasks(*part, phase, log_p)]
    while tasks:
        for number, (a, b, candidates, left) in enumerate(tasks):
            here = candidates[phase[candidates] == a]
            change = _new_contacts(contacts[:, here], a, b)
            strain = sum(c * (drift[pair] + c / 2) for pair, c in change.items())
            at = int((log_p[b, here] - log_p[a, here] - strain).argmax())
            for pair, c in change.items():
                drift[pair] += c[at]
            site = int(here[at])
            phase[site] = b
            for neighbour in _neighbours(site, lattice):
                contacts[a, neighbour] -= 1
                contacts[b, neighbour] += 1
            tasks[number] = a, b, here, left - 1
        tasks = [task for task in tasks if task[3]]
    return result


def _of_each(surplus: np.ndarray, parts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Surplus of the phases (K,) and flat sites of every part that has one."""
    order = np.argsort(parts, axis=None, kind="stable")
    ends = np.searchsorted(parts.reshape(-1)[order], np.arange(1, len(surplus) + 2))
    for part in np.flatnonzero(surplus.any(1)):
        yield surplus[part], order[ends[part] : ends[part + 1]]


def _tasks(
    surplus: np.ndarray, sites: np.ndarray, phase: np.ndarray, log_p: np.ndarray
) -> Iterator[tuple[int, int, np.ndarray, int]]:
    """What a part has to change: from a phase to another, which sites it may choose from, and how many."""
    surplus = surplus.copy()
    while surplus.any():
        a, b = int(surplus.argmax()), int(surplus.argmin())
        number = int(min(surplus[a], -surplus[b]))
        surplus[a] -= number
        surplus[b] += number
        own = sites[phase[sites] == a]
        gain = log_p[b, own] - log_p[a, own]
        most = CHOICE * number + MORE
        yield a, b, own if len(own) <= most else own[np.argpartition(-gain, most)[:most]], number


def _new_contacts(contacts: np.ndarray, a: int, b: int) -> dict[tuple[int, int], np.ndarray]:
    """By how many the contacts of every pair of phases grow with a change of a to b, at sites beside so many voxels of
    each phase (K, n)."""
    gained = {pair: np.zeros(contacts.shape[1]) for pair in combinations(range(len(contacts)), 2)}
    for other, number in enumerate(contacts):
        for kept, sign in ((a, -1), (b, 1)):
            if other != kept:
                gained[min(kept, other), max(kept, other)] += sign * number
    return gained


def _neighbours(site: int, lattice: Lattice) -> Iterator[int]:
    """Flat indices of the sites that a particle may hop to."""
    at = np.unravel_index(site, lattice.shape)
    for axis, side in enumerate(lattice.shape):
        for sign in (1, -1):
            moved: Sequence[int] = [int(n) + sign * (axis == own) for own, n in enumerate(at)]
            if lattice.boundary == "periodic" or 0 <= moved[axis] < side:
                yield int(np.ravel_multi_index(tuple(moved), lattice.shape, mode="wrap"))
