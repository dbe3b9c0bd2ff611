"""The kitchen against overcooked-ai 1.1.0: the same joint actions, then every state, reward and encoding
compared.

By default every joint step is compared in state, rewards, shaping rewards and event counts, every third state
in the lossless encoding and every tenth in the features. `COORD_DIFFERENTIAL=full` encodes every state (some
ten minutes).
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest

from coord.overcooked import EVENTS, OvercookedVectorEnv, layout_names
from coord.overcooked.oracle import Trace, TraceRequest, isolated, play_traces
from tests.differential.players import play_adversarially, play_random, play_sensibly

PLAYERS = (play_random, play_sensibly, play_adversarially)
FULL = os.environ.get("COORD_DIFFERENTIAL") == "full"
EPISODES, TICKS = 4, 400
REFERENCE_EVENTS = {  # event of the reference -> ours that it sums
    "onion_pickup": ("onion_from_dispenser", "pick_onion_from_counter"),
    "tomato_pickup": ("pick_tomato_from_counter",),  # the reference overlooks the tomato dispenser
    "dish_pickup": ("dish_from_dispenser", "pick_dish_from_counter"),
    "soup_pickup": ("soup_pickup", "pick_soup_from_counter"),
    "onion_drop": ("put_onion_on_counter",),
    "tomato_drop": ("put_tomato_on_counter",),
    "dish_drop": ("put_dish_on_counter",),
    "soup_drop": ("put_soup_on_counter",),
    "potting_onion": ("potting_onion",),
    "potting_tomato": ("potting_tomato",),
    "useful_dish_pickup": ("useful_dish_pickup",),
    "soup_delivery": ("delivery",),
}


def requests(rules: str, episodes: int, lossless_every: int, features_every: int) -> list[list[TraceRequest]]:
    """Games of every player, layout by layout."""
    return [
        [
            TraceRequest(
                layout,
                player,
                rules=rules,
                episodes=episodes,
                ticks=TICKS,
                seed=number,
                lossless_every=1 if FULL else lossless_every,
                features_every=1 if FULL else features_every,
            )
            for player in PLAYERS
        ]
        for number, layout in enumerate(layout_names())
    ]


def compare_all(tasks: list[list[TraceRequest]]) -> Counter:
    """Have the reference play all tasks and replay each of its games here; returns the numbers of
    comparisons.
    """
    counts = sum((replay(trace) for traces in isolated(play_traces, tasks) for trace in traces), Counter())
    print(dict(counts))
    return counts


def replay(trace: Trace) -> Counter:
    """Play a trace's actions in the kitchen, comparing all that the trace holds; returns the numbers of
    comparisons.
    """
    request = trace.request
    where = f"{request.layout}, {request.policy.__name__}"
    env = OvercookedVectorEnv(request.layout, request.episodes, horizon=request.ticks, rules=request.rules)
    counts: Counter = Counter()
    compare_observations(env, trace, 0, counts)
    for tick in range(1, request.ticks + 1):
        result = env.step(trace.joint_act[:, tick - 1])
        assert_same(result.rew, trace.rew[:, tick - 1], f"{where}, tick {tick}: reward")
        shaped = trace.shaped_rew[:, tick - 1]
        assert_same(result.shaped_rew, shaped, f"{where}, tick {tick}: shaping reward")
        assert (result.truncated == (tick == request.ticks)).all()
        compare_observations(env, trace, tick, counts)
        counts["steps"] += request.episodes
    compare_events(env, trace, where)
    counts["deliveries"] += int(trace.events["soup_delivery"].sum())
    return counts


def assert_same(ours: np.ndarray, reference: np.ndarray, where: str) -> None:
    """Equal arrays; the slow comparison with its report runs only when they are not."""
    if not np.array_equal(ours, reference):
        np.testing.assert_array_equal(ours, reference, where)


def compare_observations(env: OvercookedVectorEnv, trace: Trace, tick: int, counts: Counter) -> None:
    """State mapping and encodings of one tick. Mappings must be equal to the last key, the order of objects
    included.
    """
    lossless = env.lossless_obs(final=True) if (0, tick) in trace.lossless else None
    features = env.feature_obs(final=True) if (0, tick) in trace.features else None
    for episode in range(env.num_envs):
        where = f"{trace.request.layout}, {trace.request.policy.__name__}, episode {episode}, tick {tick}"
        assert env.state_dict(episode, final=True) == trace.states[episode][tick], where
        counts["states"] += 1
        if lossless is not None:
            assert_same(lossless[episode], trace.lossless[episode, tick], where)
            counts["lossless"] += 1
        if features is not None:
            assert_same(features[episode], trace.features[episode, tick], where)
            counts["features"] += 1


def compare_events(env: OvercookedVectorEnv, trace: Trace, where: str) -> None:
    """Counts of the finished episode for every event that the reference logs too."""
    ours = env.event_counts(final=True)  # [E, P, events]
    for name, parts in REFERENCE_EVENTS.items():
        total = sum(ours[..., EVENTS.index(part)] for part in parts)
        assert_same(total, trace.events[name], f"{where}: event {name}")


@pytest.mark.slow
def test_overcooked_ai_rules_on_every_layout():
    counts = compare_all(requests("overcooked-ai", EPISODES, 3, 10))
    assert counts["steps"] == 3 * 45 * EPISODES * TICKS >= 200_000
    assert counts["states"] == counts["steps"] + 3 * 45 * EPISODES
    assert counts["lossless"] >= 60_000
    assert counts["features"] >= 20_000
    assert counts["deliveries"] >= 1_000


@pytest.mark.slow
def test_classic_rules_on_every_layout():
    counts = compare_all(requests("classic", 1, 10, 40))
    assert counts["steps"] == 3 * 45 * TICKS >= 50_000
    assert counts["lossless"] >= 5_000
    assert counts["features"] >= 1_000
    assert counts["deliveries"] >= 200
