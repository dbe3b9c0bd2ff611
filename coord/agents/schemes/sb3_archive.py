"""`sb3:<file.zip>,obs=features`: a policy that Stable-Baselines3 saved (PPO, A2C or DQN with "MlpPolicy").

Nothing is unpickled: of the archive the weights are read (torch, `weights_only`) and the JSON, in which the activation
stands by name. Layers and their sizes follow from the weights. What needs more (convolutions, memory, extractors of
one's own) is refused; `python:` is the way for those.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coord.agents.players import Agent
from coord.agents.schemes.guard import FIRST_S, guarded
from coord.agents.schemes.options import MOST_BYTES, FileOptions, parse
from coord.agents.schemes.scores import Scores, ScoringAgent
from coord.errors import UserError, shortened
from coord.overcooked import Layout
from coord.types import NUM_ACTIONS

RUNS_CODE = False
ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6"),
    *("SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh"),
)
# What the weights of the deciding network are called: hidden layers, last layer, activation unless another is named.
_ACTOR = (r"mlp_extractor\.policy_net\.(\d+)\.", r"action_net\.", "Tanh")
_Q_NET = (r"q_net\.q_net\.(\d+)\.", "", "ReLU")
_POLICIES = ("stable_baselines3.common.policies", "stable_baselines3.dqn.policies")
# What `policy_kwargs` may hold: none of these changes more than sizes, the activation and how it was trained.
_KNOWN = {":type:", ":serialized:", "activation_fn", "net_arch", "ortho_init", "optimizer_class", "optimizer_kwargs"}
_IGNORED = ("mlp_extractor.value_net.", "value_net.", "q_net_target.")
_BY_PYTHON = "load it in a file of your own, see python: in populations/zoo/README.md"


def load(rest: str, layout: Layout, rules: str) -> Agent:
    """The policy as an agent.

    Raises:
        UserError: no such file, not an archive of Stable-Baselines3, or a policy that needs its own code.
    """
    options = parse("sb3", rest)
    agent_id = f"sb3:{options.path.name}"
    scores, is_policy = guarded(agent_id, "loading it", lambda: _network(options), FIRST_S)
    return ScoringAgent(agent_id, options, scores, sample=is_policy)  # values of DQN are no probabilities


def _network(options: FileOptions) -> tuple[Scores, bool]:
    """The function, and whether its scores are those of a policy."""
    try:
        with zipfile.ZipFile(options.path) as archive:
            settings, weights = _settings(_part(archive, "data")), _weights(_part(archive, "policy.pth"))
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise UserError(f"{options.path} is no archive of Stable-Baselines3, or a damaged one") from error
    _refuse_own_code(settings)
    layers, act = _layers(weights, settings)
    reads = layers[0].in_features

    @torch.no_grad()
    def run(obs: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(obs.reshape(len(obs), -1).astype(np.float32))
        if x.shape[1] != reads:
            raise UserError(f"its network reads {reads} numbers, obs={options.obs} has {x.shape[1]} here")
        for layer in layers[:-1]:
            x = act(layer(x))
        return layers[-1](x).numpy()

    return run, "action_net.weight" in weights


def _refuse_own_code(settings: Mapping[str, Any]) -> None:
    """Raise UserError for policies and extractors whose weights do not say what they compute."""
    policy, extras = settings.get("policy_class"), settings.get("policy_kwargs")
    module = str(policy.get("__module__")) if isinstance(policy, Mapping) else "nothing"
    if module not in _POLICIES:
        raise UserError(f"its policy is of {shortened(module)}, read are {' and '.join(_POLICIES)}; {_BY_PYTHON}")
    if isinstance(extras, Mapping) and (own := sorted(set(map(str, extras)) - _KNOWN)):
        raise UserError(f"its policy was made with {shortened(', '.join(own))}; {_BY_PYTHON}")


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise UserError(f"'{name}' in {Path(str(archive.filename)).name} is larger than {MOST_BYTES >> 20} MiB")
    return archive.read(name)


def _settings(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError("its part 'data' is no JSON") from error
    if not isinstance(found, Mapping):
        raise UserError("its part 'data' is no mapping")
    return found


def _weights(data: bytes) -> dict[str, Tensor]:
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling of anything but weights, or of anything damaged
        raise UserError("its part 'policy.pth' holds more than weights, or is damaged; it is not unpickled") from error
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise UserError("its part 'policy.pth' is no mapping of weights")
    return {str(name): tensor for name, tensor in found.items()}


def _layers(weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> tuple[list[nn.Linear], nn.Module]:
    hidden, last, usual = _Q_NET if any(name.startswith("q_net.") for name in weights) else _ACTOR
    numbered: dict[int, str] = {}
    for name in weights:
        if found := re.match(hidden, name):
            numbered[int(found[1])] = found[0]
        elif not (last and re.match(last, name)) and not name.startswith(_IGNORED):
            raise UserError(f"its policy has '{shortened(name)}', which only its own code can use; {_BY_PYTHON}")
    prefixes = [numbered[i] for i in sorted(numbered)] + (["action_net."] if last else [])
    layers = [_linear(weights, prefix) for prefix in prefixes]
    if not layers or layers[-1].out_features != NUM_ACTIONS:
        raise UserError(f"its policy does not choose among {NUM_ACTIONS} actions; {_BY_PYTHON}")
    for one, following in itertools.pairwise(layers):
        if one.out_features != following.in_features:
            raise UserError(f"its layers do not follow on one another; {_BY_PYTHON}")
    return layers, _activation(settings, usual)


def _linear(weights: Mapping[str, Tensor], prefix: str) -> nn.Linear:
    weight, bias = weights.get(f"{prefix}weight"), weights.get(f"{prefix}bias")
    if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise UserError(f"'{prefix}' is no linear layer; {_BY_PYTHON}")
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise UserError(f"'{prefix}' holds numbers that are not finite")
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return layer


def _activation(settings: Mapping[str, Any], usual: str) -> nn.Module:
    """The activation by the name that the archive's JSON gives it; the usual one of the policy if it gives none."""
    named = settings.get("policy_kwargs")
    text = str(named.get("activation_fn", "")) if isinstance(named, Mapping) else ""
    if not text:
        return getattr(nn, usual)()
    found = re.fullmatch(r"<class 'torch\.nn\.modules\.(?:activation|linear)\.(\w+)'>", text)
    if found is None or found[1] not in ACTIVATIONS:
        raise UserError(f"its activation is {shortened(text)}, allowed are {', '.join(ACTIVATIONS)}; {_BY_PYTHON}")
    return getattr(nn, found[1])()
