"""A killed training goes on with the same bits: the check that every method's tests make."""

from __future__ import annotations

import torch

from coord.algos import ppo
from populations.training import Training

State = dict[str, torch.Tensor]


def everything(made: Training) -> State:
    """All that a checkpoint holds."""
    parts = {"env": made.env.get_state(), "extra": made.extra.state_dict() if made.extra is not None else {}}
    own = {f"{part}.{k}": torch.as_tensor(v) for part, state in parts.items() for k, v in state.items()}
    return made.state.state_dict() | own


def check_resume(
    whole: Training, resumed: Training, at: int
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Trains `whole` with a look in after update `at`, `resumed` from there; all that they hold must be equal.

    Returns what a checkpoint held after update `at`, and at the end.
    """
    whole.run(whole.state, whole.env, ppo.Hooks(should_stop=lambda state: state.update_step == at))
    assert whole.state.update_step == at
    saved = {name: tensor.clone() for name, tensor in everything(whole).items()}
    whole.run(whole.state, whole.env, ppo.Hooks())
    assert whole.state.update_step > at

    resumed.state.load_state_dict(saved)
    resumed.env.set_state({k[4:]: v.numpy() for k, v in saved.items() if k.startswith("env.")})
    if resumed.extra is not None:
        resumed.extra.load_state_dict({k[6:]: v for k, v in saved.items() if k.startswith("extra.")})
    resumed.run(resumed.state, resumed.env, ppo.Hooks())
    found = everything(resumed)
    for name, tensor in everything(whole).items():
        assert torch.equal(tensor, found[name]), name
    return saved, found
