"""What agents see of a vector env."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from coord.overcooked import IndexSpec, OvercookedVectorEnv

Seeds = int | NDArray[np.integer]  # one number, or one per kitchen [N]
UNKNOWN = -1  # in a joint action: not known, at the start of an episode or after a tick that was missed


class KitchenView:
    """What agents see of a vector env: each kind of observation is encoded at most once per tick.

    `last_joint_act` [N, P] is what was played in the tick before; UNKNOWN at the start of an episode, after a state
    was set from outside, and after a tick that the agents missed.
    """

    def __init__(self, env: OvercookedVectorEnv, *, final: bool = False) -> None:
        """final: show kitchens that ended in the last tick as they ended, not as they begin anew."""
        self.env, self._final = env, final
        self._cache: dict[object, np.ndarray] = {}
        self.last_joint_act = np.full((env.num_envs, env.num_players), UNKNOWN, np.int64)

    def stepped(self, joint_act: np.ndarray, ended: np.ndarray) -> None:
        """Call after every `env.step`: the actions [N, P] played, and which kitchens [N] bool ended their episode."""
        self._cache.clear()
        self.last_joint_act[:] = joint_act
        if not self._final:
            self.last_joint_act[ended] = UNKNOWN

    def invalidate(self) -> None:
        """Call after `env.reset` or after a state was set from outside."""
        self._cache.clear()
        self.last_joint_act[:] = UNKNOWN

    def index(self, spec: IndexSpec | None = None) -> NDArray[np.int16]:
        """[N, P, K] index observations in the vocabulary of `spec` (the env's own if None)."""
        key = self.env.spec if spec is None else spec
        if key not in self._cache:
            self._cache[key] = self.env.index_obs(key, final=self._final)
        return self._cache[key]

    def lossless(self) -> np.ndarray:
        """[N, P, W, H, 26] the lossless encoding of overcooked-ai."""
        if "lossless" not in self._cache:
            self._cache["lossless"] = self.env.lossless_obs(final=self._final)
        return self._cache["lossless"]

    def features(self) -> NDArray[np.float32]:
        """[N, P, F] the hand-made features of overcooked-ai (`featurize_state`, two pots)."""
        if "features" not in self._cache:
            self._cache["features"] = self.env.feature_obs(self._final)
        return self._cache["features"]

    def useful(self) -> NDArray[np.bool_]:
        """[N, P, 6] what seats may choose from where the env masks useless actions."""
        if "useful" not in self._cache:
            self._cache["useful"] = self.env.available_actions(self._final)
        return self._cache["useful"]

    def rows(self) -> NDArray[np.integer]:
        """[N, S] the packed rows (`coord.overcooked.packed_row`)."""
        return self.env.rows(self._final)

    def states(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """The kitchens `rows` as mappings of overcooked-ai's `OvercookedState.to_dict`."""
        return [self.env.state_dict(int(row), self._final) for row in rows]
