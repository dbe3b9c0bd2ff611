"""The island: its rules, its best return by dynamic programming, and what is seen of it."""

from __future__ import annotations

import numpy as np

from coord.control import gridworld as g

UP, DOWN, LEFT, RIGHT = range(4)


def walk(*acts: int) -> tuple[int, float]:
    """Where these actions lead from the start, and the return."""
    cell, total = g.island().start, 0.0
    for act in acts:
        after, rew = g.step(np.array(cell), np.array(act))
        cell, total = int(after), total + float(rew)
    return cell, total


def test_the_best_return_is_42() -> None:
    start = g.island().start
    assert g.q_values()[start].max() == 42
    cell, total = walk(LEFT, LEFT, DOWN, DOWN, DOWN, DOWN, RIGHT, RIGHT)
    assert (cell, total) == (g.island().goal, 42.0)


def test_dynamic_programming_agrees_with_a_search_over_all_walks() -> None:
    """Eight steps by brute force: no walk of at most eight steps does better, and only the shortest does as well."""
    best = {g.island().start: 0.0}
    ends = []
    for _ in range(8):
        following: dict[int, float] = {}
        for cell, total in best.items():
            for act in range(4):
                after, rew = g.step(np.array(cell), np.array(act))
                if g.is_end(after):
                    ends.append(total + float(rew))
                else:
                    following[int(after)] = max(following.get(int(after), -np.inf), total + float(rew))
        best = following
    assert max(ends) == 42.0 == g.q_values(steps=8)[g.island().start].max()
    assert g.q_values(steps=7)[g.island().start].max() == -7  # out of reach: the best is to stay dry


def test_values_on_the_last_steps_by_hand() -> None:
    """Beside the goal: 49 for the step into it; two steps away, discounted by .9: -1 + .9 x 49 = 43.1."""
    q = g.q_values(0.9)
    beside, two_away = g.island().goal - 1, g.island().goal - 2
    assert q[beside, RIGHT] == 49
    assert np.isclose(q[two_away, RIGHT], 43.1)
    assert q[g.island().goal - 1 - g.COLUMNS, UP] == -51  # the shore lies there


def test_walls_hold_and_water_ends() -> None:
    start = g.island().start
    assert walk(UP) == (start, -1.0)
    cell, total = walk(DOWN, DOWN)
    assert g.island().kind[cell] == g.WATER
    assert total == -52.0
    assert g.is_end(np.array(cell))
    assert not g.is_end(np.array(start))


def test_actions_and_their_opposites_cancel() -> None:
    tables = g.island()
    moved = 0
    for cell in np.flatnonzero(tables.kind == g.FLOOR):
        for act, back in ((UP, DOWN), (LEFT, RIGHT), (DOWN, UP), (RIGHT, LEFT)):
            after = tables.following[cell, act]
            if after != cell and tables.kind[after] == g.FLOOR:
                assert tables.following[after, back] == cell
                moved += 1
    assert moved > 40


def test_the_observation_names_the_cell_and_the_water_beside_it() -> None:
    seen = g.observe(np.array([g.island().start, 10]))
    assert seen.shape == (2, g.OBS_DIM)
    assert seen[0, : g.CELLS].argmax() == g.island().start
    assert seen[:, : g.CELLS].sum() == 2
    assert seen[0, g.CELLS :].tolist() == [0, 0, 0, 0]
    assert seen[1, g.CELLS :].tolist() == [0, 1, 1, 0]  # the north-western corner: water below and to the left
