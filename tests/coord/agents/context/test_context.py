"""Contexts: what the predictor remembers, and that an agent reads the same numbers in training, evaluation and play."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from coord.agents.context import kinds
from coord.agents.context.action import NOW, PAD, ActionPredictor, PartnerAction
from coord.agents.files import AgentCard, read_agent, save_agent
from coord.agents.policy import FrozenPolicy
from coord.agents.views import UNKNOWN, KitchenView
from coord.context_env import ContextEnv
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.nets.population import NUM_ACTIONS, Arch, PopulationNet
from coord.overcooked import IndexSpec, OvercookedVectorEnv, load_layout
from coord.partner_env import PartnerEnv, SelfPlayEnv, as_pool, frozen_partners
from play.game.worker import GameSpec, PartnerSpec, PartnerWorker
from tests.coord.test_partner_env import constant_pool, kitchens, random_actions

HISTORY = 2
SPEC = IndexSpec.for_layouts([load_layout("cramped_room")], "classic", 2)


def predictor(members: int = 1, scale: float = 1.0) -> ActionPredictor:
    """Predictors whose guesses are far from uniform."""
    gens = [torch.Generator().manual_seed(50 + m) for m in range(members)]
    net = ActionPredictor.create(SPEC.vocab_size, HISTORY, gens)
    with torch.no_grad():
        net.head_weight *= 300 * scale
        net.table_bias += 0.1
    return net


def ego_net(members: int = 1, sharp: float = 1e4) -> PopulationNet:
    """Egos to whom the context matters."""
    arch = Arch(inputs=SPEC.vocab_size, hidden=(64, 64), extra=NUM_ACTIONS)
    net = PopulationNet.create(arch, [torch.Generator().manual_seed(m) for m in range(members)])
    with torch.no_grad():
        net.head_weight *= sharp
        net.extra_weight *= 5
    return net


class Watched(PartnerAction):
    """Keeps what it was asked and what it said, [(kitchens, seats, values), ...]."""

    def __init__(self, net: ActionPredictor) -> None:
        super().__init__(net, SPEC)
        self.said: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def observe(self, view, kitchens, seats, last_joint_act):
        values = super().observe(view, kitchens, seats, last_joint_act)
        self.said.append((kitchens.copy(), seats.copy(), values.copy()))
        return values


# --------------------------------------------------------------------------------------------- predictor


def test_the_compiled_pass_equals_the_network() -> None:
    net, rng = predictor(3), np.random.default_rng(0)
    windows = rng.integers(0, SPEC.vocab_size + NOW + 1, (150, HISTORY + 1, 9)).astype(np.int16)
    windows[rng.random(windows.shape) < 0.2] = PAD
    windows[:5] = PAD
    member = rng.integers(0, 3, 150)  # in no order; and 150 rows are more than two blocks
    for given in (member, np.sort(member)):
        found = net.probs(windows, given)
        with torch.no_grad():
            all_members = net(torch.from_numpy(windows).expand(3, -1, -1, -1).contiguous()).softmax(-1).numpy()
        np.testing.assert_allclose(found, all_members[given, np.arange(150)], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert found.max() > 0.5


def test_every_parameter_of_the_predictor_gets_a_gradient() -> None:
    net = predictor(2)
    windows = torch.randint(0, SPEC.vocab_size, (2, 40, HISTORY + 1, 9), dtype=torch.int16)
    torch.nn.functional.cross_entropy(net(windows).flatten(0, 1), torch.zeros(80, dtype=torch.int64)).backward()
    for name, param in net.named_parameters():
        assert bool((param.grad.flatten(1).abs().amax(1) > 0).all()), name


def facts_of(env: OvercookedVectorEnv, kitchen: int, seat: int) -> list[int]:
    """What stands in a window for the present facts of a seat."""
    facts = env.index_obs(SPEC)[kitchen, seat]
    return np.where(facts < SPEC.vocab_size, facts, PAD).tolist()


def test_a_window_is_the_partners_recent_past_and_its_present() -> None:
    env, vocab = kitchens(1), SPEC.vocab_size
    view, context = KitchenView(env), PartnerAction(predictor(), SPEC)
    labels: list[tuple[list, int]] = []
    context.on_label = lambda k, s, windows, acts: labels.extend(zip(windows.tolist(), acts.tolist(), strict=True))
    context.start(1, 2, 0)
    row, seat, nothing = np.array([0]), np.array([1]), [PAD] * (SPEC.max_facts + 1)
    context.begin_episode(row)
    past: list[list[int]] = [nothing, nothing]
    answered: list[tuple[list, int]] = []
    for act in (0, 2, 5, 3):
        context.observe(view, row, seat, view.last_joint_act[row])
        present = facts_of(env, 0, 0)  # of the other seat, as it sees the kitchen
        window = [*past[-2:], [vocab + NOW, *present]]
        assert context._windows[0, 1].tolist() == window
        assert labels == answered  # every window of the ticks before, with what was then done
        past.append([vocab + act, *present])
        answered.append((window, act))
        joint = np.array([[act, 4]])
        view.stepped(joint, env.step(joint).truncated)
    # The agent misses a tick: that step is lost, and nothing is learned from it.
    view.invalidate()
    assert (view.last_joint_act == UNKNOWN).all()
    context.observe(view, row, seat, view.last_joint_act[row])
    assert context._windows[0, 1].tolist() == [*past[-3:-1], [vocab + NOW, *facts_of(env, 0, 0)]]
    assert len(labels) == 3
    context.begin_episode(row)
    assert (context._windows == PAD).all()


# --------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("kind", ["self-play", "partners"])
def test_rows_carry_the_context_and_every_tick_is_labelled(kind: str) -> None:
    """Against contexts asked one kitchen at a time; episodes of 12 ticks end twice."""
    env, members = kitchens(4), 2
    pool = frozen_partners(constant_pool(env, [0, 5]), env.spec)
    inner = SelfPlayEnv(env, members) if kind == "self-play" else PartnerEnv(env, pool, seed=0, members=members)
    net = predictor(members)
    context, labels = Watched(net), []
    context.on_label = lambda k, s, windows, acts: labels.extend(
        zip(k.tolist(), s.tolist(), acts.tolist(), strict=True)
    )
    rows = ContextEnv(inner, context, seed=0)
    kitchen, seat = inner.learners
    for tick in range(30):
        obs = rows.observe()
        assert torch.equal(obs, rows.observe())  # asked twice, answered from the same tick
        values = context.said[-1][2].reshape(members, rows.rows, -1)
        assert torch.equal(obs[..., :-NUM_ACTIONS], inner.observe())
        np.testing.assert_allclose(obs[..., -NUM_ACTIONS:].numpy() / 32767, values, atol=2e-5)
        asked = len(context.said)
        result = rows.step(random_actions(rows, tick))
        ended = bool(result.truncated.any())
        assert len(context.said) == asked + 1 + ended
        if ended:
            final = rows.final_observe()
            assert torch.equal(final[..., :-NUM_ACTIONS], inner.final_observe())
            last = context.said[-2][2].reshape(members, rows.rows, -1)
            np.testing.assert_allclose(final[..., -NUM_ACTIONS:].numpy() / 32767, last, atol=2e-5)
            assert not np.allclose(last, context.said[-1][2].reshape(last.shape))
    assert len(labels) == 30 * len(kitchen)  # what was played in the last tick of an episode is known too
    if kind == "partners":
        assert {act for _, _, act in labels} == {0, 5}
    for m in range(members):  # a member's kitchens are read by its own predictor
        window = context._windows[kitchen[m * rows.rows], seat[m * rows.rows]][None]
        np.testing.assert_allclose(net.probs(window, np.array([m]))[0], context.said[-1][2][m * rows.rows], rtol=1e-5)


def trained_like(values: Callable[[ContextEnv], torch.Tensor], ticks: int) -> tuple[list, list]:
    """An ego among partners that stay: its contexts and actions, tick by tick, [(n, ...)]."""
    env = OvercookedVectorEnv("cramped_room", 4, horizon=ticks)
    inner = PartnerEnv(env, frozen_partners(constant_pool(env, [4]), env.spec), seed=0)
    context = Watched(predictor())
    rows, acts = ContextEnv(inner, context, seed=0), []
    nudges = np.random.default_rng(1).integers(NUM_ACTIONS, size=ticks)  # what is done is not what was chosen
    for _ in range(ticks):
        act = values(rows)
        acts.append(act[0].tolist())
        rows.step((act + nudges[len(acts) - 1]) % NUM_ACTIONS)
    return [said for *_, said in context.said[:ticks]], acts


def test_an_agent_reads_and_plays_the_same_in_training_and_in_evaluation() -> None:
    net, ticks = ego_net(), 40
    with torch.no_grad():
        contexts, acts = trained_like(lambda rows: net(rows.observe())[0].argmax(-1), ticks)
    env = OvercookedVectorEnv("cramped_room", 4, horizon=ticks)
    context = Watched(predictor())
    agent = FrozenPolicy(net, SPEC, agent_id="ego", stochastic=False, contexts=[context])
    rows, seats = np.arange(4), np.arange(4) % 2  # as PartnerEnv seats its learners
    agent.start(4, 2, 0)
    agent.begin_episode(rows)
    view, moved, nudges = KitchenView(env), 0, np.random.default_rng(1).integers(NUM_ACTIONS, size=ticks)
    for tick in range(ticks):
        joint = np.full((4, 2), 4)
        chosen = agent.act(view, rows, seats)
        assert chosen.tolist() == acts[tick]
        joint[rows, seats] = (chosen + nudges[tick]) % NUM_ACTIONS
        assert (context.said[tick][2] == contexts[tick]).all()
        moved += tick > 0 and not np.allclose(contexts[tick], contexts[tick - 1])
        view.stepped(joint, env.step(joint).truncated)
    assert moved > ticks / 2
    assert len({act for tick in acts for act in tick}) > 1


def test_a_network_and_a_context_must_fit() -> None:
    with pytest.raises(ValueError, match="beside the kitchen"):
        FrozenPolicy(ego_net(), SPEC, agent_id="ego")


# --------------------------------------------------------------------------------------------- files


def written(path, **changes) -> AgentCard:
    """An agent file with a context."""
    layout, context, net = load_layout("cramped_room"), PartnerAction(predictor(), SPEC), ego_net(sharp=30.0)
    card = AgentCard(
        agent_id="ego",
        layouts={layout.name: layout.hash},
        rules="classic",
        method="e3t",
        arch=net.arch,
        spec=SPEC.to_dict(),
        context=context.settings() | changes,
    )
    save_agent(path, card, net, context=context.tensors())
    return card


def test_a_file_plays_as_the_agent_it_was_made_from(tmp_path) -> None:
    path = tmp_path / "ego.safetensors"
    card = written(path)
    found = read_agent(path).card
    assert (found.arch, found.context) == (card.arch, card.context)
    assert found.arch.extra == NUM_ACTIONS
    own = FrozenPolicy(ego_net(sharp=30.0), SPEC, agent_id="ego", contexts=[PartnerAction(predictor(), SPEC)])
    blind = FrozenPolicy(
        ego_net(sharp=30.0), SPEC, agent_id="ego", contexts=[PartnerAction(predictor(scale=0.0), SPEC)]
    )
    where, games = MatchRules(layout=load_layout("cramped_room"), horizon=60), []
    for agent in (own, load_agent(str(path), "cramped_room", "classic"), blind):
        pair = [agent, load_agent("random", "cramped_room", "classic")]
        games.append(play_matches(where, pair, [*both_seats(0, [1]), *both_seats(0, [0])], episodes=3, record=True))
    assert (games[0].joint_acts == games[1].joint_acts).all()
    assert not (games[0].joint_acts == games[2].joint_acts).all()  # the context does matter


def test_games_do_not_depend_on_their_neighbours(tmp_path) -> None:
    """Also where the agent holds both seats: each seat has its own memory."""
    written(tmp_path / "ego.safetensors")
    agent = load_agent(str(tmp_path / "ego.safetensors"), "cramped_room", "classic")
    where, matches = MatchRules(layout=load_layout("cramped_room"), horizon=40), both_seats(0, [0])
    whole, cut = (
        play_matches(where, [agent], matches, episodes=3, record=True, max_kitchens=size) for size in (100, 1)
    )
    assert (whole.joint_acts == cut.joint_acts).all()


def test_what_cannot_be_built_is_told_in_one_line(tmp_path) -> None:
    for changes, message in (
        ({"kind": "partner_acton"}, "did you mean 'partner_action'"),
        ({"history": 5}, "context 'partner_action' is incomplete or from another version"),
    ):
        written(tmp_path / "ego.safetensors", **changes)
        with pytest.raises(UserError, match=message):
            load_agent(str(tmp_path / "ego.safetensors"), "cramped_room", "classic")
    with pytest.raises(UserError, match="names no vocabulary"):
        kinds.build({}, {"kind": "partner_action"}, None)


def test_it_is_a_frozen_partner_with_a_context_of_its_own(tmp_path) -> None:
    written(tmp_path / "ego.safetensors")
    agent = read_agent(tmp_path / "ego.safetensors")
    pool = as_pool([agent, agent])
    assert pool.size == 2
    first, second = pool.contexts
    assert first is not second


def test_a_card_and_its_tensors_agree(tmp_path) -> None:
    card = written(tmp_path / "ego.safetensors")
    with pytest.raises(ValueError, match="disagree on whether it has a context"):
        save_agent(tmp_path / "x.safetensors", card, ego_net())
    with pytest.raises(ValueError, match="disagree on whether it has a context"):
        save_agent(
            tmp_path / "x.safetensors", dataclasses.replace(card, context=None), ego_net(), context={"a": torch.ones(1)}
        )


# --------------------------------------------------------------------------------------------- play


class Echo:
    """Says what it was told of the last tick: 0 for nothing, else one more than what seat 0 did."""

    agent_id = "echo"

    def start(self, num_envs, num_players, seed) -> None:
        """Needs no memory."""

    def begin_episode(self, rows) -> None:
        """Nothing to forget."""

    def act(self, view, rows, seats):
        """See `Agent.act`."""
        return view.last_joint_act[rows, 0] + 1


def load_echo(spec, game):
    return Echo()


def load_ego(spec, game):
    return FrozenPolicy(ego_net(), SPEC, agent_id="ego", stochastic=False, contexts=[PartnerAction(predictor(), SPEC)])


def worker_of(loader) -> PartnerWorker:
    game = GameSpec(load_layout("cramped_room"), "classic", 40, 1)
    worker = PartnerWorker(PartnerSpec("x"), game, 0.0, mode="thread", loader=loader)
    waited(worker, lambda: worker.status != "loading")
    return worker


def waited(worker: PartnerWorker, condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end_s, "nothing happened"
        worker.poll(0.0)
        time.sleep(0.001)


def asked(worker: PartnerWorker, tick: int, state, joint_act) -> int:
    worker.submit(tick, state, joint_act, 0.0)
    waited(worker, lambda: worker._answer is not None or worker.status != "ready")
    return worker.take(tick).action


def test_a_partner_in_a_game_is_told_what_was_played_unless_it_missed_a_state() -> None:
    worker, state = worker_of(load_echo), kitchens(1).state_dict(0)
    assert [asked(worker, 0, state, None), asked(worker, 1, state, (2, 4)), asked(worker, 2, state, (3, 4))] == [
        0,
        3,
        4,
    ]
    assert asked(worker, 4, state, (3, 4)) == 0  # it never saw the state of tick 3
    assert asked(worker, 5, state, (1, 4)) == 2
    worker.restart(0.0)
    waited(worker, lambda: worker.status != "loading")
    assert asked(worker, 6, state, (1, 4)) == 0
    worker.close()


def test_an_agent_with_a_context_plays_the_same_at_the_window() -> None:
    worker, agent = worker_of(load_ego), load_ego(None, None)
    env, played = OvercookedVectorEnv("cramped_room", 1, horizon=40), None
    agent.start(1, 2, 0)
    agent.begin_episode(np.array([0]))
    view, rng, seen = KitchenView(env), np.random.default_rng(0), set()
    for tick in range(39):
        expected = int(agent.act(view, np.array([0]), np.array([1]))[0])
        assert asked(worker, tick, env.state_dict(0), played) == expected
        seen.add(expected)
        played = (int(rng.integers(6)), int(rng.integers(6)))
        view.stepped(np.array([played]), env.step(np.array([played])).truncated)
    assert len(seen) > 1
    worker.close()
