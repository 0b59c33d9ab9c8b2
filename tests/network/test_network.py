"""The network: walls, rings, odd sizes, the likelihood, files."""

import json

import pytest
import torch

from dsdcli.data.phases import Phase
from dsdcli.errors import DataError, UsageError
from dsdcli.network.checkpoint import digest, load_model, save_config, save_tensors
from dsdcli.network.config import Architecture, ModelConfig, preset
from dsdcli.network.local import SLAB_SITES, Block, Depthwise, LocalNet, Whole, fold_last, unfold_last
from dsdcli.network.model import Given, UndoNet, tempered
from dsdcli.pipeline.describe import describe_model
from dsdcli.process.lattice import Lattice
from dsdcli.training.loss import Walked, losses


def make_model(ndim=2, boundary="noflux", seed=0) -> UndoNet:
    torch.manual_seed(seed)
    phases = (Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170))
    config = ModelConfig(
        phases,
        (0.5, 0.3, 0.2),
        boundary,
        (16,) * ndim,
        0.05,
        40.0,
        tuple(tuple(5.0 * (i == j) for j in range(3)) for i in range(3)),
        Architecture((8, 16)),
    )
    model = UndoNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.net.last.weight, std=0.2)
    return model


def counts_like(shape, seed=0):
    return torch.poisson(torch.full(shape, 0.3), generator=torch.Generator().manual_seed(seed)).long()


@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), (8,)])
def test_patches_fold_and_unfold(shape):
    x = torch.randn(2, *shape, 3)
    folded = fold_last(x, 2)
    assert folded.shape == (2, *(side // 2 for side in shape), 3 * 2 ** len(shape))
    first = (slice(None), *(slice(2),) * len(shape))
    assert sorted(folded[(0, *(0,) * len(shape))].tolist()) == sorted(x[first][0].flatten().tolist())
    assert torch.equal(unfold_last(folded, 2), x)


@pytest.mark.parametrize(("ndim", "shape"), [(2, (5, 7)), (2, (16, 16)), (3, (3, 4, 5))])
@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_shapes_walls_and_positivity(ndim, shape, boundary):
    model, lattice = make_model(ndim), Lattice(shape, boundary)
    dose = torch.tensor([0.1, 20.0], dtype=torch.float64)
    h = model.undo(counts_like((2, 3, *shape)), dose, lattice)
    assert h.shape == (2, 3, 2 * ndim, *shape)
    assert torch.equal(h > 0, lattice.open_bonds().expand_as(h))
    clean = model.clean(counts_like((2, 3, *shape)), dose, lattice)
    torch.testing.assert_close(clean.sum(1), torch.ones(2, *shape, dtype=torch.float64))


def test_a_new_network_predicts_the_mean():
    """Zero-initialised last layer: all phases are equally likely everywhere; evenly spread particles have h = s."""
    config = make_model().config
    even = torch.full((1, 3, 16, 16), 2)
    h = UndoNet(config).undo(even, torch.tensor([3.0]), Lattice((16, 16), "periodic"))
    assert torch.allclose(h, torch.tensor(3.0))


@pytest.mark.parametrize(("shape", "shift"), [((16, 16), (4, 8)), ((18, 20), (1, 3))])
def test_a_ring_has_no_border(shape, shift):
    """Shifted input, shifted output; a side that does not fit the U-Net is continued around the ring instead."""
    model, lattice = make_model(), Lattice(shape, "periodic")
    x, dose = counts_like((1, 3, *shape)), torch.tensor([2.0])
    fits = all(side % model.config.architecture.multiple == 0 for side in shape)
    a = model(x, dose, [(1, lattice)]).log_ratio.roll(shift, (-2, -1))
    b = model(x.roll(shift, (-2, -1)), dose, [(1, lattice)]).log_ratio
    # The pixel grid of the U-Net breaks the symmetry slightly when the shift is not a multiple of it.
    assert torch.allclose(a, b, atol=1e-5) == fits
    edge = (a - b)[..., :2, :].abs().mean() / (a - b).abs().mean() if not fits else torch.tensor(1.0)
    assert edge < 1.5


def test_walls_are_seen():
    model = make_model()
    x, dose = torch.ones(1, 3, 16, 16, dtype=torch.int64), torch.tensor([2.0])
    walled, ring = (model(x, dose, [(1, Lattice((16, 16), wall))]).log_ratio for wall in ("noflux", "periodic"))
    assert (walled - ring)[..., 0, :].abs().max() > 1e-3
    block = model.config.architecture.multiple  # places within one differ, whole ones on a ring do not
    torch.testing.assert_close(ring, ring.roll((block, 2 * block), (-2, -1)))
    assert (walled - walled.roll(block, -1)).abs().max() > 1e-3


def test_undo_loss_is_a_divergence():
    """Non-negative, zero for nobody: the truth scores below any rescaling of itself."""

    class Known(torch.nn.Module):
        """Says the exact undo counts of a single particle, times a factor."""

        def __init__(self, ratio, factor):
            super().__init__()
            self.ratio, self.factor = ratio, factor

        def forward(self, counts, dose, domains, given):
            log = (self.ratio * self.factor).clamp_min(1e-30).log().float().view(1, 1, 4, 1, 1)
            return log.expand(1, 1, 4, *counts.shape[2:]), torch.zeros(1, 2, *counts.shape[2:])

    from dsdcli.process.image import place
    from dsdcli.process.walk import diffuse, undo_counts

    lattice, dose = Lattice((9, 9)), torch.tensor([1.5], dtype=torch.float64)
    image = torch.ones(1, 9, 9, dtype=torch.uint8)
    image[0, 4, 4] = 0
    start = place((image == 0)[:, None])
    now = diffuse(start, dose, lattice, torch.Generator().manual_seed(3))
    ratio = undo_counts(now, start, dose, lattice)[0] / dose
    walked = Walked.draw(image, 1, dose, lattice, torch.Generator().manual_seed(3))
    value = {factor: losses(Known(ratio, factor), walked).undo.item() for factor in (0.5, 1.0, 2.0)}
    assert value[1.0] == pytest.approx(0, abs=1e-5)
    assert value[0.5] > 0.01
    assert value[2.0] > 0.01


def test_model_files_round_trip(tmp_path):
    model = make_model()
    save_config(tmp_path, model.config)
    save_tensors(tmp_path / "model.safetensors", model.state_dict())
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert digest(tmp_path) == digest(tmp_path / "model.safetensors")
    assert describe_model(tmp_path)["parameters"] == sum(p.numel() for p in model.parameters())


def test_damaged_models_are_named(tmp_path):
    model = make_model()
    with pytest.raises(UsageError, match="no model in"):
        load_model(tmp_path)
    save_config(tmp_path, model.config)
    save_tensors(tmp_path / "model.safetensors", model.state_dict())
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors.*truncated"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    value = json.loads((tmp_path / "config.json").read_text())
    value["architecture"]["channels"] = [16, 16]
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="do not fit"):
        load_model(tmp_path)
    value["architecture"]["channels"] = [2**14] * 8  # would need 40 GB
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="do not fit"):
        load_model(tmp_path)
    del value["dose_max"]
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="dose_max"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="cannot read"):
        load_model(tmp_path)


def test_presets():
    assert preset("tiny") != preset("base")
    with pytest.raises(UsageError, match="tiny, small, base"):
        preset("huge")


def test_rates_that_no_particle_can_have_grow_linearly():
    dose = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)[:, None]
    most = torch.log(1 + 6 / torch.sqrt(dose) + 4 / dose)
    below = most - torch.tensor([0.0, 0.5, 3.0, 20.0], dtype=torch.float64)
    assert torch.equal(tempered(below, dose), below)
    excess = torch.tensor([1.0, 10.0, 40.0], dtype=torch.float64)
    torch.testing.assert_close(tempered(most + excess, dose).exp(), most.exp() * (1 + excess))


def test_a_site_where_the_network_errs_wildly_does_not_make_the_loss_leap():
    model = make_model()
    images = torch.randint(3, (4, 16, 16), generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    dose = torch.tensor([0.01, 0.1, 1.0, 10.0], dtype=torch.float64)
    walked = Walked.draw(images, 3, dose, Lattice((16, 16)), generator)
    calm = losses(model, walked).total.item()
    torch.nn.init.normal_(model.net.last.weight, std=20.0)
    assert losses(model, walked).total.item() < 1000 * calm  # exp of a hundred otherwise


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_nothing_beyond_its_reach_changes_an_output(ndim, boundary):
    """And all within a third of it does, so that the figure says something."""
    torch.manual_seed(1)
    architecture = Architecture((8, 8), blocks=1, fine=4)
    net = LocalNet(ndim, 2, 3, 4, architecture).eval().requires_grad_(False)
    torch.nn.init.normal_(net.last.weight)
    reach = architecture.reach
    sides = (2 * (reach + 4), *(8,) * (ndim - 1))
    x = torch.randn(1, 2, *sides, dtype=torch.float64)
    net.double()
    condition = torch.randn(1, 4, dtype=torch.float64)
    before = net(x, condition, boundary == "periodic")
    x[:, :, 0] += 1.0
    changed = (net(x, condition, boundary == "periodic") != before).flatten(3).any(-1)[0].any(0).nonzero()[:, 0]
    if boundary == "periodic":
        changed = torch.minimum(changed, sides[0] - changed)
    assert reach / 3 < changed.max() <= reach


def test_the_way_back_of_a_depthwise_convolution():
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, grad = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 6, 5, 4, 7), (6, 1, 3, 3, 3), (6,), (2, 6, 5, 4, 7))
    )
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    ours = torch.autograd.grad(Depthwise.apply(*leaves), leaves, grad)
    theirs = torch.autograd.grad(torch.nn.functional.conv3d(*leaves, padding=1, groups=6), leaves, grad)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_what_is_known_is_certain_and_changes_its_surroundings():
    model, lattice = make_model(), Lattice((16, 16))
    counts, dose = counts_like((1, 3, 16, 16)), torch.tensor([3.0], dtype=torch.float64)
    told = torch.zeros(1, 3, 16, 16, dtype=torch.bool)
    told[0, 1, 5, 5] = True
    plain, informed = (model(counts, dose, [(1, lattice)], Given(known)) for known in (None, told))
    assert informed.logits.softmax(1)[0, 1, 5, 5] == 1
    assert (informed.logits - plain.logits)[0, :, 5, 6].abs().max() > 1e-4
    nothing = model(counts, dose, [(1, lattice)], Given(torch.zeros_like(told)))
    torch.testing.assert_close(nothing.logits, plain.logits)


@pytest.mark.parametrize("ndim", [2, 3])
def test_gradients_in_bfloat16_are_those_of_float32_within_its_rounding(ndim):
    torch.manual_seed(0)
    net = LocalNet(ndim, 4, 6, 5, Architecture((8, 12), fine=4, blocks=1)).train()
    torch.nn.init.normal_(net.last.weight)
    x, condition = torch.randn(2, 4, *(8,) * ndim), torch.randn(2, 5)

    def gradient(enabled: bool) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = net(x, condition, periodic=False)
        found = torch.autograd.grad(out.float().square().mean(), list(net.parameters()))
        return torch.cat([g.flatten() for g in found])

    exact = gradient(False)
    assert (gradient(True) - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("shape", [(13, 6), (9, 4, 5)])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("slab", [1, 70])
def test_slab_by_slab_equals_the_whole(monkeypatch, shape, periodic, slab):
    torch.manual_seed(0)
    block = Block(len(shape), 6, 5, 2).eval().requires_grad_(False).double()
    x, condition = torch.randn(2, *shape, 6, dtype=torch.float64), torch.randn(2, 128, dtype=torch.float64)
    whole = block(x, condition, Whole(periodic))
    monkeypatch.setitem(SLAB_SITES, "cpu", slab)
    torch.testing.assert_close(block(x, condition, Whole(periodic)), whole)
