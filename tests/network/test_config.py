"""A model's config.json: what is written can be read, what means nothing is refused in one line, and nothing else."""

import copy
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdcli.data.phases import Phase
from dsdcli.errors import DataError
from dsdcli.network.catalogue import shipped_models
from dsdcli.network.checkpoint import read_config
from dsdcli.network.config import Architecture, Material, ModelConfig

CONFIG = ModelConfig(
    phases=(Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170)),
    fractions=(0.5, 0.3, 0.2),
    boundary="noflux",
    size=(16, 16),
    dose_min=0.05,
    dose_max=40.0,
    integral_range=((9.0, -2.0, 0.0), (-2.0, 5.0, 0.0), (0.0, 0.0, 1.0)),
    architecture=Architecture((8, 16)),
    voxel_size=2.0,
    voxel_unit="um",
)


CLASSES = replace(
    CONFIG,
    classes=(
        Material("fine", (0.5, 0.3, 0.2), CONFIG.integral_range, (0.5, 0.0, -1.0)),
        Material("coarse", (0.0, 0.5, 0.5), ((0.0, 0.0, 0.0), (0.0, 9.0, -9.0), (0.0, -9.0, 9.0))),
    ),
)


def as_read(config):
    return json.loads(json.dumps(config.to_json()))


def places(value, path=()):
    """The path of every value in nested JSON."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def changed(value, path, new):
    """A copy with another value at a path."""
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


def test_what_is_written_is_read():
    for config in (CONFIG, CLASSES, replace(CONFIG, range_exponents=(0.5, 0.0, -0.5))):
        assert ModelConfig.from_json(as_read(config)) == config
    for folder in shipped_models().values():
        config = read_config(folder / "config.json")
        assert ModelConfig.from_json(as_read(config)) == config


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (("phases", 1, "label"), 0, "distinct labels"),
        (("phases", 1, "name"), "pore", "distinct names"),
        (("phases", 1, "label"), 1.5, "whole number"),
        (("phases", 1, "label"), 2**64, "whole number"),
        (("phases", 1, "colour"), "red", r"phases\[1\]\.colour is unknown"),
        (("carried",), [0, 1], "3 entries"),
        (("carried",), [0, 0, 1], "must be all phases"),
        (("fractions", 0), 0.6, "shares of 1"),
        (("fractions", 0), math.nan, "finite"),
        (("boundary",), "open", "noflux or periodic"),
        (("size",), [16] * 4, "1 to 3 entries"),
        (("size", 0), True, "whole number"),
        (("dose_min",), math.inf, "finite"),
        (("dose_min",), 40.0, "larger than dose_min"),
        (("dose_min",), -1, "positive"),
        (("integral_range", 0, 1), -1.0, "symmetric"),
        (("integral_range", 0, 0), -9.0, "positive semi-definite"),
        (("integral_range", 0), [], "3 entries"),
        (("integral_range", 0, 0), None, "finite"),
        (("voxel_size",), math.nan, "finite"),
        (("voxel_size",), 10**400, "finite"),
        (("voxel_unit",), None, "voxel_unit lacks its size"),
        (("architecture", "kernel"), 4, "odd"),
        (("architecture", "kind"), "transformer", "must be local"),
        (("architecture", "channels"), [], "1 to 8 entries"),
        (("architecture", "heads"), 4, r"architecture\.heads is unknown"),
        (("architecture",), 5, "no JSON object"),
        (("classes",), [], "1 to 1024 entries"),
        (("classes",), None, "must be a list"),
        (("classes", 1, "name"), "fine", "distinct names"),
        (("classes", 1, "fractions", 0), 0.5, r"classes\[1\]\.fractions must be shares"),
        (("classes", 0, "integral_range", 0, 1), 3.0, r"classes\[0\]\.integral_range must be symmetric"),
        (("classes", 0, "range_exponents", 2), 1.5, r"classes\[0\]\.range_exponents must lie between -1 and 1"),
        (("classes", 0, "range_exponents"), [0.5], "3 entries"),
        (("classes", 0, "colour"), "red", r"classes\[0\]\.colour is unknown"),
        (("surprise",), 1, "surprise is unknown"),
        (("format_version",), [], "install a matching dsd"),
    ],
)
def test_what_means_nothing_is_refused(path, new, said):
    with pytest.raises(DataError, match=said):
        ModelConfig.from_json(changed(as_read(CLASSES), path, new))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([2**63, -1, 10**400, 1e308, "", "pore", "noflux", "x" * 5000])
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
FORMATS = [
    as_read(CONFIG),
    as_read(CLASSES),
    *(json.loads((f / "config.json").read_bytes()) for f in shipped_models().values()),
]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), config=st.sampled_from(FORMATS), new=JSON)
def test_any_change_gives_a_config_or_one_line(data, config, new):
    for _ in range(data.draw(st.integers(1, 2))):
        config = changed(config, data.draw(st.sampled_from(list(places(config)))), new)
    try:
        loaded = ModelConfig.from_json(config)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert ModelConfig.from_json(as_read(loaded)) == loaded
