"""One seat of a kitchen as a Gymnasium environment; the other seats belong to agents (`coord.overcooked.single_env`).

For learners that expect one agent and one environment. Our own train on many kitchens at once (`coord.partner_env`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from coord.agents.players import Agent, KitchenView
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.overcooked import OvercookedVectorEnv, parallel_env
from coord.overcooked.vector_env import Source

Partner = str | Agent
_SEEDS = 2**63  # as many as an agent's `start` takes


class SingleEnv(gymnasium.Env[NDArray[Any], np.int64]):
    """A kitchen seen and played from one seat.

    layout, horizon (ticks), rules, render_mode, obs, shaping, mask_useless_actions: as for
    `coord.overcooked.parallel_env`. partner: who holds the other seats, an agent or a reference to one as commands take
    it (a built-in name, an agent's file, a run's folder, `<pool>#<member>`), or a sequence with one for each other seat
    in order; references are resolved when the env is made. seat: the learner's, 0..P-1.

    The reward is the team's task reward plus `shaping` times the seat's own shaping reward; `info` holds "shaped_rew"
    and "action_mask" (int8 [6]). Partners start every episode anew, with random numbers drawn from the env's generator,
    so that `reset(seed=...)` fixes everything that follows.

    Raises UserError for unknown names, a seat that does not exist, or a partner that cannot play in this kitchen.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 8}

    def __init__(
        self,
        layout: Source = "cramped_room",
        partner: Partner | Sequence[Partner] = "human_proxy",
        seat: int = 0,
        horizon: int = 400,
        rules: str = "classic",
        render_mode: str | None = None,
        obs: str = "lossless",
        *,
        shaping: float = 0.0,
        mask_useless_actions: bool = False,
    ) -> None:
        self._game = parallel_env(
            layout, horizon, rules, render_mode, obs, shaping=shaping, mask_useless_actions=mask_useless_actions
        )
        self.render_mode = render_mode
        self._kitchen: OvercookedVectorEnv = self._game.kitchen
        self._me = _checked_seat(seat, self._game.possible_agents)
        self._partners = _seat_partners(partner, self._kitchen, seat)
        self._view = KitchenView(self._kitchen)
        self.observation_space = self._game.observation_space(self._me)
        self.action_space = self._game.action_space(self._me)

    @property
    def shaping(self) -> float:
        """The factor of the shaping reward; it may be changed between steps."""
        return self._game.shaping

    @shaping.setter
    def shaping(self, factor: float) -> None:
        self._game.shaping = factor

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode; a `seed` fixes this and all that follow. `options` is accepted and changes nothing."""
        super().reset(seed=seed)
        observations, infos = self._game.reset()
        self._view.invalidate()
        for partner in dict.fromkeys(self._partners.values()):
            partner.start(1, self._kitchen.num_players, int(self.np_random.integers(_SEEDS)))
        return observations[self._me], infos[self._me]

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """One tick: (observation, reward, terminated, truncated, info). A kitchen only truncates.

        Raises ValueError for anything but an integer 0..5, and before the first and after the last tick of an episode.
        """
        if not self._game.agents:
            raise ValueError("no episode is running: call reset() first")
        actions = {agent: self._answer(agent) for agent in self._partners} | {self._me: action}
        results = self._game.step(actions)
        joint_act = np.array([[int(actions[agent]) for agent in self._game.possible_agents]])
        self._view.stepped(joint_act, np.array([results[3][self._me]]))
        obs, rew, terminated, truncated, info = (by_agent[self._me] for by_agent in results)
        return obs, rew, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """bool [6] what may be chosen now, under the name that sb3-contrib's MaskablePPO looks for."""
        return self._kitchen.available_actions(final=True)[0, self._game.possible_agents.index(self._me)]

    def render(self) -> NDArray[np.uint8] | None:
        """The present state as a picture: returned for "rgb_array", shown for "human"."""
        return self._game.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._game.close()

    def _answer(self, agent: str) -> int:
        seat = self._game.possible_agents.index(agent)
        return int(self._partners[agent].act(self._view, np.zeros(1, np.int64), np.array([seat]))[0])


def _checked_seat(seat: int, names: Sequence[str]) -> str:
    if isinstance(seat, bool) or not isinstance(seat, int | np.integer) or not 0 <= seat < len(names):
        raise UserError(f"seat={seat!r}: this kitchen has the seats 0 to {len(names) - 1}")
    return names[seat]


def _seat_partners(partner: Partner | Sequence[Partner], kitchen: OvercookedVectorEnv, seat: int) -> dict[str, Agent]:
    """Who holds each of the other seats, by the seat's name; equal references share one agent."""
    others = [f"player_{other}" for other in range(kitchen.num_players) if other != seat]
    one_for_all = isinstance(partner, str) or not isinstance(partner, Sequence)
    chosen: list[Partner] = [partner] * len(others) if one_for_all else list(partner)  # type: ignore[list-item, arg-type]
    if len(chosen) != len(others):
        raise UserError(f"{len(chosen)} partners were given for {len(others)} other seats")
    shared: dict[str, Agent] = {ref: _resolve(ref, kitchen) for ref in dict.fromkeys(chosen) if isinstance(ref, str)}
    agents = [shared[ref] if isinstance(ref, str) else _resolve(ref, kitchen) for ref in chosen]
    return dict(zip(others, agents, strict=True))


def _resolve(partner: Partner, kitchen: OvercookedVectorEnv) -> Agent:
    if isinstance(partner, str):
        return load_agent(partner, kitchen.layouts[0], kitchen.rules)
    if not (callable(getattr(partner, "start", None)) and callable(getattr(partner, "act", None))):
        raise UserError(f"partner={partner!r:.80}: a partner is an agent or a reference to one, such as 'human_proxy'")
    return partner
