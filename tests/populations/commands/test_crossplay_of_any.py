"""`coord crossplay agents=`: agents of any kind with one another."""

from __future__ import annotations

import json

from coord.run import cli

COOK = "class Cook:\n obs = 'features'\n def act(self, obs, info): return info['tick'] % 6"


def test_agents_of_any_kind_play_one_another(tmp_path, capsys):
    (tmp_path / "cook.py").write_text(COOK)
    agents = f"agents=greedy,python:{tmp_path / 'cook.py'}:Cook"
    words = ["crossplay", agents, "episodes=1", "horizon=20"]
    assert cli.main([*words, f"out={tmp_path / 'xp'}"]) == 0
    result = json.loads((tmp_path / "xp" / "crossplay.json").read_text())
    assert result["members"] == ["greedy", "python:cook.py:Cook"]
    assert result["xp_mean"] is not None
    assert cli.main(words) == 2
    assert "agents= needs out=" in capsys.readouterr().err


def test_a_pool_or_agents_but_not_both(tmp_path, capsys):
    assert cli.main(["crossplay", "runs/pool", "agents=greedy"]) == 2
    assert cli.main(["crossplay", "agents=greedy,greedy", f"out={tmp_path}"]) == 2
    assert "two of them are called 'greedy'" in capsys.readouterr().err
