"""To begin a training with the weights of another model."""

from dsdcli.errors import UsageError
from dsdcli.network.conditions import retold
from dsdcli.network.model import TABLES, UndoNet


def start_from(model: UndoNet, *networks: UndoNet) -> None:
    """Give the networks the weights of a model instead of random ones; classes and properties that it is not told begin
    without an effect.

    Raises:
        UsageError: they differ in architecture, dimension or number of phases.
    """
    for network in networks:
        weights = {name: tensor for name, tensor in model.state_dict().items() if name not in TABLES}
        if model.conditions != network.conditions:
            weights = retold(weights, model.conditions, network.conditions)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(
                "the model to start from has another preset, dimension or number of phases than this run"
            ) from error
