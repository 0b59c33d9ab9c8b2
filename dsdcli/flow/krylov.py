"""BiCGStab(l), a Krylov method for linear systems that are not symmetric (Sleijpen and Fokkema, ETNA 1, 1993)."""

from collections.abc import Callable, Iterator

import torch

_DEGREE = 2  # l: of the polynomial that smooths the residual after each l steps


def bicgstab(
    apply: Callable[[torch.Tensor, torch.Tensor], None], b: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Solve A x = b from x = 0.

    Args:
        apply: writes A times its first argument into its second one.
        b: right-hand side; overwritten by the residual.

    Yields:
        x and the residual b - A x after every 2 l applications of A; the same two tensors each time.
    """
    x, residual = torch.zeros_like(b), [b, *(torch.empty_like(b) for _ in range(_DEGREE))]
    search = [torch.zeros_like(b), *(torch.empty_like(b) for _ in range(_DEGREE))]
    shadow = b.clone()
    rho, alpha, omega = 1.0, 0.0, 1.0
    while True:
        rho *= -omega
        for j in range(_DEGREE):
            new = _dot(residual[j], shadow)
            beta = alpha * new / rho
            rho = new
            for i in range(j + 1):
                search[i].mul_(-beta).add_(residual[i])
            apply(search[j], search[j + 1])
            alpha = rho / _dot(search[j + 1], shadow)
            for i in range(j + 1):
                residual[i].sub_(search[i + 1], alpha=alpha)
            apply(residual[j], residual[j + 1])
            x.add_(search[0], alpha=alpha)
        later = residual[1:]
        gram = torch.tensor([[_dot(one, two) for two in later] for one in later], dtype=torch.float64)
        along = torch.tensor([_dot(one, residual[0]) for one in later], dtype=torch.float64)
        gamma = torch.linalg.solve(gram, along).tolist()
        omega = gamma[-1]
        for i, factor in enumerate(gamma):
            x.add_(residual[i], alpha=factor)
        for i, factor in enumerate(gamma):
            search[0].sub_(search[i + 1], alpha=factor)
            residual[0].sub_(residual[i + 1], alpha=factor)
        yield x, residual[0]


def _dot(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(torch.dot(one.view(-1), two.view(-1)))
