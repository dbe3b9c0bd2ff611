"""Words that nothing would read are refused when they are typed; defaults may be idle."""

from __future__ import annotations

import pytest

from coord import plugins
from coord.errors import UserError
from coord.run import config


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("train", ["algo=bc", "members=3"], "members=3 would do nothing: algo=bc clones people"),
        ("train", ["algo=bc", "rules=overcooked-ai"], "rules=overcooked-ai would do nothing"),
        ("train", ["algo=bc", "name=foo"], "name=foo would do nothing"),
        ("train", ["algo=bc", "partners=random"], "partners=random would do nothing"),
        ("train", ["algo=bc", "method=e3t"], "method=e3t would do nothing"),
        ("train", ["data=games.sqlite"], "for algo=bc"),
        ("evaluate", ["human=g.sqlite", "episodes=3"], "episodes=3 would do nothing"),
        ("evaluate", ["context=both"], "games_in_a_row"),
        ("layouts", ["count=3"], "coord layouts generate"),
        ("layouts", ["what=generate", "names=cramped_room"], "names=cramped_room would do nothing"),
        ("games", ["what=list", "game=3"], "coord games list does not read it"),
        ("games", ["what=show", "game=3", "out=x.csv"], "coord games show does not read it"),
        ("study", ["what=check", "out=x"], "coord study check does not read it"),
        ("label", ["what=report", "annotator=ann"], "it is for the window"),
        ("replay", ["speed=2"], "say out= as well"),
        ("play", ["study=s.yaml", "layout=cramped_room"], "the study file says"),
        ("crowd", ["what=report", "queries=5"], "coord crowd experiment"),
        ("bench", ["what=play", "repeats=3"], "what=play does not read it"),
        ("scoreboard", ["what=table", "seeds=3"], "say it to run"),
        ("scoreboard", ["what=run", "readme=README.md"], "written by plot"),
        ("efficiency", ["what=plot", "episodes=3"], "say it to run"),
        ("safety", ["layout=cramped_room"], "task=overcooked"),
        ("prefer", ["horizon=50"], "env=overcooked"),
        ("prefer", ["min_answers=3"], "answerer=human"),
        ("prefer", ["method=sac", "labels=300"], "method=sac learns from no labels"),
        ("prefer", ["method=sac", "reward.ensemble=5"], "reward.ensemble=5 would do nothing: method=sac"),
        ("prefer", ["method=prefppo", "buffer_size=500"], "replay buffer"),
        ("prefer", ["env=overcooked", "value_updates=3"], "init_from"),
        ("prefer", ["env=overcooked", "env_processes=2"], "control tasks"),
    ],
)
def test_words_that_do_nothing_are_refused(command: str, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config.load(command, words)


@pytest.mark.parametrize("command", sorted(plugins.entries("coord.commands")))
def test_idle_fields_exist_and_their_defaults_are_no_reason_to_refuse(command: str) -> None:
    cfg = config.load(command, [])
    module = plugins.find("coord.commands", command, "command")
    idle = cfg.idle() if hasattr(cfg, "idle") else getattr(module, "idle", lambda cfg: {})(cfg)
    assert set(idle) < set(config.to_dict(cfg))


def test_what_is_read_may_be_said() -> None:
    config.load("train", ["algo=bc", "data=games.sqlite", "rules=overcooked-ai", "algo.epochs=3", "seed=1"])
    config.load("evaluate", ["games_in_a_row=3", "context=both"])
    config.load("scoreboard", ["what=table", "variant=masked", "out=x"])
    config.load("prefer", ["method=sac", "labels=0"])
