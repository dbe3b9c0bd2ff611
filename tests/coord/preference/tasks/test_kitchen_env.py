"""Kitchens as a task: what the ego sees, who plays with it, what teachers judge by, what plays a game again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.agents.files import StoredAgent
from coord.errors import UserError
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.overcooked.frames import frames_of_kitchen
from coord.overcooked.index_spec import NUM_RECIPES
from coord.pair_env import Utility
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.learners.sac import evaluate
from coord.preference.tasks.kitchen_env import KitchenTaskEnv
from coord.preference.tasks.kitchen_teachers import UTILITIES, Judgement, judgement
from tests.agent_fixtures import index_member

PARTNERS = [StoredAgent(made.card, made.net) for made in (index_member("a", 0), index_member("b", 1))]
TICKS = 30


def make(
    rows: int = 4, *, members: int = 2, judged: Judgement | None = None, evaluation: bool = False
) -> KitchenTaskEnv:
    kitchens = OvercookedVectorEnv("cramped_room", members * rows, horizon=TICKS)
    judged = judged or Judgement(Utility())
    return KitchenTaskEnv(kitchens, PARTNERS, members=members, seed=5, judgement=judged, evaluation=evaluation)


def actions(env: KitchenTaskEnv, gen: torch.Generator) -> torch.Tensor:
    return torch.randint(6, (env.members, env.rows), generator=gen)


@pytest.mark.parametrize("layout", ["cramped_room", "counter_circuit", "tutorial_3"])
@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
def test_only_possible_facts_ever_hold(layout: str, rules: str) -> None:
    env = OvercookedVectorEnv(layout, 20, horizon=200, rules=rules)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        env.step(rng.integers(6, size=(20, env.num_players)))
        seen |= set(np.unique(env.index_obs()).tolist())
    constant = {env.spec.offsets["layout"], env.spec.pad}
    possible = set(env.spec.possible(env.layouts[0]).tolist())
    assert seen - constant <= possible
    assert len(seen & possible) > 60
    assert len(possible) < env.spec.vocab_size


def test_walking_changes_no_thing_taking_and_potting_an_onion_does() -> None:
    """cramped_room: what the second chef does, from (3, 1) beside the onions, and how many facts of things change."""
    env = OvercookedVectorEnv("cramped_room", 1)
    env.reset()
    things = set(env.spec.things(env.layouts[0]).tolist())
    assert things < set(env.spec.possible(env.layouts[0]).tolist())
    north, south, east, west, stay, interact = range(6)
    take = [(east, 0), (interact, 2)]  # holds nothing -> holds an onion
    script = [(stay, 0), *take, (west, 0), (north, 0), (interact, 3)]  # and back, and the empty pot has one
    script += [(east, 0), *take, (west, 0), (north, 0), (interact, 4)]  # a pot with one -> with two
    script += [(east, 0), *take, (south, 0), (south, 0), (east, 0), (interact, 3)]  # on the counter at (4, 2)
    changes = []
    for act, _ in script:
        before = set(env.index_obs()[0, 1].tolist()) & things
        env.step(np.array([[stay, act]]))
        changes.append(len(before ^ (set(env.index_obs()[0, 1].tolist()) & things)))
    assert changes == [count for _, count in script]


def test_a_thing_is_the_same_on_any_counter_and_in_any_pot() -> None:
    """coordination_ring: by the numbers of the table in `IndexSpec`."""
    env = OvercookedVectorEnv("coordination_ring", 1)
    spec, layout = env.spec, env.layouts[0]
    things, same, at = spec.things(layout), spec.same_thing(layout), spec.offsets
    where = dict(zip(things.tolist(), same.tolist(), strict=True))
    counters = [cell for cell in range(spec.cells) if at["object"] + cell in where]
    assert len(counters) == sum(row.count("X") for row in layout.terrain)
    for kind in (0, 2):  # onions, dishes
        first = at["object"] + kind * spec.cells + counters[0]
        assert {where[at["object"] + kind * spec.cells + cell] for cell in counters} == {first}
    for block in ("pot_idle", "pot_soup"):
        assert where[at[block] + NUM_RECIPES] == where[at[block]] == at[block]  # the second pot, the first
        assert where[at[block] + NUM_RECIPES + 1] == at[block] + 1
    held = [row for row in where if at["holds"] <= row < at["faces"]]
    assert len(held) > 8
    assert all(where[row] == row for row in held)


def test_a_reward_that_sees_no_moves_reads_how_many_of_each_thing_came_and_went() -> None:
    """The folded change is the sum over places of the whole one, in the column of the first place; no other is set."""
    kitchens = [OvercookedVectorEnv("coordination_ring", 8, horizon=TICKS) for _ in range(2)]
    partners = [StoredAgent(made.card, made.net) for made in [index_member("a", 0, "coordination_ring")]]
    options = {"judgement": Judgement(Utility()), "change": True, "members": 2, "seed": 5}
    whole, folded = (KitchenTaskEnv(kitchens[i], partners, **options, moves=not i) for i in range(2))
    spec, layout = kitchens[0].spec, kitchens[0].layouts[0]
    things, same = spec.things(layout).tolist(), spec.same_thing(layout).tolist()
    column, busy = {row: c for c, row in enumerate(whole.facts.tolist())}, 0
    gens = [torch.Generator(), torch.Generator()]
    for _ in range(TICKS):
        full, short = (env.step(actions(env, gen)).beside for env, gen in zip((whole, folded), gens, strict=True))
        expected = torch.zeros_like(full)
        for row, first in zip(things, same, strict=True):
            expected[..., column[first]] += full[..., column[row]]
        assert torch.equal(short, expected)
        busy += int((short != 0).any())
    assert busy > 5


def test_observations_are_the_facts_of_the_index_observation() -> None:
    env, gen = make(), torch.Generator().manual_seed(0)
    facts = env.kitchens.spec.possible(env.kitchens.layouts[0])
    for _ in range(TICKS + 3):
        obs, listed = env.observe(), env.env.observe()
        assert obs.shape == (2, 4, env.obs_dim)
        for m, n in np.ndindex(2, 4):
            assert set(facts[obs[m, n].numpy() > 0]) == set(listed[m, n].tolist()) & set(facts.tolist())
        env.step(actions(env, gen))


@pytest.mark.parametrize("partner_acts", [False, True])
def test_beside_the_facts_stand_what_the_partner_did_and_what_changed(partner_acts: bool) -> None:
    kitchens = OvercookedVectorEnv("cramped_room", 8, horizon=TICKS)
    options = {"judgement": Judgement(Utility()), "partner_acts": partner_acts, "change": True}
    env = KitchenTaskEnv(kitchens, PARTNERS, members=2, seed=5, **options)
    gen, width = torch.Generator(), 6 * partner_acts
    assert env.beside_dim == width + env.obs_dim
    for _ in range(TICKS + 3):  # over the end of a game: what followed is its last state, not the next game's first
        obs = env.observe()
        done = env.step(actions(env, gen))
        assert done.beside is not None
        assert torch.equal(obs + done.beside[..., width:], done.final_obs)
        if partner_acts:
            assert torch.equal(done.beside[..., :6].argmax(-1), env.last_partner_act)
        assert torch.equal(done.known(obs)[..., : env.obs_dim], obs)


def test_episodes_are_grouped_by_partner() -> None:
    env, gen = make(8), torch.Generator().manual_seed(0)
    for t in range(2 * TICKS):
        other = (env.env.ego_seat + 1) % 2
        met = env.env.partner[np.arange(16), other].reshape(2, 8)
        if t % TICKS == 0:
            first = met
        step = env.step(actions(env, gen))
        assert np.array_equal(step.group, first)  # also in the last tick of a game, after which others come
    assert set(first.ravel()) == {0, 1}


def test_the_ego_has_either_seat_equally_often_and_everybody_meets_everybody() -> None:
    env = make(8, evaluation=True)
    for m in range(2):
        mine = slice(8 * m, 8 * (m + 1))
        pairs = list(zip(env.env.ego_seat[mine].tolist(), env.env.partner[mine, 0].tolist(), strict=True))
        assert sorted(pairs) == sorted([(seat, who) for seat in (0, 1) for who in (0, 1)] * 2)
    before = env.env.partner.copy()
    evaluate(lambda obs: torch.zeros(obs.shape[:2], dtype=torch.int64), env)
    assert (env.env.partner == before).all()


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        (Judgement(Utility()), lambda rew, shaped, events: rew),
        (Judgement(Utility(), 0.5), lambda rew, shaped, events: rew + 0.5 * shaped),
        (
            Judgement(Utility({"movement": 2.0, "collision": -3.0}, 0.1)),
            lambda rew, shaped, events: 0.1 * rew + 2 * events["movement"] - 3 * events["collision"],
        ),
    ],
)
def test_teachers_judge_by_what_they_want(judged: Judgement, expected: object) -> None:
    """Against counts that the kitchens keep of whole games, at their end."""
    env, gen = make(judged=judged), torch.Generator().manual_seed(1)
    wanted, shaped = torch.zeros(2, 2, 4)
    for _ in range(TICKS):
        step = env.step(actions(env, gen))
        wanted, shaped = wanted + step.judged, shaped + env.shaped_rew
    assert step.truncated.all()
    seats = env.env.ego_seat
    counts = env.kitchens.event_counts(final=True)[np.arange(8), seats].reshape(2, 4, -1)
    events = {name: torch.from_numpy(counts[..., k]) for k, name in enumerate(EVENTS)}
    ret = torch.from_numpy(env.kitchens.episode_return(final=True)).view(2, 4)
    assert torch.allclose(wanted, expected(ret, shaped, events), atol=1e-4)  # type: ignore[operator]
    assert events["movement"].sum() > 0


def test_named_and_own_utilities() -> None:
    assert judgement(TeacherConfig()) == Judgement(Utility())
    assert judgement(TeacherConfig(wants="shaped", shaped_weight=2.0)) == Judgement(Utility(), 2.0)
    for name, utility in UTILITIES.items():
        assert judgement(TeacherConfig(wants="utility", utility=name)) == Judgement(utility)
    own = TeacherConfig(wants="utility", weights={"collision": -1.0}, task_weight=0.0)
    assert judgement(own) == Judgement(Utility({"collision": -1.0}, 0.0))
    with pytest.raises(UserError, match="did you mean 'collision'"):
        judgement(TeacherConfig(wants="utility", weights={"colision": -1.0}))
    with pytest.raises(UserError, match="did you mean 'own_plating'"):
        judgement(TeacherConfig(wants="utility", utility="own_platin"))
    with pytest.raises(UserError, match="did you mean 'utility'"):
        TeacherConfig(wants="utilty")


def test_what_was_played_leads_to_the_same_game_and_picture() -> None:
    env, gen = make(2, members=1), torch.Generator().manual_seed(2)
    seen, played = [], []
    for _ in range(TICKS):
        seen.append(env.observe())
        step = env.step(actions(env, gen))
        assert step.played is not None
        played.append(step.played)
    for n in range(2):
        acts, seat = torch.stack(played)[:, 0, n].numpy(), int(step.seed[0, n])
        assert seat == n
        obs = seen[10][0, n].numpy()
        film = frames_of_kitchen("cramped_room", acts, 10, 5, 150, seat=seat, horizon=TICKS, expected=obs)
        assert film.shape[0] == 5
        assert film.shape[2] == 150
        assert film.std() > 10
        with pytest.raises(UserError, match="goes another way"):
            frames_of_kitchen("cramped_room", acts, 11, 5, seat=seat, horizon=TICKS, expected=np.zeros(env.obs_dim))
    with pytest.raises(UserError, match="no ticks 28 to 32"):
        frames_of_kitchen("cramped_room", acts, 28, 5, seat=0)


def test_what_the_partner_did_is_told() -> None:
    env, gen = make(), torch.Generator().manual_seed(3)
    for _ in range(3):
        act = actions(env, gen)
        step = env.step(act)
        joint = step.played.flatten(0, 1)  # type: ignore[union-attr]
        kitchen, seat = torch.arange(8), torch.from_numpy(env.env.ego_seat)
        assert torch.equal(joint[kitchen, seat], act.flatten())
        assert torch.equal(joint[kitchen, 1 - seat], env.last_partner_act.flatten())


def test_evaluation_names_partners_events_and_the_teachers_score() -> None:
    env = make(4, judged=Judgement(Utility({"stay": 1.0})), evaluation=True)
    found = evaluate(lambda obs: torch.full(obs.shape[:2], 4), env)  # the ego stays
    assert found["eval/teacher_score"].tolist() == [TICKS, TICKS]
    assert found["eval/events/stay"].tolist() == [TICKS, TICKS]
    assert found["eval/events/movement"].tolist() == [0, 0]
    assert {name for name in found if name.startswith("eval/with/")} == {"eval/with/a", "eval/with/b"}
    assert found["eval/return"].tolist() == [0, 0]


def test_a_saved_kitchen_goes_on_bit_for_bit() -> None:
    first, second = make(), make()
    gen = torch.Generator().manual_seed(4)
    for _ in range(7):
        first.step(actions(first, gen))
    second.set_state(first.get_state())
    for _ in range(TICKS):
        act = actions(first, gen)
        ours, theirs = first.step(act), second.step(act)
        for mine, other in zip(ours[:8], theirs[:8], strict=True):
            assert np.array_equal(np.asarray(mine), np.asarray(other))
        assert torch.equal(first.events, second.events)


def test_nobody_to_play_with() -> None:
    kitchens = OvercookedVectorEnv("cramped_room", 2)
    with pytest.raises(UserError, match="say partners=<pool>"):
        KitchenTaskEnv(kitchens, [], members=1, seed=0, judgement=Judgement(Utility()))
