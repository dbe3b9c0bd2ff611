"""The figures of `coord bench sac`: what they count, and that they come out."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from coord.algos import sac
from coord.bench import sac as sac_bench
from coord.bench.sac import SACCase
from coord.errors import UserError
from coord.kernels import backprop
from populations.commands import train

TINY = SACCase(2, (16, 12), 8, 5, 3)


def test_operations_by_hand() -> None:
    case = SACCase(1, (4,), 10, 3, 2)
    actor = 3 * 4 + 4 * 4  # one hidden layer of 4; mean and log standard deviation of two numbers
    critic = 5 * 4 + 4 * 1
    actor_work = 2 * actor + actor + 16  # two passes, parameters, inputs of the head
    critic_work = 3 * critic + critic + 4  # three passes, parameters, inputs of the head
    smaller = 4 + 2 * 4  # below the smaller critic of a row: inputs of the head, the action
    assert sac_bench.update_operations(case) == 2 * 10 * (actor_work + 2 * critic_work + smaller)


@pytest.mark.parametrize("hidden", [(16, 12), (256, 12)])
def test_an_update_does_no_product_that_the_floor_does_not_count(hidden: tuple[int, ...]) -> None:
    case = TINY._replace(hidden=hidden)
    state, buffer = sac_bench.build(case, 0)
    with FlopCounterMode(display=False) as counter:
        sac.update(state, buffer.sample(case.batch, state.gens))
    wide = hidden[0] >= backprop.WIDE
    expected = sac_bench.update_operations(case)
    rows = 2 * case.members * case.batch
    # The gradient below a critic's head is an outer product, for which no matrix routine is called unless rows are
    # routed: once per critic in the critic loss, and in the actor loss of narrow networks.
    expected -= rows * hidden[-1] * 2
    if not wide:  # both critics of every row are gone through
        expected += rows * (hidden[0] * hidden[1] + case.act_dim * hidden[0]) - rows * hidden[-1]
    assert counter.get_total_flops() == expected


def test_bench_reports_every_case() -> None:
    threads = torch.get_num_threads()
    found = json.loads(json.dumps(sac_bench.bench_sac({"tiny": TINY}, threads=(1,), seconds=0.05)))
    assert torch.get_num_threads() == threads
    row = found["threads_1"]["tiny"]
    assert row["updates_per_s"] == pytest.approx(TINY.members / row["ms"] * 1e3)
    assert row["times_reference"] == pytest.approx(row["reference_ms"] / row["ms"])
    assert row["share_of_floor"] == pytest.approx(row["floor_ms"] / row["ms"])
    assert all(value > 0 for value in row.values())


def test_training_in_the_kitchen_names_what_it_takes() -> None:
    with pytest.raises(UserError, match="bc, ppo"):
        train.run(["algo=sac"])
