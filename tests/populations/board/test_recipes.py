"""Recipes of the scoreboard: every method contends, every training is a command that fits, with a seed of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from coord import plugins
from coord.errors import UserError
from coord.evaluation.published import LAYOUTS
from coord.run import config
from populations import pool
from populations.board.recipes import BP_LAYOUTS, MANY_PARTNERS, POOLS, RECIPES, REFERENCES, Budget, best_member, plan
from populations.board.recipes import pool_step as make_pool
from tests.agent_fixtures import member

BUDGET = Budget(out=Path("board"))


def test_every_method_contends() -> None:
    assert {recipe.method for recipe in RECIPES.values()} == {*plugins.entries("coord.ego_methods"), ""}
    assert set(POOLS) <= set(plugins.entries("coord.pool_methods"))
    assert {name for recipe in RECIPES.values() for name in recipe.pools} == set(POOLS) - {"bp"}
    assert not set(RECIPES) & set(REFERENCES)


@pytest.mark.parametrize("name", RECIPES)
def test_the_words_of_a_recipe_fit(name: str) -> None:
    steps = plan(name, "forced_coordination", BUDGET).steps
    for step in steps:
        made = config.load(step.command, step.words)
        assert made.out == step.folder.as_posix()
        assert step.result.parent == step.folder
    assert [step.role for step in steps[:-1]] == ["pool"] * (len(steps) - 1)
    last = config.load(steps[-1].command, steps[-1].words)
    if RECIPES[name].method:
        assert (steps[-1].command, last.members, last.name) == ("train", 3, name)
        assert list(last.partners) == [step.folder.as_posix() for step in steps[:-1]]
    else:
        assert [step.command for step in steps] == ["population"] * 3


def test_pools_are_shared_and_no_two_trainings_start_alike() -> None:
    plans = {name: plan(name, layout, BUDGET) for layout in LAYOUTS for name in RECIPES}
    assert plans["mep"].steps[0] == plans["pecan"].steps[0] == plans["belief"].steps[0] == plans["hsp"].steps[1]
    assert plans["fcp"].steps[0] == plans["recurrent"].steps[0] == plans["state_aug"].steps[0]
    assert plan("cec", LAYOUTS[0], BUDGET).steps == plan("cec", LAYOUTS[1], BUDGET).steps
    every = {step for layout in LAYOUTS for name in RECIPES for step in plan(name, layout, BUDGET).steps}
    every |= {make_pool("bp", layout, BUDGET) for layout in BP_LAYOUTS}
    seeds = [word for step in every for word in step.words if word.startswith("seed=")]
    assert len(seeds) == len(set(seeds)) == len(every)


def test_a_preset_takes_the_place_of_our_budget() -> None:
    ours, theirs = (plan("fcp", LAYOUTS[0], Budget(out=Path("board"), preset=p)).steps for p in (None, "published"))
    assert set(MANY_PARTNERS) <= set(ours[1].words)
    assert not set(MANY_PARTNERS) & set(theirs[1].words)
    made = config.load("population", theirs[0].words)
    assert (made.preset, made.members, made.algo.total_steps) == ("published", 12, 10_000_000)


def test_egos_among_many_partners_have_the_same_budget() -> None:
    budgets = {}
    for name in ("fcp", "trajedi", "mep", "pecan", "recurrent"):
        algo = config.load("train", plan(name, LAYOUTS[0], BUDGET).steps[-1].words).algo
        budgets[name] = (algo.total_steps, algo.ent_horizon, algo.shaping_horizon, algo.num_envs)
    assert set(budgets.values()) == {(3_000_000, 2_000_000, 3_000_000, 64)}


def test_the_best_member_of_a_pool(tmp_path: Path) -> None:
    returns = {"a": 3.0, "b": None, "c": 7.0, "d": 7.0}
    pool.add_members(tmp_path, [member(name, 1, mean_return=value) for name, value in returns.items()])
    assert best_member(tmp_path) == f"{tmp_path.as_posix()}#c"


def test_nonsense_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'pecan'"):
        plan("pecann", LAYOUTS[0], BUDGET)
    with pytest.raises(UserError, match="seeds=0"):
        Budget(out=Path("board"), seeds=0)


def test_egos_among_partners_have_a_budget_of_the_kitchen() -> None:
    kitchen = "counter_circuit_o_1order"
    for name in ("fcp", "trajedi", "mep", "pecan", "hsp", "recurrent"):
        algo = config.load("train", plan(name, kitchen, BUDGET).steps[-1].words).algo
        assert (algo.total_steps, algo.ent_coef, algo.ent_horizon) == (5_000_000, 0.05, 1_000_000)
    alone = config.load("train", plan("state_aug", kitchen, BUDGET).steps[-1].words).algo
    assert alone.ent_coef == 0.2  # nobody from a pool plays beside it
    taught = config.load("train", plan("belief", kitchen, BUDGET).steps[-1].words).algo
    assert (taught.total_steps, taught.ent_coef) == (2_500_000, 0.05)  # the scripted cook shows it what there is to do
