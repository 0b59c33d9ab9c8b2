"""The lattice gas behind the flow: D2Q9 or D3Q19, linear, collided with two relaxation times."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

VISCOSITY = 1 / 6  # in voxel^2 per step; the permeability does not depend on it, the number of steps does


@dataclass(frozen=True)
class Lattice:
    """Velocities to the sites at most sqrt(2) away: 9 in 2D, 19 in 3D; ``axes`` is the dimension.

    Populations are kept divided by the root of their weight and as deviations from rest: so scaled, reversal,
    streaming and collision are symmetric or orthogonal matrices.
    """

    axes: int

    @cached_property
    def velocities(self) -> np.ndarray:
        """int (Q, axes), the rest first."""
        steps = itertools.product((-1, 0, 1), repeat=self.axes)
        return np.array(sorted((s for s in steps if np.abs(s).sum() <= 2), key=lambda s: np.abs(s).sum()))

    @cached_property
    def weights(self) -> np.ndarray:
        """float (Q,), sum 1; the speed of sound is 1 / sqrt(3)."""
        of_length = {2: (4 / 9, 1 / 9, 1 / 36), 3: (1 / 3, 1 / 18, 1 / 36)}[self.axes]
        return np.array(of_length)[np.abs(self.velocities).sum(axis=1)]

    def find(self, velocities: np.ndarray) -> np.ndarray:
        """Numbers of given velocities, int (..., axes) -> (...)."""
        base = 3 ** np.arange(self.axes)
        table = np.zeros(3**self.axes, np.int64)
        table[(self.velocities + 1) @ base] = np.arange(len(self.velocities))
        return table[(velocities + 1) @ base]

    def momentum(self, axis: int) -> np.ndarray:
        """Functional (Q,) that takes scaled populations to their momentum along ``axis``."""
        return np.sqrt(self.weights) * self.velocities[:, axis]

    def collide_and_turn(self, magic: float) -> np.ndarray:
        """Matrix (Q, Q), symmetric: one collision without force, after which every population is turned round.

        What is even under reversal relaxes towards the density at a rate set by the viscosity, what is odd towards the
        momentum at the rate for which the product of the two relaxation times, each less 1/2, is ``magic``: on it alone
        depends where a wall is felt (Ginzburg, Verhaeghe, d'Humieres, Commun. Comput. Phys. 3, 2008). There is no
        quadratic term: the flow is Stokes flow, whatever the force.
        """
        turn = np.eye(len(self.weights))[self.find(-self.velocities)]
        one = np.eye(len(self.weights))
        density = np.outer(np.sqrt(self.weights), np.sqrt(self.weights))
        momentum = 3 * sum(np.outer(self.momentum(a), self.momentum(a)) for a in range(self.axes))
        even = 3 * VISCOSITY
        odd = magic / even
        collide = one - ((one + turn) / 2 - density) / (even + 0.5) - ((one - turn) / 2 - momentum) / (odd + 0.5)
        return turn @ collide
