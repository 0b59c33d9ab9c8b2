"""Gaussian diffusion (Karras et al. 2022, "EDM") with dsd's own U-Net, conditioned on the volume fractions."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from dsdcli.network.conditions import DOSE_FEATURES
from dsdcli.network.config import ModelConfig
from dsdcli.network.local import LocalNet
from dsdcli.network.model import pad
from dsdcli.process.image import assign
from dsdcli.sampling.generate import sample_seed
from dsdcli.training.loss import one_hot
from dsdcli.training.trainer import Trainer

# All numbers are those of the paper (its Table 1).
SIGMA_DATA, SIGMA_MIN, SIGMA_MAX, RHO = 0.5, 0.002, 80.0, 7.0
P_MEAN, P_STD = -1.2, 1.2  # of log sigma in training
STEPS = 18
EVALUATIONS = 2 * STEPS - 1
FREQUENCY = math.pi / math.log(SIGMA_MAX / SIGMA_MIN)


class Denoiser(nn.Module):
    """D(x; sigma, f): the expected clean field. Fields are one-hot channels of the phases less their volume fractions,
    f, which are known, scaled to the standard deviation SIGMA_DATA."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        fractions = np.array(config.fractions)
        self.scale = SIGMA_DATA / math.sqrt(float((fractions * (1 - fractions)).mean()))
        phases = len(fractions)
        self.net = LocalNet(config.ndim, phases + 1, phases, DOSE_FEATURES + phases, config.architecture)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
        """Clean fields (B, C, *L) for noisy ones at noise levels (B,), with volume fractions (B, C)."""
        s = sigma.view(-1, *(1,) * (x.ndim - 1))
        total = (s**2 + SIGMA_DATA**2).sqrt()
        k = torch.arange(1, DOSE_FEATURES // 2 + 1, device=x.device)
        angle = FREQUENCY * torch.log(sigma / SIGMA_MIN)[:, None] * k
        condition = torch.cat([torch.cos(angle), torch.sin(angle), fractions], dim=1)
        field = torch.cat([x / total, torch.ones_like(x[:, :1])], dim=1)
        padded, crop, _ = pad(field, self.config.architecture.multiple, periodic=False)
        out = self.net(padded, condition, False)[(..., *crop)].float()
        return SIGMA_DATA**2 / total**2 * x + s * SIGMA_DATA / total * out


class GaussianTrainer(Trainer):
    """dsd's training loop, optimiser, learning rate and average of weights, with EDM's network and loss."""

    network = Denoiser

    def batch_losses(self) -> Iterator[torch.Tensor]:
        s = self.settings
        crops = self.dataset.crops("train", s.batch, s.size, self.rng, augment=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=s.precision == "bfloat16"):
            loss = self.loss(torch.from_numpy(crops).to(self.device))
        yield loss

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Denoising error, weighted so that the network's own target has unit variance at every noise level."""
        clean = one_hot(images, len(self.model.config.phases)).float()
        fractions = clean.flatten(2).mean(2)
        clean = self.model.scale * (clean - fractions[(..., *(None,) * (images.ndim - 1))])
        normal = torch.randn(len(images), generator=self.generator, device=self.device)
        sigma = torch.exp(P_MEAN + P_STD * normal)
        noise = torch.randn(clean.shape, generator=self.generator, device=self.device)
        found = self.model(clean + sigma.view(-1, *(1,) * (clean.ndim - 1)) * noise, sigma, fractions)
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        return (weight * ((found - clean) ** 2).flatten(1).mean(1)).mean()

    def validate(self) -> float:
        return math.nan  # the last averaged weights are the ones to use


@torch.inference_mode()
def sample(
    model: Denoiser, totals: np.ndarray, size: tuple[int, ...], batch: int, seed: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Heun's method on the probability flow (Karras et al. 2022, Algorithm 1), then the exact assignment.

    Args:
        totals: int64 (n, K) voxels of each phase.

    Yields:
        the image, uint8 (*L), and the share of voxels that had to change for the totals.
    """
    device = next(model.parameters()).device
    ramp = torch.linspace(0, 1, STEPS, dtype=torch.float64)
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    sigmas = [*((high + ramp * (low - high)) ** RHO).tolist(), 0.0]
    for start in range(0, len(totals), batch):
        wanted = totals[start : start + batch]
        fractions = torch.from_numpy(wanted / math.prod(size)).float().to(device)
        generators = [torch.Generator(device).manual_seed(sample_seed(seed, start + i)) for i in range(len(wanted))]
        shape = (totals.shape[1], *size)
        x = SIGMA_MAX * torch.stack([torch.randn(shape, generator=g, device=device) for g in generators])

        def slope(x: torch.Tensor, sigma: float, fractions: torch.Tensor = fractions) -> torch.Tensor:
            return (x - model(x, torch.full((len(x),), sigma, device=device), fractions)) / sigma

        for now, then in pairwise(sigmas):
            first = slope(x, now)
            euler = x + (then - now) * first
            x = euler if then == 0 else x + (then - now) / 2 * (first + slope(euler, then))
        share = (x / model.scale + fractions[(..., *(None,) * len(size))]).double().cpu().numpy()
        for field, counts in zip(share, wanted, strict=True):
            score = field.reshape(len(counts), -1)
            image = assign(score, counts)
            yield image.astype(np.uint8).reshape(size), float((image != score.argmax(0)).mean())
