"""A model on disk: a folder with config.json and weights as safetensors; nothing is ever unpickled."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dsdcli.errors import DataError, UsageError
from dsdcli.files import atomic, parse_json, write_json
from dsdcli.network.catalogue import CONFIG, WEIGHTS
from dsdcli.network.config import ModelConfig
from dsdcli.network.intensity import network_of
from dsdcli.network.model import OF_NEAR, UndoNet
from dsdcli.network.tabled import OF_CLASSES, TABLES


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    with atomic(path) as temporary:
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, metadata)
        except SafetensorError as error:  # its own type hides the system's error, such as a full disk
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        DataError: it is truncated, damaged or not such a file.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}") from error
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"cannot read {path}: truncated, damaged or not safetensors ({error}); use another copy"
        ) from error


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write config.json into the model folder."""
    write_json(folder / CONFIG, config.to_json())


def locate(path: Path) -> tuple[Path, Path]:
    """The config and weights files of a model folder, a run folder or a weights file.

    Raises:
        UsageError: nothing there, or one of the two is missing.
    """
    path = Path(path)
    if path.is_file():
        folder, weights = path.parent, path
    else:
        folder = path
        found = [path / name for name in WEIGHTS if (path / name).is_file()]
        if not found:
            raise UsageError(f"no model in {path}: expected one of {', '.join(WEIGHTS)} beside {CONFIG}")
        weights = found[0]
    if not (folder / CONFIG).is_file():
        raise UsageError(f"no {CONFIG} beside {weights.name} in {folder}: a model is a folder with both")
    return folder / CONFIG, weights


def load_config(path: Path) -> ModelConfig:
    """The configuration of the model at ``path`` (folder or weights file).

    Raises:
        UsageError: no model there.
        DataError: its config.json is damaged.
    """
    return read_config(locate(path)[0])


def read_config(config_path: Path) -> ModelConfig:
    """The configuration in a config.json.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        value = parse_json(config_path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {config_path} ({error})") from error
    try:
        return ModelConfig.from_json(value)
    except DataError as error:
        raise DataError(f"{config_path}: {error}") from error


def load_model(path: Path, device: torch.device | str = "cpu") -> UndoNet:
    """The network of the model at ``path``, ready to evaluate.

    Raises:
        UsageError: no model there.
        DataError: the weights are damaged or belong to another architecture.
    """
    config = load_config(path)
    _, weights = locate(path)
    tensors = load_tensors(weights)
    if "calibration" in tensors and tensors["calibration"].shape[-1:] == (3,):  # of earlier releases: no growth
        tensors["calibration"] = torch.nn.functional.pad(tensors["calibration"], (0, 1))
    for name in ("neighbours", OF_CLASSES.format("neighbours")):  # of earlier releases
        tensors.pop(name, None)
    if config.classes:  # of earlier releases: one for all
        for name in TABLES.keys() & tensors.keys():
            tensors[OF_CLASSES.format(name)] = torch.stack([tensors.pop(name)] * len(config.classes))
    with torch.device("meta"):  # shapes alone, however large a damaged config makes them
        empty = network_of(config)(config)
        _make_room(empty, tensors)
        wanted = {name: t.shape for name, t in empty.state_dict().items()}
    if wanted != {name: t.shape for name, t in tensors.items()}:
        raise DataError(f"the weights in {weights} do not fit its {CONFIG}; use the pair that was saved together")
    model = network_of(config)(config)
    _make_room(model, tensors)
    model.load_state_dict({name: t.float() for name, t in tensors.items()})
    return model.to(device).eval().requires_grad_(False)


def _make_room(model: UndoNet, tensors: dict[str, torch.Tensor]) -> None:
    """Give a model the tables, and the second look, that come with its weights."""
    if any(name.startswith(OF_NEAR) for name in tensors) and not model.config.species:
        model.look_again()
    for name, shape in model.room_for_tables().items():
        if name in tensors:
            setattr(model, name, torch.empty(shape))


def digest(path: Path) -> str:
    """SHA-256 of config and weights: names the model exactly, in audit records."""
    total = hashlib.sha256()
    for part in locate(path):
        total.update(part.read_bytes())
    return total.hexdigest()
