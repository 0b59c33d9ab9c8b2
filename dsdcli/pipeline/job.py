"""A request for samples, checked against the model: all that decides them, and the counts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsdcli.data.phases import in_words
from dsdcli.data.scan import AXES
from dsdcli.data.voxel import SAME, length_ratio, sides
from dsdcli.device import free_memory, free_ram, require
from dsdcli.errors import UsageError
from dsdcli.network.model import UndoNet
from dsdcli.network.slabs import slab_of
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.steer import Steer
from dsdcli.pipeline.target import Targets
from dsdcli.process.lattice import Lattice, as_boundary
from dsdcli.process.slab import Slab
from dsdcli.ranks import Ranks
from dsdcli.record import check_seed
from dsdcli.sampling.adaptive import Adaptive
from dsdcli.sampling.blocks import fitting_batch, peak_bytes
from dsdcli.sampling.guidance import MOST_GUIDANCE
from dsdcli.sampling.registry import make_sampler
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.slabs import slab_bytes
from dsdcli.sampling.sweeps import FROM_FAR, PlaneSweeps
from dsdcli.sampling.trapezoidal import Trapezoidal

RECORD = 2**11  # bytes that the counts and the record of a sample take


@dataclass(frozen=True, eq=False)
class Job:
    """All that decides the samples of a model but their counts.

    Attributes:
        planes: of a volume that 2D models make, the one for the planes across each axis.
        steer: what the samples are steered to; None for nothing.
        targets: numbers that the network is told of the samples; None for none.
        material: the class of the samples, None for any.
        guidance: how much class and targets count; see `dsdcli.sampling.guidance`.
        slab: of this rank, where several make each sample together.
    """

    loaded: LoadedModel
    lattice: Lattice
    settings: Sampler | PlaneSweeps
    seed: int
    batch: int
    planes: tuple[LoadedModel, ...] = ()
    steer: Steer | None = None
    material: str | None = None
    guidance: float = 1.0
    targets: Targets | None = None
    slab: Slab | None = None

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        size: tuple[int, ...] | None,
        boundary: str | None,
        sampler: Sampler | None,
        seed: int | None,
        batch: int | None,
        planes: Mapping[str, LoadedModel] | None = None,
        elsewhere: tuple[str, int] | None = None,
        steer: Steer | None = None,
    ) -> "Job":
        """Check the request against the model; ``None`` takes what it was trained with, a new seed, and as many samples
        at a time as suit the memory that is free. Three sides for a 2D model make volumes, by sweeps over planes.

        Args:
            sampler: that was asked for; None for the usual one.
            elsewhere: kind of device and free bytes of the workers of a cluster, where they do the work.

        Raises:
            UsageError: a size of another dimension than the model's, an unknown boundary, or models of planes that do
                not go together.
        """
        config = loaded.config
        size = config.size if size is None else size
        if len(size) == 3 and config.ndim == 2:
            if sampler is not None:
                raise UsageError(
                    "a 2D model makes volumes by sweeps over planes; leave out `sampler`, `steps` and `eta`"
                )
            batch = 1  # all planes of one volume at a time
        elif planes:
            raise UsageError("`planes` are of a volume that 2D models make; give `size=(D, H, W)` and 2D models")
        elif len(size) != config.ndim:
            wanted = "(H, W) or (D, H, W)" if config.ndim == 2 else "(D, H, W)"
            raise UsageError(f"{loaded.path.name} is a {config.ndim}D model; give `size={wanted}`")
        volume_of_planes = len(size) > config.ndim
        settings = PlaneSweeps() if volume_of_planes else sampler or Trapezoidal.usual(config.ndim)
        lattice = Lattice(tuple(size), config.boundary if boundary is None else as_boundary(boundary))
        if batch is None:
            device = torch.device(elsewhere[0]) if elsewhere else loaded.device
            free = elsewhere[1] if elsewhere else free_memory(device)
            batch = max(1, fitting_batch(config, lattice, device, free) // (steer.steering.walkers if steer else 1))
        if batch < 1:
            raise UsageError(f"`batch={batch}`: it must be at least 1")
        across = _across(loaded, planes or {}) if volume_of_planes else ()
        return cls(loaded, lattice, settings, pick_seed(seed), batch, across, steer)

    def knowing(self) -> "Job":
        """The job where voxels are known: volumes of planes are renewed from a larger dose on."""
        return replace(self, settings=FROM_FAR) if isinstance(self.settings, PlaneSweeps) else self

    def swept(self, sweeps: int | None) -> "Job":
        """The job with so many sweeps over the planes of a volume; ``None`` leaves their number.

        Raises:
            UsageError: fewer than one, or no volume of planes.
        """
        if sweeps is None:
            return self
        if not isinstance(self.settings, PlaneSweeps):
            raise UsageError("`sweeps` are over the planes of a volume that 2D models make; leave it out")
        return replace(self, settings=replace(self.settings, sweeps=sweeps))

    def check_memory(self, number: int) -> None:
        """See, before the work, that there is memory for so many samples, but for those that are kept.

        Raises:
            UsageError: there is not; says what is needed.
        """
        config, device, lattice = self.loaded.config, self.loaded.device, self.lattice
        at_once = min(self.batch, number)
        together = at_once * self.walkers
        if isinstance(self.settings, PlaneSweeps):  # the planes of one orientation
            lattice = Lattice(tuple(sorted(lattice.shape)[1:]), lattice.boundary)
            together = self.lattice.sites // lattice.sites
        needed = peak_bytes(config, lattice, device, together)
        if self.slab is not None:  # other ranks take the memory of a machine as well
            at_once = 1
            needed = slab_bytes(config, self.slab) * (self.slab.ranks.here if device.type == "cpu" else 1)
        what = f"{at_once} of {sides(self.lattice.shape)} at a time"
        require(needed, free_memory(device), what, "a smaller `size` or `batch`")
        require(number * RECORD, free_ram(), f"the records of {number} samples", "fewer")

    def assumed(self) -> str:
        """What a volume of planes takes for granted."""
        names = [model.path.name for model in self.planes]
        if len(set(names)) == 1:
            return (
                f"{names[0]} has seen 2D images only. The volume is made of planes like them in three orientations: "
                "this assumes that the material is alike in all directions (isotropy)"
            )
        across = ", ".join(f"{axis}: {name}" for axis, name in zip(AXES, names, strict=True))
        return f"the volume is made of planes like the images of three models, across {across}"

    @property
    def walkers(self) -> int:
        """That each sample takes."""
        return self.steer.steering.walkers if self.steer else 1

    @property
    def kind(self) -> int | None:
        """Number of the class of the samples."""
        return (
            None if self.material is None else [each.name for each in self.loaded.config.classes].index(self.material)
        )

    @property
    def evaluated(self) -> int:
        """Network evaluations of a sample for each of its walk: of every walker, and with guidance twice."""
        return self.walkers * (1 if self.guidance == 1 else 2)

    @property
    def typical(self) -> tuple[float, ...]:
        """Volume fractions of the training images, of the class of the samples."""
        config = self.loaded.config
        return config.fractions if self.kind is None else config.classes[self.kind].fractions

    def towards(self, name: str | None, targets: Targets | None, guidance: float | None) -> "Job":
        """The same for samples of a class of the model, or with numbers that it is told.

        Raises:
            UsageError: no such class, a model without any, or guidance that means nothing.
        """
        if name is None and targets is None:
            if guidance is not None:
                raise UsageError(
                    f"`guidance={guidance:g}` is towards a class or a target; name one by `class_name` or `target`"
                )
            return self
        guidance = 1.0 if guidance is None else guidance
        if not 0 <= guidance <= MOST_GUIDANCE:
            raise UsageError(f"`guidance={guidance:g}`: it must lie between 0 and {MOST_GUIDANCE:g}")
        if name is None:
            if self.loaded.config.classes:
                raise UsageError(
                    "a model of several materials is told a `target` of one of them; name it by `class_name`"
                )
            return replace(self, guidance=guidance, targets=targets)
        names = [each.name for each in self.loaded.config.classes]
        if name not in names:
            known = f"has the classes {', '.join(names)}" if names else "is of one material, without classes"
            raise UsageError(f"`class_name={name}`: {self.path.name} {known}")
        if isinstance(self.settings, PlaneSweeps):
            raise UsageError("a 2D model makes volumes plane by plane, of any class; leave out `class_name`")
        return replace(self, material=name, guidance=guidance, targets=targets)

    def in_slabs(self, ranks: Ranks) -> "Job":
        """The same with every sample made by all ranks.

        Raises:
            UsageError: that cannot be.
        """
        if isinstance(self.settings, PlaneSweeps):
            raise UsageError("a 2D model makes volumes plane by plane, not in slabs; take a 3D model")
        if not isinstance(self.settings, Trapezoidal):
            raise UsageError("slabs are walked by `sampler='trapezoidal'` alone")
        if self.loaded.config.species:
            raise UsageError("slabs hold phases, and this is a model of intensities; leave out `slabs`")
        if self.steer is not None or self.targets is not None or self.guidance != 1:
            raise UsageError("slabs cannot be steered nor guided; leave out `steer`, `target` and `guidance`")
        return replace(self, slab=slab_of(self.loaded.config.architecture, self.lattice, ranks))

    @property
    def model(self) -> UndoNet:
        return self.loaded.network

    @property
    def path(self) -> Path:
        return self.loaded.path


def _across(loaded: LoadedModel, planes: Mapping[str, LoadedModel]) -> tuple[LoadedModel, ...]:
    """The model for the planes across z, y and x; ``loaded`` where none is named."""
    config = loaded.config
    for axis, other in planes.items():
        if axis not in AXES:
            raise UsageError(f"planes lie across {', '.join(AXES)}, not '{axis}'")
        if other.config.ndim != 2:
            raise UsageError(f"{other.path.name} is a model of volumes; planes take models of images")
        if other.config.phases != config.phases:
            own, theirs = (in_words(model.config.phases) for model in (loaded, other))
            raise UsageError(f"{other.path.name} has the phases {theirs}, {loaded.path.name} {own}; they must be equal")
        size, unit = other.config.voxel_size, other.config.voxel_unit
        ratio = length_ratio(config.voxel_size, config.voxel_unit, size, unit)
        if ratio is not None and abs(ratio - 1) > SAME:
            raise UsageError(
                f"the voxels of {other.path.name} are {size:g} {unit}, those of {loaded.path.name} "
                f"{config.voxel_size:g} {config.voxel_unit}; they must be equal"
            )
    return tuple(planes.get(axis, loaded) for axis in AXES)


def choose_sampler(sampler: str | Sampler | None, leaps: int, **settings: Any) -> Sampler:
    """The sampler itself, or the one of that name with the settings that are not None; of no name the usual one, or
    with a tolerance the one that keeps it.

    Args:
        leaps: of the usual sampler, where ``steps`` is not given.

    Raises:
        UsageError: no such sampler or setting, or settings beside a sampler that has its own.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if sampler is None:
        sampler = Adaptive.name if "tolerance" in given else Trapezoidal.name
    if sampler == Trapezoidal.name:
        given = {"steps": leaps, **given}
    if isinstance(sampler, str):
        return make_sampler(sampler, **given)
    if given:
        raise UsageError(f"the sampler has settings of its own; leave out {', '.join(f'`{name}`' for name in given)}")
    return sampler


def merge_porosity(porosity: float | None, fractions: Mapping[str, float] | None) -> dict[str, float]:
    """Volume fractions by phase, the porosity as that of the pore.

    Raises:
        UsageError: the pore is given twice.
    """
    merged = dict(fractions or {})
    if porosity is not None:
        if "pore" in merged:
            raise UsageError("`porosity` and `fractions` of the pore say the same thing; give one")
        merged["pore"] = porosity
    return merged


def pick_seed(seed: int | None) -> int:
    """The seed that was given, or a new one; raises as `dsdcli.record.check_seed`."""
    return check_seed(seed) if seed is not None else int(np.random.SeedSequence().generate_state(1)[0])
