"""Runs from before a field or a part of a state got another name: they load; a typed one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coord import checkpoint, plugins
from coord.errors import UserError
from coord.run import config, renames
from coord.run.training import STATE_FILE, TrainingJob
from populations.methods.belief import BeliefConfig

WORDS = ["method=belief", "partners=somewhere", "method.biased_share=0.1", "method.kickstarting=0.5"]


def test_a_saved_configuration_with_old_names_is_read(tmp_path: Path) -> None:
    cfg = config.load("train", [*WORDS, "method.kickstarting_horizon=77"])
    text = config.to_yaml(cfg)
    for old, new in renames.FIELDS["method/belief"].items():
        assert f"  {new}:" in text
        text = text.replace(f"  {new}:", f"  {old}:")
    (tmp_path / "config.yaml").write_text(text)
    assert config.load_saved("train", tmp_path / "config.yaml") == cfg


def test_a_resumed_run_may_have_old_names(tmp_path: Path) -> None:
    cfg = config.load("train", WORDS)
    (tmp_path / "config.yaml").write_text(config.to_yaml(cfg).replace("biased_share:", "whim_share:"))
    resumed = config.load("train", [f"resume={tmp_path}"])
    assert resumed.method == cfg.method
    assert isinstance(resumed.method, BeliefConfig)


@pytest.mark.parametrize(
    ("old", "new"), [("method.whim_share", "method.biased_share"), ("method.lessons", "method.kickstarting")]
)
def test_an_old_name_that_is_typed_is_refused_with_the_new_one(old: str, new: str) -> None:
    with pytest.raises(UserError, match=rf"unknown field '{old}' of coord train; did you mean '{new}'\?"):
        config.load("train", ["method=belief", f"{old}=0.1"])


def test_an_old_name_of_another_choice_is_none() -> None:
    with pytest.raises(UserError, match=r"unknown field of coord train 'method.whim_share'"):
        config.load("train", ["method=e3t", "method.whim_share=0.1"])


def test_every_new_name_is_a_field_and_no_old_one_is() -> None:
    for name, fields in renames.FIELDS.items():
        group, _, choice = name.rpartition("/")
        commands = [config.config_class(one) for one in plugins.entries("coord.commands")]
        offered = [plugins.choices_of(cls)[group] for cls in commands if group in plugins.choices_of(cls)]
        classes = [one.config(choice, group) for one in offered if choice in one.names()]
        for cls in classes or [config.config_class(name)]:
            assert set(fields.values()) <= set(config.hints(cls))
            assert not set(fields) & set(config.hints(cls))


def test_a_training_state_with_old_names_is_read(tmp_path: Path) -> None:
    """The loader of a resumed run hands every part its tensors under the names of now."""

    class Part:
        env_step = 5

        def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
            self.state = state

        set_state = load_state_dict

    parts = Part(), Part(), Part()
    state, env, extra = parts
    one = torch.ones(1)
    tensors = {"state.w": one, "env.tutor.rng": one, "env.context.told": one, "extra.lessons.net.table": one}
    checkpoint.save(tmp_path / STATE_FILE, tensors, {"kind": "training", "env_step": 5, "elapsed_s": 1.0})
    TrainingJob(tmp_path, "", "", state=state, env=env, extra=extra).load()  # type: ignore[arg-type]
    assert [sorted(part.state) for part in parts] == [
        ["w"],
        ["context.privileged", "teacher.rng"],
        ["classifier.net.table"],
    ]
