"""The menu's lists: everything playable is found, and what is broken says why."""

from __future__ import annotations

import subprocess
import sys

from coord.agents.files import save_agent
from coord.overcooked import layout_names
from play.game import catalogue
from play.screens.setup import partner_note
from populations.pool import add_members
from tests.agent_fixtures import card, member, network


def test_all_layouts_of_the_package_and_own_ones(tmp_path):
    (tmp_path / "mine.layout").write_text('{"grid": """XXPXX\n                O1 2O\n                XDXSX"""}')
    (tmp_path / "bad.layout").write_text('{"grid": "XX"}')
    entries = {entry.name: entry for entry in catalogue.layouts([tmp_path])}
    assert set(layout_names()) < set(entries)
    assert entries["cramped_room"].num_players == 2
    mine, bad = entries[str(tmp_path / "mine.layout")], entries[str(tmp_path / "bad.layout")]
    assert (mine.num_players, mine.problem) == (2, "")
    assert bad.problem
    assert "\n" not in bad.problem


def test_partners_of_pools_files_and_built_in(tmp_path):
    add_members(tmp_path / "pool", [member("sp0-final", 0, mean_return=180.5), member("sp1-final", 1)])
    run = tmp_path / "ego"
    save_agent(run / "agent.safetensors", card("ego", method="fcp", mean_return=110.0), network())
    save_agent(run / "ckpt" / "state.safetensors", card("hidden"), network())
    (run / "broken.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0hello")
    (tmp_path / "pool" / "sp1-final.safetensors").unlink()
    found = {entry.ref: entry for entry in catalogue.partners([tmp_path])}
    assert {entry.ref for entry in catalogue.BUILT_IN} < set(found)
    best = found[f"{tmp_path / 'pool'}#sp0-final"]
    assert (best.method, best.score, best.layouts, best.problem) == ("sp", 180.5, ("cramped_room",), "")
    assert "is missing" in found[f"{tmp_path / 'pool'}#sp1-final"].problem
    ego = found[str(run / "agent.safetensors")]
    assert (ego.title, ego.method, ego.score, ego.rules) == ("ego", "fcp", 110.0, "classic")
    assert "damaged" in found[str(run / "broken.safetensors")].problem
    assert not any("hidden" in entry.title or "ckpt" in ref for ref, entry in found.items())


def test_egos_of_preferences_say_who_taught_them(tmp_path):
    learned = {"labels": 120, "teacher": "oracle", "preset": "fast"}
    save_agent(tmp_path / "run" / "agent.safetensors", card("mrn0", method="mrn", extra=learned), network())
    people = member("mrn1-0", 1, method="mrn", mean_return=90.0, extra=learned | {"teacher": "human"})
    add_members(tmp_path / "pool", [people, member("sp0", 2)])
    found = {entry.title: entry for entry in catalogue.partners([tmp_path])}
    lone, pooled, other = (found[name] for name in ("mrn0", "pool mrn1-0", "pool sp0"))
    assert (lone.method, lone.taught) == ("mrn", "120 labels by oracle")
    assert partner_note(pooled) == "mrn, 120 labels by people, 90 points in training"
    assert other.taught == ""


def test_a_damaged_pool_is_one_entry_with_its_problem(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    (entry,) = catalogue.partners([tmp_path])[len(catalogue.BUILT_IN) :]
    assert "damaged pool" in entry.problem
    assert not entry.fits("cramped_room", "classic")


def test_partners_fit_only_where_they_can_play():
    proxy = next(entry for entry in catalogue.BUILT_IN if entry.ref == "human_proxy")
    greedy = next(entry for entry in catalogue.BUILT_IN if entry.ref == "greedy")
    assert proxy.fits("cramped_room", "classic")
    assert not proxy.fits("cramped_room", "overcooked-ai")
    assert not proxy.fits("five_by_five", "classic")
    assert greedy.fits("five_by_five", "overcooked-ai")


def test_no_folder_no_partners_but_the_built_in(tmp_path):
    assert catalogue.partners([tmp_path / "none"]) == list(catalogue.BUILT_IN)


def test_the_client_never_loads_torch():
    code = (
        "import play.game.catalogue, play.game.settings, play.game.session, play.game.worker, play.game.seats\n"
        "import play.game.record, play.game.replay, play.game.tutorial, play.game.export, play.study.run\n"
        "play.game.catalogue.layouts(); play.game.catalogue.partners()\n"
        "import sys; print('torch' in sys.modules, 'pygame' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
