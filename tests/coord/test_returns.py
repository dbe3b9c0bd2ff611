"""Advantages against tables worked on paper, against a slow loop, and against the geometric sum."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from coord.returns import TIME_LIMITS, gae, next_values

# gamma 0.5 and values of 1 keep every number below exact in binary.
REW, VAL, LAST_VAL, FINAL_VAL = [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], 4.0, 6.0


def advantages(
    *, gae_lambda: float, truncated: int | None = None, terminated: int | None = None, time_limit: str = "bootstrap"
) -> list[float]:
    """Three steps; the episode may be cut by the clock or ended by the rules at one of them."""
    at = torch.arange(3)
    cut, over = (at == (-1 if i is None else i) for i in (truncated, terminated))
    val = torch.tensor(VAL)
    following = next_values(
        val=val,
        last_val=torch.tensor(LAST_VAL),
        final_val=torch.full((3,), FINAL_VAL),
        terminated=over,
        truncated=cut,
        time_limit=time_limit,
    )
    ended = cut | over
    adv = gae(rew=torch.tensor(REW), val=val, next_val=following, ended=ended, gamma=0.5, gae_lambda=gae_lambda)
    return adv.tolist()


# No end: V_next = 1, 1, 4 and delta = 1 + .5 - 1, 2 + .5 - 1, 3 + 2 - 1.
# adv_2 = 4; with lambda 1: adv_1 = 1.5 + .5 * 4, adv_0 = .5 + .5 * 3.5; with lambda 1/2 the factor is 1/4.
@pytest.mark.parametrize(
    ("gae_lambda", "expected"), [(0.0, [0.5, 1.5, 4.0]), (1.0, [2.25, 3.5, 4.0]), (0.5, [1.125, 2.5, 4.0])]
)
@pytest.mark.parametrize("time_limit", TIME_LIMITS)
def test_no_episode_ends(time_limit: str, gae_lambda: float, expected: list[float]) -> None:
    assert advantages(gae_lambda=gae_lambda, time_limit=time_limit) == expected


# The clock cuts at step 1, whose last observation is worth 6: delta_1 = 2 + 3 - 1 bootstrapped, 2 + 0 - 1 terminated;
# step 2 belongs to the next episode and adds nothing to step 1.
@pytest.mark.parametrize(
    ("time_limit", "gae_lambda", "expected"),
    [
        ("bootstrap", 0.0, [0.5, 4.0, 4.0]),
        ("bootstrap", 1.0, [2.5, 4.0, 4.0]),
        ("bootstrap", 0.5, [1.5, 4.0, 4.0]),
        ("terminate", 0.0, [0.5, 1.0, 4.0]),
        ("terminate", 1.0, [1.0, 1.0, 4.0]),
        ("terminate", 0.5, [0.75, 1.0, 4.0]),
    ],
)
def test_the_clock_ends_an_episode_in_mid_rollout(time_limit: str, gae_lambda: float, expected: list[float]) -> None:
    assert advantages(gae_lambda=gae_lambda, truncated=1, time_limit=time_limit) == expected


@pytest.mark.parametrize("time_limit", TIME_LIMITS)
@pytest.mark.parametrize(("gae_lambda", "expected"), [(0.0, [0.5, 1.0, 4.0]), (1.0, [1.0, 1.0, 4.0])])
def test_an_end_by_the_rules_is_worth_nothing_under_both_policies(
    time_limit: str, gae_lambda: float, expected: list[float]
) -> None:
    assert advantages(gae_lambda=gae_lambda, terminated=1, time_limit=time_limit) == expected


def test_an_end_by_the_rules_at_the_limit_counts_as_an_end_by_the_rules() -> None:
    assert advantages(gae_lambda=0.0, terminated=1, truncated=1) == [0.5, 1.0, 4.0]


# At the last step of a rollout the next observation is that of the next episode: 4 must not be used.
@pytest.mark.parametrize(("time_limit", "last"), [("bootstrap", 3 + 0.5 * 6 - 1), ("terminate", 3 - 1)])
def test_an_episode_that_ends_with_the_rollout(time_limit: str, last: float) -> None:
    assert advantages(gae_lambda=0.0, truncated=2, time_limit=time_limit) == [0.5, 1.5, last]


def test_an_end_at_the_first_step() -> None:
    assert advantages(gae_lambda=1.0, truncated=0) == [1 + 3 - 1, 3.5, 4.0]


def _slow_advantage(rew: list, val: list, following: list, ended: list, gamma: float, lam: float) -> list[float]:
    """The sum in equation 16 of Schulman et al. (2016), term by term, up to the end of the episode."""
    out = []
    for start in range(len(rew)):
        total = 0.0
        for power, t in enumerate(range(start, len(rew))):
            total += (gamma * lam) ** power * (rew[t] + gamma * following[t] - val[t])
            if ended[t]:
                break
        out.append(total)
    return out


def test_members_and_rows_keep_apart() -> None:
    steps, members, rows = 7, 3, 4
    gen = torch.Generator().manual_seed(0)
    rew, val, following = torch.randn(3, steps, members, rows, dtype=torch.float64, generator=gen)
    ended = torch.rand(steps, members, rows, generator=gen) < 0.25
    lam = torch.tensor([0.0, 0.7, 1.0], dtype=torch.float64)
    adv = gae(rew=rew, val=val, next_val=following, ended=ended, gamma=0.9, gae_lambda=lam[:, None])
    compared = 0
    for m, b in itertools.product(range(members), range(rows)):
        one = (x[:, m, b].tolist() for x in (rew, val, following, ended))
        assert adv[:, m, b].tolist() == pytest.approx(_slow_advantage(*one, 0.9, lam[m].item()), abs=1e-12)
        compared += steps
    assert compared == 84


def test_the_end_of_one_row_does_not_touch_its_neighbour() -> None:
    val, last = torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([3.0, 3.0])
    cut = torch.tensor([[True, False], [False, False]])
    following = next_values(
        val=val,
        last_val=last,
        final_val=torch.full((2, 2), 9.0),
        terminated=torch.zeros(2, 2, dtype=torch.bool),
        truncated=cut,
        time_limit="bootstrap",
    )
    assert following.tolist() == [[9.0, 2.0], [3.0, 3.0]]


def _fitted_value(time_limit: str, horizon: int, gamma: float) -> float:
    """One state, reward 1 per tick, limit after `horizon` ticks: V is fitted to its own returns until it settles."""
    value, steps = torch.tensor(0.0, dtype=torch.float64), 2 * horizon
    cut: Tensor = torch.arange(1, steps + 1) % horizon == 0
    for _ in range(200):
        val = value.expand(steps)
        following = next_values(
            val=val,
            last_val=value,
            final_val=val,
            terminated=torch.zeros(steps, dtype=torch.bool),
            truncated=cut,
            time_limit=time_limit,
        )
        rew = torch.ones(steps, dtype=torch.float64)
        adv = gae(rew=rew, val=val, next_val=following, ended=cut, gamma=gamma, gae_lambda=1.0)
        value = (adv + val).mean()
    return value.item()


def test_value_is_the_geometric_sum_under_bootstrapped_limits_only() -> None:
    gamma, horizon = 0.8, 4
    assert _fitted_value("bootstrap", horizon, gamma) == pytest.approx(1 / (1 - gamma))
    # Terminating, the state is worth the mean over the ticks left, 1..4, of 1 + gamma + ...: 1, 1.8, 2.44, 2.952.
    assert _fitted_value("terminate", horizon, gamma) == pytest.approx((1 + 1.8 + 2.44 + 2.952) / 4)
