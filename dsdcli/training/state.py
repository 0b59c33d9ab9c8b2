"""The state of a training on disk: what it takes to go on with the numbers of one that was never stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dsdcli.errors import DataError
from dsdcli.network.checkpoint import load_tensors, save_tensors
from dsdcli.network.model import UndoNet

STATE = "state.safetensors"


def save_state(
    folder: Path,
    model: UndoNet,
    average: UndoNet,
    optimizer: torch.optim.Optimizer,
    walk: torch.Generator,
    progress: dict[str, Any],
) -> None:
    """Write all of it in one atomic file.

    Args:
        walk: draws doses and walks.
        progress: what else there is, as JSON.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    names = [name for name, _ in model.named_parameters()]
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{names[index]}.{k}": v for k, v in state.items()}
    tensors["walk"] = walk.get_state()
    save_tensors(folder / STATE, tensors, {"progress": json.dumps(progress)})


def restore_state(
    folder: Path,
    model: UndoNet,
    average: UndoNet,
    optimizer: torch.optim.Optimizer,
    walk: torch.Generator,
    take: Callable[[dict[str, Any]], None],
) -> None:
    """Bring all of it to where `save_state` was called.

    Args:
        take: sets what the ``progress`` says.

    Raises:
        UsageError: no state there.
        DataError: the state is truncated or damaged, or belongs to another architecture.
    """
    from safetensors import safe_open

    tensors = load_tensors(folder / STATE)
    try:
        with safe_open(folder / STATE, "pt") as file:
            progress = json.loads(file.metadata()["progress"])
        for name, module in (("model.", model), ("average.", average)):
            module.load_state_dict({k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)})
        names = [name for name, _ in model.named_parameters()]
        keys = ("step", "exp_avg", "exp_avg_sq")
        moments = {i: {k: tensors[f"adam.{n}.{k}"] for k in keys} for i, n in enumerate(names)}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        walk.set_state(tensors["walk"])
        take(progress)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / STATE} is damaged or does not fit this run; start a new run") from error
