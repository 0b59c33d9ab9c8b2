"""To begin a training with the weights of another model."""

from collections.abc import Mapping, Sequence

import torch

from dsdcli.errors import UsageError
from dsdcli.network.conditions import ENTRY, names, retold
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import OF_NEAR, UndoNet


def start_from(model: UndoNet, *networks: UndoNet, order: Sequence[int] | None = None) -> None:
    """Give the networks the weights of a model instead of random ones; classes and properties that it is not told begin
    without an effect.

    Args:
        order: which phase of the model stands for each phase of the networks; by default the one in its place.

    Raises:
        UsageError: they differ in architecture, dimension or number of phases.
    """
    tables = model.room_for_tables()
    for network in networks:
        weights = {
            name: tensor
            for name, tensor in model.state_dict().items()
            if name not in tables and not name.startswith(OF_NEAR)  # these follow from finished weights
        }
        if order is not None and list(order) != list(range(model.phases)):
            weights = reordered(weights, order, model.config)
        if model.conditions != network.conditions:
            weights = retold(weights, model.conditions, network.conditions)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(
                "the model to start from has another preset, dimension or number of phases than this run"
            ) from error


def reordered(
    weights: Mapping[str, torch.Tensor], order: Sequence[int], config: ModelConfig
) -> dict[str, torch.Tensor]:
    """The weights of a network whose phase i is the phase ``order[i]`` of the one that has these weights."""
    phases, directions, fold = len(order), 2 * config.ndim, config.architecture.patch**config.ndim
    inputs = [*order, phases, *(phases + 1 + k for k in order)]  # counts, the mask, what is known
    outputs = [directions * k + v for k in order for v in range(directions)]  # rates
    outputs += [directions * phases + k for k in order]  # logits
    told = names(phases, (), ())
    places = [told.index(f"phase {k}") for k in range(phases)]
    first = weights["net.first.weight"]
    entry = weights[ENTRY].clone()
    entry[:, places] = weights[ENTRY][:, [places[k] for k in order]]
    return {
        **weights,
        "net.stem.weight": weights["net.stem.weight"][:, inputs],
        "net.first.weight": first.unflatten(1, (-1, fold))[:, inputs].flatten(1),
        "net.last.weight": weights["net.last.weight"][outputs],
        "net.last.bias": weights["net.last.bias"][outputs],
        ENTRY: entry,
    }
