"""Laws of holes: the walk inside, walls that nothing crosses, counts of every part, and surroundings left alone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import chisquare

from dsdcli.process.hole import Hole
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import LongWaves
from dsdcli.process.prior import slow_waves
from dsdcli.process.walk import Particles, forward, hole_kernel, leap, scatter
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.holes import MOST_SITES, Holes, random_boxes
from dsdcli.training.loss import Walked
from tests.conftest import random_model

BOUNDARIES = ["noflux", "periodic"]


def hole(text: str, boundary: str = "noflux") -> Hole:
    """A hole drawn in characters: # is walkable; rows by newlines, layers by blank lines."""
    layers = [[list(row) for row in layer.split()] for layer in text.strip().split("\n\n")]
    mask = np.array(layers) == "#"
    mask = mask if len(layers) > 1 else mask[0]
    return Hole(mask.shape, boundary, mask=mask)


HOLES = {
    "free": hole(".....\n.###.\n..#.#\n.####"),
    "ring": hole("##.#\n..##\n#.##\n##.#", "periodic"),
    "loop": hole(".#.\n###\n.#.", "periodic"),  # goes around both axes
    "parts": hole("##..#\n##.##\n.....\n###.#"),  # boxes and an L
    "two": hole("#.\n##", "periodic"),  # sides of 2: the same neighbour on either hand
    "volume": hole("##.\n.##\n\n#..\n###\n\n...\n##."),
    "box": hole("....\n.###\n.###"),
    "box on a ring": hole("....\n.##.\n.##.", "periodic"),
}


def neighbour(hole: Hole, site: tuple[int, ...], direction: int) -> tuple[int, ...] | None:
    """Where a hop leads, None if it cannot happen."""
    there = list(site)
    axis, back = divmod(direction, 2)
    there[axis] += -1 if back else 1
    if hole.boundary == "periodic":
        there[axis] %= hole.shape[axis]
    open_ = 0 <= there[axis] < hole.shape[axis] and hole.mask[tuple(there)]
    return tuple(there) if open_ else None


def walker(hole: Hole) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """The sites in row-major order, and the generator of one walker on them, hop by hop."""
    sites = [tuple(site) for site in np.argwhere(hole.mask).tolist()]
    number = {site: i for i, site in enumerate(sites)}
    rates = np.zeros((len(sites), len(sites)))
    for site, direction in itertools.product(sites, range(hole.directions)):
        there = neighbour(hole, site, direction)
        if there is not None:
            rates[number[there], number[site]] += 1
            rates[number[site], number[site]] -= 1
    return sites, rates


def many(hole: Hole, site: tuple[int, ...], n: int) -> Particles:
    return Particles(torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64), torch.tensor([site] * n))


@pytest.mark.parametrize("dose", [0.3, 4.0])
@pytest.mark.parametrize("name", HOLES)
def test_forward_draw_follows_the_graph(name, dose):
    hole = HOLES[name]
    sites, rates = walker(hole)
    origin = len(sites) // 3
    expected = expm(dose * rates)[:, origin]
    s = torch.tensor([dose], dtype=torch.float64)
    start = many(hole, sites[origin], 20_000)
    np.testing.assert_allclose(hole_kernel(many(hole, sites[origin], 1), s, hole)[0], expected, atol=1e-13)
    now, _ = forward(start, s, hole, torch.Generator().manual_seed(1))
    observed = now.occupancy(hole, 1, 1)[0, 0]
    assert observed[~hole.walkable()].sum() == 0
    observed = observed[hole.walkable()].numpy()
    likely = expected * len(start) > 5
    assert observed[expected < 1e-9].sum() == 0
    observed, expected = (np.append(x[likely], max(x[~likely].sum(), 1e-9)) for x in (observed, expected))
    assert chisquare(observed, expected / expected.sum() * observed.sum()).pvalue > 1e-4


@pytest.mark.parametrize("name", HOLES)
def test_undo_counts_are_ratios_of_the_graph_kernel(name):
    hole = HOLES[name]
    sites, rates = walker(hole)
    number = {site: i for i, site in enumerate(sites)}
    doses = torch.tensor([0.4, 3.0], dtype=torch.float64)
    origins = torch.tensor(sites).repeat(2, 1)
    start = Particles(
        torch.arange(2).repeat_interleave(len(sites)), torch.zeros(len(origins), dtype=torch.int64), origins
    )
    now, undo = forward(start, doses, hole, torch.Generator().manual_seed(2))
    kernels = [expm(s * rates) for s in doses.tolist()]
    for image, x0, x, got in zip(
        now.image.tolist(), start.site.tolist(), now.site.tolist(), undo.tolist(), strict=True
    ):
        p = kernels[image][:, number[tuple(x0)]]
        for direction, count in enumerate(got):
            there = neighbour(hole, tuple(x), direction)
            ratio = 0 if there is None else p[number[there]] / p[number[tuple(x)]]
            assert count == pytest.approx(doses[image].item() * ratio, rel=1e-8)


@pytest.mark.parametrize("name", HOLES)
def test_smoothing_is_the_walk(name):
    hole = HOLES[name]
    _, rates = walker(hole)
    field = torch.randn(2, 3, *hole.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = smooth(field, torch.tensor([2.5]), hole)
    inside = hole.walkable()
    np.testing.assert_allclose(got[..., inside], field[..., inside].numpy() @ expm(2.5 * rates), atol=1e-12)
    assert got[..., ~inside].abs().sum() == 0


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_hole_as_large_as_the_lattice_is_the_lattice(boundary):
    lattice = Lattice((4, 1, 5), boundary)
    hole = Hole(lattice.shape, boundary, mask=np.ones(lattice.shape, bool))
    assert torch.equal(hole.open_bonds(), lattice.open_bonds())
    rng = torch.Generator().manual_seed(0)
    site = lattice.unravel(torch.randint(lattice.sites, (500,), generator=rng))
    step = torch.randint(-30, 31, (500, 3), generator=rng)
    assert torch.equal(hole.move(site, step), lattice.move(site, step))
    field = torch.randn(1, 1, *lattice.shape, generator=rng, dtype=torch.float64)
    dose = torch.tensor([1.7])
    torch.testing.assert_close(smooth(field, dose, hole), smooth(field, dose, lattice))


@st.composite
def random_holes(draw, most=6):
    """Any mask, connected or not, at borders or not, in one to three dimensions."""
    shape = tuple(draw(st.lists(st.integers(1, most), min_size=1, max_size=3)))
    share = draw(st.sampled_from([0.3, 0.6, 0.9, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    mask = rng.random(shape) < share
    mask.flat[rng.integers(mask.size)] = True
    return Hole(shape, draw(st.sampled_from(BOUNDARIES)), mask=mask)


@settings(max_examples=60, deadline=None)
@given(random_holes(), st.integers(0, 10**6))
def test_a_move_goes_hop_by_hop_and_turns_round_at_closed_bonds(hole, seed):
    """One axis after another, which one first alternating from site to site."""
    rng = np.random.default_rng(seed)
    sites = np.argwhere(hole.mask)[rng.integers(hole.mask.sum(), size=8)]
    steps = rng.integers(-15, 16, sites.shape)
    moved = hole.move(torch.from_numpy(sites), torch.from_numpy(steps)).tolist()
    for site, step, got in zip(sites.tolist(), steps.tolist(), moved, strict=True):
        at, first = tuple(site), sum(site) % hole.ndim
        for axis in (*range(first, hole.ndim), *range(first)):
            back = step[axis] < 0
            for _ in range(abs(step[axis])):
                there = neighbour(hole, at, 2 * axis + back)
                at, back = (there, back) if there is not None else (at, not back)
        assert tuple(got) == at


@settings(max_examples=40, deadline=None)
@given(random_holes(), st.integers(0, 10**6), st.sampled_from([0.4, 3.0, 40.0]))
def test_every_part_conserves_every_count_in_every_leap(hole, seed, hops):
    generators = [torch.Generator().manual_seed(seed + i) for i in range(2)]
    counts = torch.tensor([[9, 0], [1, 30]])
    inside = hole.walkable().double().expand(2, 2, *hole.shape)
    now = scatter(counts, hole, generators, inside)
    parts = torch.from_numpy(hole.parts)

    def totals() -> list[torch.Tensor]:
        occupancy = now.occupancy(hole, 2, 2)
        return [occupancy[..., parts == part].sum(-1) for part in range(parts.max() + 1)]

    before = totals()
    assert before[0].sum() == 0
    for _ in range(3):
        mean = torch.rand(len(now), hole.directions, generator=generators[0]) * hops
        now = leap(now, mean, mean, hole, generators)
        assert all(torch.equal(a, b) for a, b in zip(before, totals(), strict=True))


def test_parts_touch_across_faces_and_around_the_ring():
    text = "##..#\n..#..\n.##.."
    assert hole(text).parts.tolist() == [[1, 1, 0, 0, 2], [0, 0, 3, 0, 0], [0, 3, 3, 0, 0]]
    assert hole(text, "periodic").parts.tolist() == [[1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 1, 0, 0]]


@settings(max_examples=30, deadline=None)
@given(random_holes())
def test_mixing_dose_is_four_over_the_slowest_rate(hole):
    _, rates = walker(hole)
    slowest = np.sort(np.linalg.eigvalsh(-rates))[hole.parts.max() :]  # one rate of zero for each part
    expected = 4 / slowest[0] if len(slowest) else 0
    assert hole.mixing_dose() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_mixing_dose_of_large_holes():
    """Beyond what goes through a dense matrix: a box without a corner, and a ring closed on itself."""
    mask = np.ones((24, 30), bool)
    mask[:10, :9] = False
    large = Hole((24, 30), mask=mask)
    _, rates = walker(large)
    assert large.mixing_dose() == pytest.approx(4 / np.linalg.eigvalsh(-rates)[1], rel=1e-6)
    mask = np.zeros((24, 100), bool)
    mask[3:8] = True
    around = Hole((24, 100), "periodic", mask=mask)
    assert around.mixing_dose() == pytest.approx(4 / (2 - 2 * np.cos(2 * np.pi / 100)), rel=1e-6)


def test_only_a_mask_that_fits_makes_a_hole():
    for mask in (np.ones((3, 4), bool), np.zeros((4, 4), bool), np.ones((4, 4), np.uint8)):
        with pytest.raises(ValueError, match="bool mask"):
            Hole((4, 4), mask=mask)


MODELS = {(phases, ndim): random_model(phases, ndim, seed=phases) for phases in (2, 3, 4) for ndim in (1, 2, 3)}


def fill(model, totals, hole, around, seed=0, batch=64):
    """Filled images (n, *L)."""
    return stack_of(generate(model, totals, hole, Trapezoidal(steps=2), seed, batch, around))


def content(image: np.ndarray, hole: Hole, phases: int) -> np.ndarray:
    """Voxels of every phase in every part, int64 (R, K)."""
    return np.stack([np.bincount(image[hole.parts == r], minlength=phases) for r in range(1, hole.parts.max() + 1)])


@settings(max_examples=40, deadline=None)
@given(random_holes(), st.integers(2, 4), st.integers(0, 10**6), st.sampled_from(["any", "one", "all but one", "all"]))
def test_inside_exact_outside_untouched(hole, phases, seed, request):
    """Whatever the hole, the counts and the network: several parts, borders, one voxel of a phase, none, all."""
    rng = np.random.default_rng(seed)
    around = rng.integers(phases, size=hole.shape).astype(np.uint8)
    sizes = np.bincount(hole.parts.ravel())[1:]
    rows = []
    for size in sizes:
        few = {"one": 1, "all but one": int(size) - 1, "all": int(size)}.get(request)
        row = rng.multinomial(size, rng.dirichlet(np.ones(phases)))
        if few is not None:
            a, b = rng.permutation(phases)[:2]
            row = np.zeros(phases, np.int64)
            row[a], row[b] = few, size - few
        rows.append(row)
    totals = np.stack([rows, content(around, hole, phases)])
    images = fill(MODELS[phases, hole.ndim], totals, hole, around, seed)
    for image, wanted in zip(images, totals, strict=True):
        assert np.array_equal(image[~hole.mask], around[~hole.mask])
        assert np.array_equal(content(image, hole, phases), wanted)


@pytest.fixture
def job():
    """A three-phase image with a free-form hole of two parts, and five requests."""
    rng = np.random.default_rng(3)
    around = rng.integers(3, size=(14, 18)).astype(np.uint8)
    mask = np.zeros((14, 18), bool)
    mask[2:9, 3:8] = mask[4:6, 6:13] = mask[12:, 15:] = True
    hole = Hole((14, 18), mask=mask)
    sizes = np.bincount(hole.parts.ravel())[1:]
    totals = np.stack([[rng.multinomial(size, [0.3, 0.3, 0.4]) for size in sizes] for _ in range(5)])
    return MODELS[3, 2], totals, hole, around


def test_fillings_depend_on_their_seed_alone(job):
    model, totals, hole, around = job
    whole = fill(model, totals, hole, around, seed=5)
    assert np.array_equal(whole, fill(model, totals, hole, around, seed=5, batch=2))
    assert np.array_equal(whole[:2], fill(model, totals[:2], hole, around, seed=5, batch=1))
    assert not np.array_equal(whole, fill(model, totals, hole, around, seed=6))


def test_every_part_starts_with_its_own_particles(job, monkeypatch):
    model, totals, hole, around = job
    started = []
    monkeypatch.setattr(Trapezoidal, "walk", lambda self, walkers, *rest: started.append(walkers) or ())
    fill(model, totals, hole, around)
    occupancy = started[0].occupancy(hole, len(totals), model.phases).numpy()
    for part in range(1, totals.shape[1] + 1):
        assert np.array_equal(occupancy[..., hole.parts == part].sum(-1), totals[:, part - 1])


def test_slow_waves_of_a_hole_keep_the_totals_of_its_parts():
    two = hole("####..#\n####.##\n...#..#")
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    fractions = torch.tensor([[0.4], [0.4], [0.0]]).double()
    law = LongWaves(torch.tensor([[0.5]]).double(), torch.tensor([0.4]).double())
    waves = slow_waves(fractions, law, 2.0, two, generators)
    assert waves[..., ~two.walkable()].sum() == 0
    for part in (1, 2):
        inside = waves[..., torch.from_numpy(two.parts == part)]
        torch.testing.assert_close(inside.mean(-1), fractions)
        assert (inside.std(-1) > 1e-3).flatten().tolist() == [True, True, False]


def test_what_was_in_the_hole_is_not_seen_and_what_is_around_it_is(job):
    model, totals, hole, around = job
    emptied, other = around.copy(), around.copy()
    emptied[hole.mask] = 0
    other[~hole.mask] = (other[~hole.mask] + 1) % 3
    filled = fill(model, totals, hole, around)
    assert np.array_equal(filled, fill(model, totals, hole, emptied))
    assert not np.array_equal(filled[:, hole.mask], fill(model, totals, hole, other)[:, hole.mask])


def test_training_walks_inside_and_freezes_the_rest(job):
    """Outside the counts are the image's; inside they keep their totals; no particle there wants to hop out."""
    _, _, hole, around = job
    images = torch.from_numpy(around)[None].long()
    walked = Walked.draw(images, 3, torch.tensor([30.0]).double(), hole, torch.Generator().manual_seed(0))
    clean = torch.stack([images == phase for phase in range(3)], 1)
    inside = hole.walkable()
    assert torch.equal(walked.counts[..., ~inside], clean[..., ~inside].long())
    assert not torch.equal(walked.counts[..., inside], clean[..., inside].long())
    assert torch.equal(walked.counts.flatten(2).sum(2), clean.flatten(2).sum(2))
    assert walked.walking[..., ~inside].sum() == walked.ratio[..., ~inside].abs().sum() == 0
    assert walked.walking[:, :, ~hole.open_bonds()].sum() == walked.ratio[:, :, ~hole.open_bonds()].abs().sum() == 0
    assert walked.particles.tolist() == [clean[..., inside].sum().item()]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_boxes_to_train_on_do_not_touch_not_even_around_the_ring(boundary):
    rng = np.random.default_rng(0)
    for hole in (random_boxes(Lattice((16, 16), boundary), rng) for _ in range(200)):
        assert all(piece.box is not None for piece in hole.pieces)


@pytest.mark.parametrize("shape", [(32, 32), (10, 12, 11)])
def test_training_draws_half_of_the_crops_in_boxes_and_free_form_holes(shape):
    holes = Holes(Lattice(shape), 0.5, 0)
    rng = np.random.default_rng(0)
    drawn = [holes.draw(6, rng) for _ in range(300)]
    assert all(sum(n for n, _ in parts) == 6 for parts in drawn)
    share = dict.fromkeys(("whole", "boxes", "free"), 0.0)
    several = set()
    for n, domain in itertools.chain.from_iterable(drawn):
        kind = "whole"
        if isinstance(domain, Hole):
            sizes = np.array([piece.mask.sum() for piece in domain.pieces])
            kind = "boxes" if all(piece.box is not None for piece in domain.pieces) else "free"
            several |= {kind} if len(sizes) > 1 else set()
            assert 0 < sizes.sum() == domain.mask.sum() <= 0.6 * domain.sites
            assert kind == "boxes" or (sizes**2).sum() <= MOST_SITES**2
        share[kind] += n / 6 / len(drawn)
    assert several == {"boxes", "free"}
    assert list(share.values()) == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
