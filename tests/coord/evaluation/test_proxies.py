"""The yardstick of the whole project against its published strength, with the real games and the real training."""

from __future__ import annotations

from pathlib import Path

import pytest

from coord.evaluation.agents import load_agents
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.overcooked import load_layout

PUBLISHED = (103.5 + 110.0) / 2  # BC_train with H_proxy on cramped_room, mean of the seats (Carroll et al. 2019)


@pytest.mark.learn
def test_clones_of_the_two_halves_play_as_well_together_as_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_CACHE", str(tmp_path))
    where = MatchRules(layout=load_layout("cramped_room"))

    def mean_return(**options: bool) -> float:
        agents = load_agents(["bc_train", "human_proxy"], where.layout, where.rules, **options)
        return float(play_matches(where, agents, both_seats(0, [1]), episodes=60).returns.mean())

    assert mean_return() == pytest.approx(PUBLISHED, rel=0.15)  # measured: 105.5, standard error of 120 games: 2
    # With staying forbidden the clones become much stronger, which is why every score records it.
    assert mean_return(drop_stay=True) > 1.25 * PUBLISHED
