"""What one image says of its material: laws on a mosaic, whose fraction and integral range are known."""

import numpy as np
import pytest

from dsdcli.data.phases import IGNORED
from dsdcli.evaluation.representative import doubt_fractions, phase_fractions
from dsdcli.evaluation.window_sizes import fraction_spreads, metric_spreads, window_sides
from dsdcli.evaluation.workers import Workers

NAMES = ("pore", "solid")


def mosaic(shape, grain, fraction, rng):
    """Blocks of ``grain`` voxels a side, each pore or solid by chance, on a grid anywhere: the integral range is
    a block."""
    coarse = (rng.random([side // grain + 2 for side in shape]) >= fraction).astype(np.uint8)
    for axis, side in enumerate(shape):
        start = rng.integers(grain)
        coarse = np.repeat(coarse, grain, axis)[(slice(None),) * axis + (slice(start, start + side),)]
    return coarse


@pytest.mark.parametrize(
    ("shape", "grain", "fraction"), [((64, 64), 5, 0.3), ((24, 24, 24), 3, 0.15), ((96, 40), 5, 0.6)]
)
def test_interval_and_integral_range_of_a_mosaic(shape, grain, fraction):
    rng = np.random.default_rng(5)
    found = [phase_fractions([mosaic(shape, grain, fraction, rng)], NAMES)[0] for _ in range(60)]
    spoken = [about for about in found if about.speaks]
    assert len(spoken) > 50
    assert 0.87 <= np.mean([about.low <= fraction <= about.high for about in spoken]) <= 1
    assert np.median([about.integral_range for about in spoken]) == pytest.approx(grain ** len(shape), rel=0.3)
    assert np.mean([about.integral_low <= grain ** len(shape) <= about.integral_high for about in spoken]) > 0.8


def test_few_volumes_are_counted_with_caution():
    rng = np.random.default_rng(2)
    small = [phase_fractions([mosaic((40, 40), 6, 0.3, rng)], NAMES)[0] for _ in range(60)]
    large = phase_fractions([mosaic((400, 400), 3, 0.3, rng)], NAMES)[0]

    def by_waves(about):
        side = 40 if about in small else 400
        return side**2 / about.integral_range

    for about in small:
        assert by_waves(about) > 18 or about.volumes <= np.prod(about.widths) / 4 * (1 + 1e-9)
    assert min(map(by_waves, small)) <= 18
    assert large.volumes == pytest.approx(by_waves(large), rel=0.1)
    narrow = phase_fractions([mosaic((23, 90), 3, 0.3, rng)], NAMES)[0]
    assert not narrow.speaks and min(narrow.widths) > 3 and narrow.volumes > 5


def test_the_interval_narrows_with_the_image():
    rng = np.random.default_rng(0)
    small, large = (phase_fractions([mosaic((side, side), 4, 0.4, rng)], NAMES)[0] for side in (64, 512))
    assert large.high - large.low < 0.3 * (small.high - small.low)
    assert large.volumes > 20 * small.volumes


def test_two_phases_mirror_each_other():
    pore, solid = phase_fractions([mosaic((64, 64), 4, 0.3, np.random.default_rng(1))], NAMES)
    assert (solid.fraction, solid.low, solid.high) == pytest.approx((1 - pore.fraction, 1 - pore.high, 1 - pore.low))
    assert solid.integral_range == pore.integral_range


def test_side_for_an_error():
    pore, solid = phase_fractions([mosaic((128, 128, 64), 4, 0.2, np.random.default_rng(2))], NAMES)
    f = pore.fraction
    assert pore.volume_for(0.05) == pytest.approx(1.96**2 * pore.integral_range * (1 - f) / f / 0.05**2)
    assert pore.side_for(0.1) ** 3 == pytest.approx(pore.volume_for(0.1))
    assert pore.volume_for(0.05) == pytest.approx(4 * pore.volume_for(0.1))
    assert solid.volume_for(0.05) < pore.volume_for(0.05)  # relative to its larger fraction


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32), np.uint8),
        np.arange(400, dtype=np.uint8).reshape(20, 20) % 20 // 10,
        np.eye(2, dtype=np.uint8),
    ],
)
def test_too_small_images_do_not_speak(image):
    assert not any(about.speaks for about in phase_fractions([image], NAMES))


def test_differences_between_many_images_count():
    """Each is uniform, so that nothing inside them says how much they differ."""
    rng = np.random.default_rng(4)
    images = [np.full((16, 16), rng.integers(2), np.uint8) for _ in range(40)]
    pore = phase_fractions(images, NAMES)[0]
    assert pore.speaks and pore.freedom == 39
    assert pore.volumes == pytest.approx(40, rel=0.1)
    assert 0.25 < pore.high - pore.low < 0.4


def test_left_out_voxels_count_nowhere():
    rng = np.random.default_rng(6)
    inner = mosaic((90, 90), 4, 0.3, rng)
    framed = np.full((120, 130), IGNORED, np.uint8)
    framed[10:100, 20:110] = inner
    alone, within = (phase_fractions([image], NAMES)[0] for image in (inner, framed))
    assert within.fraction == alone.fraction
    assert within.lengths == pytest.approx(alone.lengths, rel=0.1)
    assert 0.5 < within.volumes / alone.volumes < 2
    for spread in fraction_spreads([framed], [within, within]):
        assert spread.windows <= (90 // spread.side) ** 2


def test_lengths_know_the_axes():
    stretched = mosaic((120, 120), 4, 0.5, np.random.default_rng(7)).repeat(3, axis=1)[:, :200]
    across, along = phase_fractions([stretched], NAMES)[0].lengths
    assert along == pytest.approx(3 * across, rel=0.3)


def test_doubts_name_the_widest_interval_and_end_with_the_image():
    rng = np.random.default_rng(8)
    (line,) = doubt_fractions([mosaic((96, 96), 4, 0.2, rng)], NAMES)
    assert "volume fraction of pore" in line and "(95 %)" in line
    assert "too small" in doubt_fractions([np.arange(400, dtype=np.uint8).reshape(20, 20) % 20 // 10], NAMES)[0]
    assert doubt_fractions([mosaic((64, 64, 64), 2, 0.5, rng)], NAMES) == []


def test_spread_of_fractions_follows_the_integral_range():
    image = mosaic((256, 256), 4, 0.3, np.random.default_rng(9))
    spreads = [
        spread for spread in fraction_spreads([image], phase_fractions([image], NAMES)) if spread.subject == "pore"
    ]
    assert [spread.side for spread in spreads] == window_sides([image]) == [8, 16, 32, 64, 128]
    for spread in spreads[1:4]:
        assert spread.deviation == pytest.approx(np.sqrt(0.21) * 4 / spread.side, rel=0.35)
        assert spread.expected == pytest.approx(np.sqrt(0.21) * 4 / spread.side, rel=0.6)


def test_metrics_in_windows():
    image = mosaic((64, 64), 4, 0.3, np.random.default_rng(10))
    draw = [metric_spreads([image], NAMES, ["interface"], Workers(jobs=1), np.random.default_rng(s)) for s in (1, 1, 2)]
    assert draw[0] == draw[1] != draw[2]
    assert [(spread.subject, spread.side, spread.windows) for spread in draw[0]] == [
        ("pore|solid", 8, 16),
        ("pore|solid", 16, 16),
        ("pore|solid", 32, 4),
    ]
    assert draw[0][2].mean == pytest.approx(
        2 * 0.42 / 4, rel=0.3
    )  # a face of each block and axis, unlike with 2 f (1 - f)
