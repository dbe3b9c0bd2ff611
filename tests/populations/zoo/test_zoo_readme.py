"""The examples of populations/zoo/README.md play, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import populations
from coord.evaluation.agents import load_agents
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.overcooked import load_layout
from tests.coord.agents.schemes.conftest import COOK

PAGE = Path(populations.__file__).parent / "zoo" / "README.md"
# An actor of the shape of ZSC-Eval's: it remembers how many ticks of the game it saw.
ACTOR = """
import numpy as np
import torch

class Actor(torch.nn.Module):
    def forward(self, obs, memory, masks):
        assert obs.shape[1:] == (5, 4, 26) and memory.shape[1:] == (1, 64) and masks.shape[1:] == (1,)
        memory = torch.as_tensor(memory * masks[:, None]) + 1
        return memory[:, 0, :1].long() % 6, torch.zeros(len(obs), 1), memory

actor = Actor()
"""


def example(name: str) -> str:
    return next(text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if name in text)


def test_the_cook_of_the_page_is_the_one_that_is_tested():
    assert example("# cook.py").removeprefix("# cook.py\n") == COOK


@pytest.mark.usefixtures("_clean_modules")
def test_the_adapter_for_zsc_eval_plays_and_keeps_memory(tmp_path):
    text = example("# zsc_cook.py")
    assert len(text.splitlines()) <= 30
    (tmp_path / "zsc_cook.py").write_text(text)
    (tmp_path / "my_zsc_eval.py").write_text(ACTOR)
    agents = load_agents([f"python:{tmp_path / 'zsc_cook.py'}:Cook", "stay"], "cramped_room", "classic")
    where = MatchRules(layout=load_layout("cramped_room"), horizon=13)
    games = play_matches(where, agents, [Match(0, 1, 0)], episodes=4, games_in_a_row=2, record=True)
    expected = [tick % 6 for tick in range(1, 14)]
    assert games.joint_acts[0, :, :, 0].tolist() == [expected] * 4  # every game anew


@pytest.fixture
def _clean_modules():
    before = list(sys.path)
    yield
    sys.path[:] = before
    sys.modules.pop("my_zsc_eval", None)


@pytest.mark.slow
def test_the_first_command_of_the_page(tmp_path):
    (tmp_path / "cook.py").write_text(COOK)
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith("    coord evaluate"))
    words = [sys.executable, "-m", *line.split(), "episodes=1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
