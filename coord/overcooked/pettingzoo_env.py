"""One kitchen as a PettingZoo parallel environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from coord.errors import unknown
from coord.overcooked.features import num_features
from coord.overcooked.render import render_frame
from coord.overcooked.rules import ACTIONS
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
    mask_useless_actions: bool = False,
) -> OvercookedParallelEnv:
    """A kitchen whose seats are the agents "player_0", "player_1", ...

    layout, horizon (ticks), rules: as for OvercookedVectorEnv. obs: "lossless" (two seats only) gives each
    agent int16 [W, H, 26], "features" float32 [48 P]. render_mode: None, "rgb_array" (render() returns uint8
    [H, W, 3]) or "human" (a window that follows every step). Every agent is paid the team's task reward;
    `infos[agent]["shaped_rew"]` holds its own shaping reward, and with mask_useless_actions
    `infos[agent]["action_mask"]` what is worth choosing from.

    Raises UserError for an unknown layout, rule set, observation or render mode.
    """
    return OvercookedParallelEnv(layout, horizon, rules, render_mode, obs, mask_useless_actions)


class OvercookedParallelEnv(ParallelEnv):
    """See `parallel_env`. PettingZoo's tests and wrappers insist on its base class."""

    metadata = {  # noqa: RUF012 (PettingZoo declares it as a plain mapping)
        "name": "overcooked_v1",
        "render_modes": list(RENDER_MODES),
        "render_fps": FRAMES_PER_SECOND,
        "is_parallelizable": True,
    }

    def __init__(
        self, layout: Source, horizon: int, rules: str, render_mode: str | None, obs: str, mask_useless_actions: bool
    ) -> None:
        if obs not in OBSERVATIONS:
            raise unknown("observation", obs, OBSERVATIONS)
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise unknown("render mode", render_mode, RENDER_MODES)
        self.kitchen = OvercookedVectorEnv(
            layout, 1, horizon=horizon, rules=rules, mask_useless_actions=mask_useless_actions
        )
        self.render_mode, self.obs = render_mode, obs
        self.possible_agents = [f"player_{seat}" for seat in range(self.kitchen.num_players)]
        self.agents: list[str] = []
        self._window: Any = None
        self.observation_spaces: dict[str, Space] = {agent: self._make_space() for agent in self.possible_agents}
        self.action_spaces: dict[str, Space] = {agent: Discrete(len(ACTIONS)) for agent in self.possible_agents}

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
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        joint_act = np.array([[int(actions[agent]) for agent in self.agents]])
        result = self.kitchen.step(joint_act)
        agents, truncated = self.agents, bool(result.truncated[0])
        observations, infos = self._observe(), self._inform(result.shaped_rew[0])
        if truncated:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return (
            observations,
            dict.fromkeys(agents, float(result.rew[0])),
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

    def _make_space(self) -> Box:
        kitchen = self.kitchen
        if self.obs == "features":
            return Box(-np.inf, np.inf, (num_features(kitchen.num_players),), np.float32)
        largest = np.iinfo(np.int16).max
        return Box(0, largest, (kitchen.width, kitchen.height, kitchen.lossless_obs().shape[-1]), np.int16)

    def _observe(self) -> Observations:
        """Observation of every agent; in the tick that ends the episode, of its last state."""
        encode = self.kitchen.lossless_obs if self.obs == "lossless" else self.kitchen.feature_obs
        return dict(zip(self.agents, encode(final=True)[0], strict=True))

    def _inform(self, shaped_rew: NDArray[np.float32]) -> Infos:
        infos: Infos = {agent: {"shaped_rew": float(rew)} for agent, rew in zip(self.agents, shaped_rew, strict=True)}
        if self.kitchen.mask_useless_actions:
            for agent, mask in zip(self.agents, self.kitchen.available_actions(final=True)[0], strict=True):
                infos[agent]["action_mask"] = mask.astype(np.int8)
        return infos

    def _show(self, picture: NDArray[np.uint8]) -> None:
        """Put a picture into the window, opening it at first, and wait out the rest of the tick."""
        import pygame

        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption(f"Overcooked: {self.kitchen.layouts[0].name}")
            self._window = pygame.display.set_mode(picture.shape[1::-1]), pygame.time.Clock()
        screen, clock = self._window
        pygame.event.pump()
        pygame.surfarray.blit_array(screen, picture.swapaxes(0, 1))
        pygame.display.flip()
        clock.tick(FRAMES_PER_SECOND)
