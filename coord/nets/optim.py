"""Adam for a population: every parameter is [M, ...], and each member has its own learning rate and gradient clip.

Members never mix: the gradient norm is taken per member, so M agents trained together get the same updates as each
alone. Adam as in Kingma and Ba (2015), Algorithm 1, with the gradient scaled to `max_grad_norm` first.
`FusedAdam` is for losses that need neither clipping nor a rate per member, on any device.
"""

from __future__ import annotations

from collections.abc import Mapping

import numba as nb
import numpy as np
import torch
from torch import Tensor, nn

from coord.compile_cache import FAST


@nb.njit(**FAST)
def _adam(param, grad, mean, var, scale, lr, keep1, keep2, eps):  # type: ignore[no-untyped-def]
    """One fused pass over [M, S]; scale, lr [M]; keep = 1 - beta; all of one dtype, or nothing vectorises."""
    for m in range(param.shape[0]):
        p, g, first, second = param[m], grad[m], mean[m], var[m]
        s, rate = scale[m], lr[m]
        for i in range(p.shape[0]):
            gi = g[i] * s
            fi = first[i] + (gi - first[i]) * keep1
            si = second[i] + (gi * gi - second[i]) * keep2
            first[i] = fi
            second[i] = si
            p[i] -= rate * fi / (np.sqrt(si) + eps)


class PopulationAdam:
    """Adam over parameters [M, ...] with per-member learning rates [M]; state is `mean`, `var` and `count`."""

    def __init__(self, module: nn.Module, *, eps: float = 1e-5, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.params = dict(module.named_parameters())
        self.mean = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.var = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.eps, self.betas, self.count = eps, betas, 0

    def grad_norm(self) -> Tensor:
        """Norm of each member's gradient, [M]."""
        squares = [p.grad.flatten(1).square().sum(1) for p in self.params.values() if p.grad is not None]
        return torch.stack(squares).sum(0).sqrt()

    @torch.no_grad()
    def step(self, lr: Tensor, max_grad_norm: float) -> Tensor:
        """Clips, updates every parameter in place and clears the gradients; returns the norms before clipping [M]."""
        norm = self.grad_norm()
        scale = (max_grad_norm / (norm + 1e-8)).clamp(max=1.0).numpy()
        self.count += 1
        fix1, fix2 = 1 - self.betas[0] ** self.count, 1 - self.betas[1] ** self.count
        # m / fix1 / (sqrt(v / fix2) + eps)  ==  (sqrt(fix2) / fix1) m / (sqrt(v) + eps sqrt(fix2))
        kind = norm.numpy().dtype.type
        rate = (lr * (fix2**0.5 / fix1)).to(norm.dtype).numpy()
        scalars = [kind(1 - b) for b in self.betas] + [kind(self.eps * fix2**0.5)]
        for name, param in self.params.items():
            if param.grad is None:
                continue
            arrays = (param, param.grad, self.mean[name], self.var[name])
            _adam(*(a.flatten(1).numpy() for a in arrays), scale, rate, *scalars)
            param.grad = None
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors; `load_state_dict` restores it exactly."""
        out = {f"mean.{k}": v for k, v in self.mean.items()} | {f"var.{k}": v for k, v in self.var.items()}
        return out | {"count": torch.tensor(self.count)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state_dict`; KeyError if a tensor is missing."""
        for name in self.params:
            self.mean[name].copy_(state[f"mean.{name}"])
            self.var[name].copy_(state[f"var.{name}"])
        self.count = int(state["count"])

    @torch.no_grad()
    def copy_member(self, source: int, target: int) -> None:
        """Overwrites member `target`, parameters and moments, with member `source` (PBT's exploit)."""
        for name, param in self.params.items():
            for tensor in (param, self.mean[name], self.var[name]):
                tensor[target] = tensor[source]


class FusedAdam:
    """Adam with decoupled weight decay (AdamW, Loshchilov and Hutter 2019) over a dict of tensors, in one kernel.

    Every element is treated alike, so members of a population never mix. Works on any device.
    """

    def __init__(
        self,
        params: Mapping[str, Tensor],
        *,
        eps: float = 1e-8,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        self.params = dict(params)
        self.mean = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.var = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.count = torch.zeros((), device=next(iter(self.params.values())).device)  # steps taken
        self.eps, self.betas, self.weight_decay = eps, betas, weight_decay

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor], lr: float) -> None:
        """Moves the parameters in place along gradients of the same names and shapes."""
        self.count += 1
        groups = (self.params, grads, self.mean, self.var)
        torch._fused_adamw_(
            *([group[name] for name in self.params] for group in groups),
            [],
            [self.count] * len(self.params),
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def reset(self) -> None:
        """Forgets the moments, as if no step had been taken."""
        for tensor in self.tensors().values():
            tensor.zero_()

    def tensors(self) -> dict[str, Tensor]:
        """The moments and the step count by name, to be saved, and restored in place."""
        moments = {f"mean.{k}": v for k, v in self.mean.items()} | {f"var.{k}": v for k, v in self.var.items()}
        return moments | {"count": self.count}
