"""One kitchen as a PettingZoo parallel environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from coord.errors import UserError, unknown
from coord.overcooked.packed_row import ACTIONS
from coord.overcooked.render import render_frame
from coord.overcooked.spaces import feature_space, lossless_space, stacked
from coord.overcooked.vector_env import OvercookedVectorEnv, Source

OBSERVATIONS = ("lossless", "features")
RENDER_MODES = ("human", "rgb_array")
FRAMES_PER_SECOND = 8

Observations = dict[str, NDArray[Any]]
Infos = dict[str, dict[str, Any]]


def parallel_env(
    layout: Source = "cramped_room",
    horizon: int = 400,
    rules: str = "classic",
    render_mode: str | None = None,
    obs: str = "lossless",
    *,
    shaping: float = 0.0,
    mask_useless_actions: bool = False,
) -> OvercookedParallelEnv:
    """A kitchen whose seats are the agents "player_0", "player_1", ...

    layout, horizon (ticks), rules: as for OvercookedVectorEnv. obs: "lossless" (two seats only) gives each
    agent uint8 [W, H, 26], "features" float32 [48 P]. render_mode: None, "rgb_array" (render() returns uint8
    [H, W, 3]) or "human" (a window that follows every step). Every agent is paid the team's task reward and
    `shaping` times its own shaping reward, which `infos[agent]["shaped_rew"]` holds in any case; the env's attribute
    `shaping` may be changed between steps. `infos[agent]["action_mask"]` int8 [6] says what may be chosen: everything,
    or with mask_useless_actions what has an effect.

    Raises UserError for an unknown layout, rule set, observation or render mode, or a shaping that is no finite number.
    """
    return OvercookedParallelEnv(
        layout, horizon, rules, render_mode, obs, shaping=shaping, mask_useless_actions=mask_useless_actions
    )


class OvercookedParallelEnv(ParallelEnv):
    """See `parallel_env`. PettingZoo's tests and wrappers insist on its base class.

    A copy (`copy.deepcopy`, or through pickle) continues the same game without the window; it opens the window anew
    when it draws.
    """

    metadata = {  # noqa: RUF012 (PettingZoo declares it as a plain mapping)
        "name": "overcooked_v1",
        "render_modes": list(RENDER_MODES),
        "render_fps": FRAMES_PER_SECOND,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        layout: Source,
        horizon: int,
        rules: str,
        render_mode: str | None,
        obs: str,
        *,
        shaping: float,
        mask_useless_actions: bool,
    ) -> None:
        if obs not in OBSERVATIONS:
            raise unknown("observation", obs, OBSERVATIONS)
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise unknown("render mode", render_mode, RENDER_MODES)
        self.kitchen = OvercookedVectorEnv(
            layout, 1, horizon=horizon, rules=rules, mask_useless_actions=mask_useless_actions
        )
        self.render_mode, self.obs, self.shaping = render_mode, obs, _checked_shaping(shaping)
        self.possible_agents = [f"player_{seat}" for seat in range(self.kitchen.num_players)]
        self.agents: list[str] = []
        self._window: Any = None
        self.observation_spaces: dict[str, Space] = {agent: self._make_space() for agent in self.possible_agents}
        self.action_spaces: dict[str, Space] = {agent: Discrete(len(ACTIONS)) for agent in self.possible_agents}
        self.state_space = stacked(self._make_space(), len(self.possible_agents))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the window, which belongs to the process and not to the game."""
        return {**self.__dict__, "_window": None}

    def observation_space(self, agent: str) -> Space:
        """What `agent` sees; the same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        """Discrete(6) in the order of ACTIONS; the same object at every call."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[Observations, Infos]:
        """Start an episode. Nothing in a kitchen is random: `seed` and `options` are accepted and change
        nothing.
        """
        self.kitchen.reset()
        self.agents = list(self.possible_agents)
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._inform(np.zeros(len(self.agents), np.float32))

    def step(
        self, actions: dict[str, int]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """One tick: (observations, rewards, terminations, truncations, infos) by agent. A kitchen only
        truncates.

        Raises ValueError unless every agent, and nobody else, has an action 0..5.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        joint_act = np.array([self._joint_act(actions)])
        result = self.kitchen.step(joint_act)
        agents, truncated = self.agents, bool(result.truncated[0])
        observations, infos = self._observe(), self._inform(result.shaped_rew[0])
        if truncated:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return (
            observations,
            self._pay(agents, float(result.rew[0]), result.shaped_rew[0]),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, truncated),
            infos,
        )

    def render(self) -> NDArray[np.uint8] | None:
        """The present state as a picture: returned for "rgb_array", shown for "human"."""
        if self.render_mode is None:
            return None
        state = self.kitchen.state_dict(0, final=True)
        hud = {"score": int(self.kitchen.episode_return(final=True)[0]), "tick": state["timestep"]}
        picture = render_frame(self.kitchen.layouts[0], state, hud=hud)
        if self.render_mode == "rgb_array":
            return picture
        self._show(picture)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None

    def state(self) -> NDArray[Any]:
        """The observations of all seats, [P, ...], in seat order; after the last tick those of the last state."""
        return self._encode()

    def _make_space(self) -> Box:
        return lossless_space(self.kitchen) if self.obs == "lossless" else feature_space(self.kitchen)

    def _joint_act(self, actions: Mapping[str, Any]) -> list[int]:
        """Actions in seat order."""
        if not isinstance(actions, Mapping):
            raise ValueError(f"step takes the actions by agent ({', '.join(self.agents)}), not {actions!r}")
        if strangers := [agent for agent in actions if agent not in self.agents]:
            raise ValueError(f"there is no agent {strangers[0]!r} to act; agents: {', '.join(self.agents)}")
        if missing := [agent for agent in self.agents if agent not in actions]:
            raise ValueError(f"no action for {', '.join(missing)}; every agent acts in every tick")
        return [_checked_action(agent, actions[agent]) for agent in self.agents]

    def _pay(self, agents: list[str], rew: float, shaped_rew: NDArray[np.float32]) -> dict[str, float]:
        """The team's reward, and a share of the shaping reward of each."""
        return {agent: rew + self.shaping * float(own) for agent, own in zip(agents, shaped_rew, strict=True)}

    def _encode(self) -> NDArray[Any]:
        """[P, ...] in the kitchen's last state, also if that ended the episode."""
        encode = self.kitchen.lossless_obs if self.obs == "lossless" else self.kitchen.feature_obs
        return encode(final=True)[0]

    def _observe(self) -> Observations:
        """Observation of every agent; in the tick that ends the episode, of its last state."""
        return dict(zip(self.agents, self._encode(), strict=True))

    def _inform(self, shaped_rew: NDArray[np.float32]) -> Infos:
        masks = self.kitchen.available_actions(final=True)[0].astype(np.int8)
        return {
            agent: {"shaped_rew": float(rew), "action_mask": mask}
            for agent, rew, mask in zip(self.agents, shaped_rew, masks, strict=True)
        }

    def _show(self, picture: NDArray[np.uint8]) -> None:
        """Put a picture into the window, opening it at first, and wait out the rest of the tick."""
        import pygame

        if self._window is None or pygame.display.get_surface() is None:  # a copy may have closed it
            pygame.display.init()
            pygame.display.set_caption(f"Overcooked: {self.kitchen.layouts[0].name}")
            self._window = pygame.display.set_mode(picture.shape[1::-1]), pygame.time.Clock()
        screen, clock = self._window
        pygame.event.pump()
        pygame.surfarray.blit_array(screen, picture.swapaxes(0, 1))
        pygame.display.flip()
        clock.tick(FRAMES_PER_SECOND)


def _checked_action(agent: str, action: Any) -> int:
    """An integer 0..5 of Python or numpy; a truth value or a number with a point is none."""
    number = np.asarray(action)
    if number.ndim or number.dtype.kind not in "iu" or not 0 <= number < len(ACTIONS):
        raise ValueError(f"{agent}: {action!r} is no action, allowed: the integers 0 to {len(ACTIONS) - 1} {ACTIONS}")
    return int(number)


def _checked_shaping(shaping: float) -> float:
    number = isinstance(shaping, int | float | np.integer | np.floating) and not isinstance(shaping, bool)
    if not number or not math.isfinite(shaping):
        raise UserError(f"shaping={shaping!r}: the factor of the shaping reward is a finite number")
    return float(shaping)
