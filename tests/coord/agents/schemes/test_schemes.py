"""Agents of anybody's: they play what their libraries play, and what is wrong with one is a line that names it."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from coord import plugins
from coord.agents.files import read_agent, save_agent
from coord.agents.players import StayAgent
from coord.agents.schemes import guard
from coord.agents.views import KitchenView
from coord.errors import UserError
from coord.evaluation.agents import files_of, hashes_of, load_agent, load_agents, load_training_partners
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.overcooked import OvercookedVectorEnv, load_layout
from coord.references import join_options, names_code
from coord.run import cli
from coord.run.commands import evaluate
from tests.agent_fixtures import card, constant_policy
from tests.coord.agents.schemes.conftest import bring

HOME = "cramped_room"


def games(*refs: str, episodes: int = 2, horizon: int = 30):
    agents = load_agents(refs, HOME, "classic")
    matches = [Match(0, i, seat) for i in range(1, len(agents)) for seat in (0, 1)]
    return play_matches(
        MatchRules(layout=load_layout(HOME), horizon=horizon), agents, matches, episodes=episodes, record=True
    )


def python(folder: Path, text: str, name: str = "Cook") -> str:
    (folder / "one.py").write_text(text)
    return f"python:{folder / 'one.py'}:{name}"


def test_a_network_decides_as_in_its_own_library(brought):
    folder, model = brought
    env = OvercookedVectorEnv(HOME, 8, horizon=40, seed=1)
    env.reset()
    view, rng = KitchenView(env), np.random.default_rng(0)
    rows, seats, compared = np.arange(8), np.zeros(8, np.int64), 0
    refs = [f"{kind}:{folder / name},obs=features" for kind, name in (("sb3", "ppo.zip"), ("onnx", "ppo.onnx"))]
    both = [load_agent(ref, HOME, "classic", stochastic=False) for ref in refs]
    for _ in range(30):
        expected, _ = model.predict(view.features()[rows, seats], deterministic=True)
        for agent in both:
            assert (agent.act(view, rows, seats) == expected).all()
            compared += len(rows)
        acts = rng.integers(0, 6, (8, 2))
        view.stepped(acts, env.step(acts).truncated)
    assert compared == 480


def test_drawn_actions_follow_the_policys_probabilities(brought):
    folder, model = brought
    env = OvercookedVectorEnv(HOME, 4000, horizon=40)
    env.reset()
    view, rows, seats = KitchenView(env), np.arange(4000), np.zeros(4000, np.int64)
    agent = load_agent(f"sb3:{folder / 'ppo.zip'},obs=features", HOME, "classic")
    agent.start(4000, 2, 0)
    shares = np.bincount(agent.act(view, rows, seats), minlength=6) / 4000
    obs = torch.from_numpy(view.features()[:1, 0])
    expected = model.policy.get_distribution(obs).distribution.probs[0].detach().numpy()
    assert np.abs(shares - expected).max() < 0.03
    best = load_agent(f"sb3:{folder / 'ppo.zip'},obs=features,choose=best", HOME, "classic")
    assert len(np.unique(best.act(view, rows, seats))) == 1


def test_a_python_file_plays_beside_anybody_and_repeatably(brought):
    folder, _ = brought
    refs = (f"python:{folder / 'cook.py'}:Cook", "stay", f"onnx:{folder / 'ppo.onnx'},obs=features")
    first, again = games(*refs), games(*refs)
    assert (first.joint_acts == again.joint_acts).all()
    assert len(np.unique(first.joint_acts[:, :, :, 0])) > 1


def test_what_a_visitor_is_told(tmp_path):
    ref = python(
        tmp_path,
        """
import numpy as np
seen = []
class Cook:
    obs = "lossless"
    def reset(self, n, seed):
        seen.append(("reset", n))
    def act(self, obs, info):
        seen.append((obs.shape, info["seat"].tolist(), info["tick"].tolist(), info["done"].tolist(), info["layout"]))
        assert info["legal"].shape == (len(obs), 6) and info["legal"].all()
        return np.full(len(obs), 4)
""",
    )
    agents = load_agents([ref, "stay"], HOME, "classic")
    where = MatchRules(layout=load_layout(HOME), horizon=2)
    play_matches(where, agents, [Match(0, 1, 0), Match(0, 1, 1)], episodes=2, games_in_a_row=2)
    seen = next(m.seen for n, m in sys.modules.items() if n.startswith("coord_visitor_") and hasattr(m, "seen"))
    shape = (2, 5, 4, 26)
    game = [(shape, [0, 1], [0, 0], [True, True], HOME), (shape, [0, 1], [1, 1], [False, False], HOME)]
    assert seen == [("reset", 2), *game, *game]


def test_an_agent_that_knows_one_kitchen_at_a_time_is_looped_over(tmp_path):
    """Each seat has an object of its own, whose memory is its own."""
    ref = python(
        tmp_path,
        """
class Cook:
    obs, batched, count = "index", False, 0
    def act(self, obs, info):
        assert len(obs) == 1
        self.count = 0 if info["done"][0] else self.count + 1
        return [self.count % 6]
""",
    )
    played = games(ref, "stay", horizon=13).joint_acts  # [2 seats, 2 games, 13, 2]
    for seat in (0, 1):
        assert (played[seat, :, :, seat] == np.arange(13) % 6).all()


def test_agents_of_our_own_protocol_are_accepted(tmp_path):
    text = "from coord.agents.players import RandomAgent\nCook = RandomAgent\n"
    assert games(python(tmp_path, text), "stay").joint_acts.shape == (2, 2, 30, 2)


WRONG = {
    "def Cook(): raise ValueError('no knife')": r"making it failed: ValueError: no knife \(one.py, line 1\)",
    "import nowhere": "loading it failed: ModuleNotFoundError",
    "raise SystemExit(0)": "loading it failed: SystemExit",
    "x = ": "loading it failed: SyntaxError",
    "Chef = 1": "unknown name in python:one.py:Cook 'Cook'",
    "Cook = 1": "is no class or function",
    "class Cook: pass": r"has no act\(obs, info\)",
    "class Cook:\n obs = 'feature'\n def act(self, o, i): pass": "unknown obs 'feature'; did you mean 'features'",
    "class Cook:\n obs = 'state'\n def act(self, o, i): return 3": r"gave shape \[\], expected one action per seat",
    "class Cook:\n obs = 'state'\n def act(self, o, i): return [0.5] * 4": "float64, expected whole numbers",
    "class Cook:\n obs = 'state'\n def act(self, o, i): return [6] * 4": "gave action 6, allowed are 0 to 5",
    "class Cook:\n obs = 'state'\n def act(self, o, i): return [[1], [2, 3]]": "reading its actions failed",
    "class Cook:\n obs = 'state'\n def act(self, o, i): return 1 / 0": "ZeroDivisionError: division by zero",
    "class Cook:\n obs = 'state'\n def act(self, o, i):\n  while 1:\n   try: pass\n   except Exception: 0": "longer",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_a_python_agent_does_wrong_is_one_line_that_names_it(tmp_path, monkeypatch, text):
    if "while 1" in text:
        monkeypatch.setattr("coord.agents.schemes.visitor.FIRST_S", 0.2)
    with pytest.raises(UserError, match=WRONG[text]) as error:
        games(python(tmp_path, text), "stay")
    assert "one.py" in str(error.value)


def test_a_slow_answer_is_noticed_where_nothing_can_be_interrupted():
    from concurrent.futures import ThreadPoolExecutor
    from time import sleep

    with ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match=r"agent x: act\(\) took longer than 0.01 s"):
        pool.submit(guard.guarded, "x", "act()", lambda: sleep(0.05), 0.01).result()


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("ppo.zip", "looks like an archive of Stable-Baselines3; try sb3:"),
        ("ppo.onnx", "looks like an ONNX file; try onnx:"),
        ("cook.py", "looks like a Python file; try python:"),
    ],
)
def test_a_file_that_is_no_agent_of_ours_is_told_so(brought, name, way):
    with pytest.raises(UserError, match=f"not a coord agent: it {way}"):
        load_agent(str(brought[0] / name), HOME, "classic")


def test_an_onnx_file_is_known_by_what_it_holds(brought, tmp_path):
    (tmp_path / "model.bin").write_bytes((brought[0] / "ppo.onnx").read_bytes())
    with pytest.raises(UserError, match="looks like an ONNX file"):
        load_agent(str(tmp_path / "model.bin"), HOME, "classic")


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        ("onxx:a", "unknown kind of agent 'onxx:'; did you mean 'onnx:'"),
        ("onnx:nowhere.onnx,obs=lossless", "no file at 'nowhere.onnx'"),
        ("onnx:{0}/ppo.onnx", "what does it see"),
        ("onnx:{0}/ppo.onnx,obs=state", "unknown observation of onnx: 'state'"),
        ("onnx:{0}/ppo.onnx,see=lossless", "unknown word"),
        ("onnx:{0}/ppo.zip,obs=features", "is no ONNX file"),
        ("onnx:{0}/ppo.onnx,obs=lossless", "its network failed: InvalidArgument"),
        ("sb3:{0}/ppo.onnx,obs=features", "is no archive of Stable-Baselines3"),
        ("sb3:{0}/ppo.zip,obs=lossless", "reads 96 numbers, obs=lossless has 520"),
        ("sb3:{0}/ppo.zip,obs=features,choose=worst", "unknown way to choose"),
        ("python:{0}/cook.py", "expected python:<package.module or file.py>:<name>"),
        ("python:{0}/nobody.py:Cook", "no file at"),
    ],
)
def test_references_that_stand_for_nothing(brought, ref, problem):
    with pytest.raises(UserError, match=problem):
        games(ref.format(brought[0]), "stay")


def test_training_takes_no_foreign_agent_and_runs_none(tmp_path):
    ref = python(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match="training takes networks of ours"):
        load_training_partners([ref], HOME, "classic")
    assert not (tmp_path / "ran").exists()


def test_a_kind_of_another_package_may_give_networks_of_ours(tmp_path, monkeypatch):
    """Training takes those, unless they are for evaluation only, and knows their files."""
    path, own = tmp_path / "one.safetensors", card("one")
    save_agent(path, own, constant_policy([0.0] * 6))
    theirs = SimpleNamespace(RUNS_CODE=False, NETWORKS=True)
    theirs.load, theirs.files = (lambda rest, layout, rules: read_agent(path)), (lambda rest: [path])
    monkeypatch.setattr("coord.evaluation.agents.has_human_games", lambda layout: False)  # no clone to compare with
    offered = plugins.entries("coord.agents")
    monkeypatch.setattr(plugins, "entries", lambda group: {**offered, "theirs": None})
    monkeypatch.setattr(plugins, "find", lambda group, name, what: theirs)
    assert [one.card.agent_id for one in load_training_partners(["theirs:one"], HOME, "classic")] == ["one"]
    assert load_agent("theirs:one", HOME, "classic").agent_id == "one"
    assert files_of("theirs:one") == [path]
    assert not names_code("theirs:one")
    save_agent(path, replace(own, extra={"evaluation_only": True}), constant_policy([0.0] * 6))
    with pytest.raises(UserError, match="for evaluation only"):
        load_training_partners(["theirs:one"], HOME, "classic")


# ------------------------------------------------------------------------------------------- hostile files


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def archive_with(path: Path, source: Path, **parts: bytes) -> str:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, parts.get(name.replace("policy.pth", "weights"), old.read(name)))
    return f"sb3:{path},obs=features"


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_an_archive_with_a_pickle_for_weights_runs_nothing(brought, tmp_path, how):
    mark, data = tmp_path / "ran", io.BytesIO()
    (pickle.dump if how == "pickle" else torch.save)({"action_net.weight": Bomb(mark)}, data)
    ref = archive_with(tmp_path / "bad.zip", brought[0] / "ppo.zip", weights=data.getvalue())
    with pytest.raises(UserError, match="holds more than weights, or is damaged; it is not unpickled"):
        load_agent(ref, HOME, "classic")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"policy_kwargs": {"activation_fn": "<class 'os.system'>"}}, "its activation is <class 'os.system'>"),
        ({"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.Threshold'>"}}, "its activation is"),
        ({"policy_kwargs": {"features_extractor_class": "<class 'mine.Net'>"}}, "made with features_extractor_class"),
        ({"policy_class": {"__module__": "mine"}}, "its policy is of mine"),
        ({"policy_class": None}, "its policy is of nothing"),
    ],
)
def test_what_the_json_of_an_archive_may_name(brought, tmp_path, changes, problem):
    source = brought[0] / "ppo.zip"
    with zipfile.ZipFile(source) as archive:
        settings = json.loads(archive.read("data"))
    ref = archive_with(tmp_path / "odd.zip", source, data=json.dumps(settings | changes).encode())
    with pytest.raises(UserError, match=problem):
        load_agent(ref, HOME, "classic")


def test_pickles_in_the_json_of_an_archive_are_not_read(brought, tmp_path):
    """The archive's own are base64 in `:serialized:`; one that would run something changes nothing."""
    source = brought[0] / "ppo.zip"
    with zipfile.ZipFile(source) as archive:
        settings = json.loads(archive.read("data"))
    settings["observation_space"] = {":type:": "x", ":serialized:": "gASVIQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU"}
    ref = archive_with(tmp_path / "odd.zip", source, data=json.dumps(settings).encode())
    assert load_agent(ref, HOME, "classic").agent_id == "sb3:odd.zip"


def test_an_onnx_file_that_points_to_other_files_is_refused(tmp_path):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[96, 6], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="/etc/passwd")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    value = helper.make_tensor_value_info
    ends = [[value(n, TensorProto.FLOAT, ["n", size])] for n, size in (("x", 96), ("y", 6))]
    model = helper.make_model(helper.make_graph([node], "g", *ends, [weight]))
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="keeps parameters in other files, which are not read"):
        load_agent(f"onnx:{tmp_path / 'bad.onnx'},obs=features", HOME, "classic")


def test_an_onnx_file_with_operators_of_another_library_is_refused(tmp_path):
    node = helper.make_node("System", ["x"], ["y"], domain="evil")
    value = helper.make_tensor_value_info
    ends = [[value(n, TensorProto.FLOAT, ["n", size])] for n, size in (("x", 96), ("y", 6))]
    model = helper.make_model(
        helper.make_graph([node], "g", *ends),
        opset_imports=[helper.make_opsetid("evil", 1), helper.make_opsetid("", 17)],
    )
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(UserError, match=r"agent onnx:bad.onnx: loading it failed"):
        load_agent(f"onnx:{tmp_path / 'bad.onnx'},obs=features", HOME, "classic")


# ------------------------------------------------------------------------------------------- commands


def test_lists_of_references_keep_the_words_of_each(brought):
    folder, _ = brought
    network = f"onnx:{folder / 'ppo.onnx'},obs=features"
    assert join_options(["a", *network.split(","), "choose=best", "b"]) == ["a", f"{network},choose=best", "b"]
    assert join_options(["a=b", "obs=c"]) == ["a=b", "obs=c"]
    assert hashes_of([network]) != hashes_of([f"{network},choose=best"])


def test_evaluate_scores_foreign_agents(brought, tmp_path, capsys):
    folder, _ = brought
    words = [f"ego=python:{folder / 'cook.py'}:Cook", f"partners=stay,sb3:{folder / 'ppo.zip'},obs=features,greedy"]
    assert evaluate.run([*words, "episodes=1", "horizon=20", f"out={tmp_path / 'score.json'}"]) == 0
    rows = json.loads((tmp_path / "score.json").read_text())["rows"]
    assert [row["partner"] for row in rows[::2]] == ["stay", "sb3:ppo.zip", "greedy"]


def test_a_broken_agent_ends_a_command_with_exit_code_2(tmp_path, capsys):
    ref = python(tmp_path, "class Cook:\n obs = 'state'\n def act(self, o, i): return 1 / 0")
    assert cli.main(["evaluate", f"ego={ref}", "partners=stay"]) == 2
    assert capsys.readouterr().err.startswith("error: agent python:one.py:Cook: act() failed: ZeroDivisionError")


@pytest.mark.slow
def test_a_trained_policy_of_stable_baselines_goes_from_file_to_score(tmp_path):
    model = bring(tmp_path, 20_000)
    assert model.num_timesteps >= 20_000
    for ref in (f"sb3:{tmp_path / 'ppo.zip'},obs=features", f"onnx:{tmp_path / 'ppo.onnx'},obs=features"):
        words = [sys.executable, "-m", "coord", "evaluate", f"ego={ref}", "partners=human_proxy", "episodes=5"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "human_proxy" in done.stdout


def test_our_protocol_is_told_by_its_three_methods():
    from coord.agents.schemes.visitor import is_agent

    assert is_agent(StayAgent())
    assert not is_agent(object())
