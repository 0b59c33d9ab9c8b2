"""Which weights a training begins with: those of the model that is named, or of a shipped one."""

import copy
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dsdcli.errors import UsageError
from dsdcli.network.catalogue import find_model, shipped_models
from dsdcli.network.checkpoint import digest, load_config, load_model
from dsdcli.network.config import ModelConfig
from dsdcli.training.trainer import Trainer

RANDOM = "none"  # in the place of a model's name
MOST_ORDERED = 4  # phases, of which all orders are tried


class Start(NamedTuple):
    """The weights that a training begins with.

    Attributes:
        path: of the model.
        order: which phase of that model stands for each of the run's.
    """

    path: Path
    order: tuple[int, ...]

    def said(self, config: ModelConfig) -> str:
        """What a user should know of it."""
        theirs, ours = ([phase.name for phase in each.phases] for each in (load_config(self.path), config))
        pairs = [(own, theirs[k]) for own, k in zip(ours, self.order, strict=True)]
        words = "" if all(a == b for a, b in pairs) else f": {', '.join(f'{a} as {b}' for a, b in pairs)}"
        return f"beginning with the weights of {self.path.name}{words} (`start_from=none`: random ones)"

    def manifest(self) -> dict[str, str | list[int]]:
        """What the run's manifest says of it."""
        return {"path": str(self.path.absolute()), "digest": digest(self.path), "order": list(self.order)}


def choose_start(trainer: Trainer, name: Path | str | None) -> Start | None:
    """Give the networks of a trainer the weights to begin with; None for the random ones that they have.

    Where the phases have other names than those of the model, the order that foretells held-out crops best tells which
    stands for which. Where no model is named, those that are shipped are tried, each of as many phases, of the same
    dimension and architecture; random weights stay where none of them is better.

    Args:
        name: of the model: shipped, a run or a folder; `RANDOM` for random weights, None for the best shipped ones.

    Raises:
        UsageError: no such model, or one of another architecture, dimension or number of phases.
    """
    if name == RANDOM:
        return None
    config = trainer.model.config
    paths = kindred(config) if name is None else [find_model(str(name))]
    models = {path: load_model(path, trainer.device) for path in paths}
    starts: list[Start | None] = [None] if name is None else []
    starts += [Start(path, order) for path, model in models.items() for order in orders(model.config, config)]
    random = copy.deepcopy(trainer.model)

    def begin(start: Start | None) -> None:
        if start is None:
            trainer.start_from(random)
        else:
            trainer.start_from(models[start.path], start.order)

    def loss(start: Start | None) -> float:
        begin(start)
        return trainer.validate()

    chosen = min(starts, key=loss) if len(starts) > 1 else starts[0]
    begin(chosen)
    return chosen


def start_again(trainer: Trainer, kept: Mapping[str, Any] | None) -> None:
    """Begin with the weights that a manifest says a run began with.

    Raises:
        UsageError: they have changed since.
    """
    if kept is None:
        return
    start = Start(Path(kept["path"]), tuple(kept.get("order", range(trainer.model.phases))))
    if digest(start.path) != kept["digest"]:
        raise UsageError(f"{start.path} has changed since the run began with it; start a new run")
    trainer.start_from(load_model(start.path, trainer.device), start.order)


def kindred(config: ModelConfig) -> list[Path]:
    """The shipped models whose weights fit a network of this kind."""
    found = []
    for path in shipped_models().values():
        other = load_config(path)
        kinds = [(each.ndim, each.architecture, len(each.phases)) for each in (config, other)]
        if kinds[0] == kinds[1] and not config.species and not other.species:
            found.append(path)
    return found


def orders(theirs: ModelConfig, ours: ModelConfig) -> Iterable[tuple[int, ...]]:
    """In which order phases of a model may stand for those of another: the one that their names say, or any."""
    have, want = ([phase.name for phase in config.phases] for config in (theirs, ours))
    if sorted(have) == sorted(want) and not ours.species:
        return [tuple(have.index(name) for name in want)]
    if len(have) != len(want) or len(want) > MOST_ORDERED or ours.species:
        return [tuple(range(len(have)))]
    return itertools.permutations(range(len(want)))
