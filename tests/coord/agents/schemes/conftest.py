"""A policy of Stable-Baselines3, its ONNX export, and a Python file, as strangers bring them."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import pytest
import torch
from stable_baselines3 import PPO
from torch import nn

import coord.overcooked  # noqa: F401 registers the Gymnasium id

COOK = '''import numpy as np


class Cook:
    obs = "state"

    def reset(self, n, seed):
        self.rng, self.last = np.random.default_rng(seed), np.full(n, 4)

    def act(self, obs, info):
        self.last[info["done"]] = 4
        turn = self.rng.random(len(obs)) < 0.3
        self.last = np.where(turn, self.rng.integers(0, 6, len(obs)), self.last)
        return self.last
'''


class Actor(nn.Module):
    """The deciding half of a policy of PPO: observation [N, F] to scores [N, 6]."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.extractor, self.action_net = policy.mlp_extractor, policy.action_net

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.action_net(self.extractor.forward_actor(obs))


def bring(folder: Path, steps: int, **options) -> PPO:
    """cook.py, ppo.zip and ppo.onnx in the folder; the policy that the last two hold."""
    env = gymnasium.make("coord/Overcooked-v0", layout="cramped_room", partner="stay", obs="features", shaping=1.0)
    model = PPO("MlpPolicy", env, n_steps=1000, batch_size=250, n_epochs=2, seed=0, device="cpu", **options)
    if steps:
        model.learn(steps)
    model.save(folder / "ppo.zip")
    export = (Actor(model.policy), (torch.zeros(2, 96),), str(folder / "ppo.onnx"))
    torch.onnx.export(*export, input_names=["obs"], dynamic_axes={"obs": {0: "n"}}, dynamo=False)
    (folder / "cook.py").write_text(COOK)
    return model


@pytest.fixture(scope="session")
def brought(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PPO]:
    """The folder with the three, untrained, and the policy; an activation that is not the usual one."""
    folder = tmp_path_factory.mktemp("brought")
    return folder, bring(folder, 0, policy_kwargs={"activation_fn": nn.ReLU, "net_arch": [16, 16]})
