"""Pictures of a stretch of a game, drawn by playing its actions again, which is all that a kitchen depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.overcooked.loader import load_layout
from coord.overcooked.render import SEAT_HATS, SPRITE, render_frame
from coord.overcooked.vector_env import OvercookedVectorEnv, Source


def frames_of_kitchen(
    layout: Source,
    joint_acts: NDArray[np.integer],
    start: int = 0,
    length: int | None = None,
    size: int = 240,
    *,
    seat: int,
    rules: str = "classic",
    horizon: int = 400,
    expected: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Frames of a game from its beginning on, or of some of its steps.

    Args:
        layout: name, path or grid.
        joint_acts: [T, P] what everybody did from the first tick on.
        start: first tick that is shown.
        length: number of ticks; all that follow by default.
        size: longer side of the kitchen in pixels, at most; a tile takes a multiple of its sprite.
        seat: whose hat is named above the picture.
        rules: of the game.
        horizon: ticks of the whole game.
        expected: [>= F] what the seat saw at tick `start` as facts, 0 or 1 (`IndexSpec.possible`), if it is known.

    Returns:
        uint8 [length, H, W, 3]; frame t shows the state in which the actions of tick `start + t` were chosen.

    Raises:
        UserError: the ticks are not in the record, the layout is unknown or another than that of the game.
    """
    home = load_layout(layout)
    states = states_of_kitchen(
        home, joint_acts, start, length, seat=seat, rules=rules, horizon=horizon, expected=expected
    )
    tile = max(1, size // max(home.width, home.height) // SPRITE) * SPRITE
    judged = {"judged": f"{SEAT_HATS[seat]} hat"}
    return np.stack([render_frame(home, state, tile=tile, hud=judged) for state in states])


def states_of_kitchen(
    layout: Source,
    joint_acts: NDArray[np.integer],
    start: int = 0,
    length: int | None = None,
    *,
    seat: int,
    rules: str = "classic",
    horizon: int = 400,
    expected: NDArray[np.floating] | None = None,
) -> list[dict[str, Any]]:
    """The states that `frames_of_kitchen` draws, in the form of overcooked-ai; the same arguments and errors."""
    stop = len(joint_acts) if length is None else start + length
    if not 0 <= start < stop <= len(joint_acts):
        raise UserError(f"no ticks {start} to {stop - 1} in a game of {len(joint_acts)} recorded ticks")
    env = OvercookedVectorEnv(load_layout(layout), 1, horizon=horizon, rules=rules)
    states = []
    for tick, acts in enumerate(np.asarray(joint_acts[:stop], np.int64)):
        if tick == start and expected is not None:
            _check(env, seat, expected)
        if tick >= start:
            states.append(env.state_dict(0))
        env.step(acts[None])
    return states


def _check(env: OvercookedVectorEnv, seat: int, expected: NDArray[np.floating]) -> None:
    facts = env.spec.possible(env.layouts[0])
    seen = np.isin(facts, env.index_obs()[0, seat])
    if len(expected) < len(facts) or (seen != (expected[: len(facts)] > 0.5)).any():
        raise UserError(f"{env.layouts[0].name}: played again, the game goes another way (was the layout changed?)")
