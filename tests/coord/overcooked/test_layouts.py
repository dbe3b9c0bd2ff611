"""Layout files, names of 2019, and what a bad grid is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from coord.errors import UserError
from coord.overcooked import LAYOUT_ALIASES, OvercookedVectorEnv, layout_names, load_layout
from coord.overcooked.layouts import RECIPES
from coord.overcooked.task_allocation.kitchen import build_kit
from coord.run.commands.layouts import run as run_layouts

GRID = "XXPXX\nO  2O\nX1  X\nXDXSX"
ROOM = "{'grid': '''" + GRID + "''', %s}"


def test_every_layout_of_the_package_loads() -> None:
    names = layout_names()
    assert len(names) == 45
    for name in names:
        layout = load_layout(name)
        assert layout.name == name
        assert len(layout.start_positions) == layout.num_players
        assert len(layout.times) == len(layout.values) == len(RECIPES)


def test_names_load_without_importing_overcooked_ai() -> None:
    code = "import sys; from coord.overcooked import load_layout; load_layout('cramped_room');"
    code += "assert not {'overcooked_ai_py', 'gym', 'pygame', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_grid_keeps_the_start_tiles_and_terrain_does_not() -> None:
    layout = load_layout("cramped_room")
    assert layout.grid == ("XXPXX", "O  2O", "X1  X", "XDXSX")
    assert layout.terrain == ("XXPXX", "O   O", "X   X", "XDXSX")
    assert layout.start_positions == ((1, 2), (3, 1))
    assert (layout.width, layout.height, layout.num_players) == (5, 4, 2)
    assert layout.cells("P") == [2]
    assert layout.cells("S") == [18]


@pytest.mark.parametrize(("alias", "name"), LAYOUT_ALIASES.items())
def test_aliases_are_the_layouts_of_today(alias: str, name: str) -> None:
    assert load_layout(alias) == load_layout(name)


def test_random3_keeps_its_own_start_tiles() -> None:
    old, new = load_layout("random3"), load_layout("counter_circuit_o_1order")
    assert old.terrain == new.terrain
    assert old.all_orders == new.all_orders
    assert old.start_positions == ((6, 3), (1, 3)) != new.start_positions


def test_times_and_values_follow_the_layout_file() -> None:
    listed = load_layout("bonus_order_test")  # recipe_values and recipe_times beside the orders
    found = dict(zip(RECIPES, zip(listed.times, listed.values, strict=True), strict=True))
    assert found["onion", "onion", "onion"] == (20, 10)
    assert found["tomato", "tomato", "tomato"] == (15, 20)
    assert found["onion", "tomato"] == (10, 15)
    assert found["onion",] == (20, 20)  # not ordered: the defaults
    summed = load_layout("counter_circuit")  # 21 and 13 points, 15 and 7 ticks per ingredient
    found = dict(zip(RECIPES, zip(summed.times, summed.values, strict=True), strict=True))
    assert found["onion", "onion", "tomato"] == (37, 55)
    assert load_layout("tutorial_3").order_bonus == float("inf")
    assert load_layout("tutorial_2").all_orders == RECIPES  # an empty order list allows everything


def test_own_layouts_from_a_string_a_grid_file_and_a_mapping_file(tmp_path) -> None:
    indented = load_layout("\n    XXPXX\n    O  2O\n    X1  X\n    XDXSX\n")
    assert indented.grid == load_layout(GRID).grid
    assert indented == load_layout(GRID)
    bare = tmp_path / "mine.txt"
    bare.write_text(GRID)
    assert load_layout(bare).grid == indented.grid
    assert load_layout(bare).name == "mine"
    full = tmp_path / "full.layout"
    full.write_text(ROOM % "'start_all_orders': [{'ingredients': ['onion']}], 'cook_time': 7")
    assert load_layout(str(full)).times == (7,) * 9
    assert load_layout(full).all_orders == (("onion",),)


def test_the_hash_tells_kitchens_apart_but_not_names(tmp_path) -> None:
    copy = tmp_path / "copy.layout"
    copy.write_text(ROOM % "'start_all_orders': [{'ingredients': ['onion'] * 3}]".replace("['onion'] * 3", "3 * ['o']"))
    with pytest.raises(UserError, match="not a mapping of plain values"):
        load_layout(copy)
    copy.write_text(ROOM % "'start_all_orders': [{'ingredients': ['onion', 'onion', 'onion']}]")
    assert load_layout(copy).hash == load_layout("cramped_room").hash
    assert load_layout(GRID).hash != load_layout("cramped_room").hash  # other orders
    assert len({load_layout(name).hash for name in layout_names()}) == 44  # scenario1_s is bottleneck once more


@pytest.mark.parametrize(
    ("grid", "where", "reason"),
    [
        ("XXPXX\nO  2\nX1  X\nXDXSX", "row 2, column 5", "4 columns"),
        ("XXPXX\nO  2 \nX1  X\nXDXSX", "row 2, column 5", "border"),
        ("XX XX\nP  2O\nX1  X\nXDXSX", "row 1, column 3", "border"),
        ("XXPXX\nO  2O\n1   X\nXDXSX", "row 3, column 1", "border"),
        ("XXPXX\nO  2O\nX1 zX\nXDXSX", "row 3, column 4", "unknown character 'z'"),
        ("XXPXX\nO  1O\nX1  X\nXDXSX", "row 3, column 2", "start tile 1 occurs twice"),
        ("XXPXX\nO  5O\nX1  X\nXDXSX", "row 2, column 4", "at most 4 chefs"),
        ("XXPXX\nO  3O\nX1  X\nXDXSX", "", "start tile 2 is missing"),
        ("XXPXX\nO   O\nX   X\nXDXSX", "", "start tile 1 is missing"),
        ("XXPXX\nO  2O\nX1  X\nXXXSX", "", "no dish dispenser"),
        ("XXXXX\nO  2O\nX1  X\nXDXSX", "", "no pot"),
        ("XXPXX\nO  2O\nX1  X\nXDXXX", "", "no serving hatch"),
        ("XXPXX\nX  2X\nX1  X\nXDXSX", "", "no ingredient dispenser"),
        ("\n\n", "", "empty grid"),
    ],
)
def test_a_bad_grid_is_refused_with_place_and_reason(grid: str, where: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        OvercookedVectorEnv(grid, 1)
    assert where in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("'cook_tme': 3", "did you mean 'cook_time'"),
        ("'cook_time': 300", "not a whole number in 0..255"),
        ("'cook_time': 2.5", "not a whole number"),
        ("'cook_time': '7'", "a number is needed"),
        ("'cook_time': 7, 'onion_time': 1, 'tomato_time': 1", "exclude each other"),
        ("'onion_time': 1", "both onion_time and tomato_time"),
        ("'recipe_times': [3]", "1 entries for 0 orders"),
        ("'start_all_orders': [{'ingredients': ['carrot']}]", "is no order"),
        ("'start_all_orders': [{'ingredients': ['onion']}, {'ingredients': ['onion']}]", "listed twice"),
        (
            "'start_all_orders': [{'ingredients': ['onion']}], 'start_bonus_orders': [{'ingredients': ['tomato']}]",
            "not among start_all_orders",
        ),
        ("'max_num_ingredients': 4", "allowed: 1, 2, 3"),
        ("'rew_shaping_params': {'PLACEMENT_IN_POT_REW': 1}", "lacks DISH_PICKUP_REWARD"),
        ("'rew_shaping_params': 3", "a mapping is needed"),
        ("'start_state': {'players': []}", "has no 'objects'"),
    ],
)
def test_a_bad_field_is_refused_with_its_name(fields: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        OvercookedVectorEnv(ROOM % fields, 1)
    assert reason in str(caught.value)


def test_unknown_names_and_missing_files() -> None:
    with pytest.raises(UserError, match="unknown layout 'cramped_rom'; did you mean 'cramped_room'"):
        load_layout("cramped_rom")
    with pytest.raises(UserError, match=r"cannot read layout file 'nowhere\.layout'"):
        load_layout("nowhere.layout")


# --------------------------------------------------------------------------- other people's files

OLD = """{
    "grid":  \"\"\"XXPXX
                O  2O
                X1  X
                XDXSX\"\"\",
    "start_order_list": None,
    "cook_time": 20,
    "num_items_for_soup": 3,
    "delivery_reward": 20,
    "rew_shaping_params": None
}
"""


def test_a_file_of_2019_is_the_kitchen_of_today() -> None:
    assert load_layout(OLD).hash == load_layout("cramped_room").hash
    with_tomatoes = load_layout(OLD.replace("X1  X", "X1  T"))
    assert with_tomatoes.all_orders == (("onion",) * 3, ("tomato",) * 3)


def test_parameters_of_2019_hold_under_the_classic_rules() -> None:
    text = OLD.replace('"cook_time": 20', '"cook_time": 5').replace('"delivery_reward": 20', '"delivery_reward": 7')
    layout = load_layout(text.replace('soup": 3', 'soup": 2'))
    assert (layout.classic_time, layout.classic_value, layout.classic_items) == (5, 7, 2)
    tables = OvercookedVectorEnv(layout, 1).tables
    assert tables.max_ingredients.tolist() == [2]
    assert tables.cook_time[0, 2:].tolist() == [5] * 14
    assert {seq: v for seq, v in enumerate(tables.value[0].tolist()) if v} == {4: 7.0, 7: 7.0}
    assert layout.hash != load_layout(OLD).hash
    assert load_layout(ROOM % "'cook_time': 0, 'delivery_reward': 0").classic_time == 0  # none, in 2019
    assert load_layout(ROOM % "'recipe_times': None, 'onion_time': 9, 'tomato_time': 9").classic_time == 20


def test_json_a_mark_a_comment_and_blanks_are_no_reason_to_refuse(tmp_path) -> None:
    path = tmp_path / "a.layout"
    rows = GRID.split("\n")
    for text in (
        json.dumps({"grid": GRID, "rew_shaping_params": None, "start_all_orders": [], "random_terrain": False}),
        json.dumps({"grid": rows, "start_order_list": None}, indent=2),
        "\ufeff" + OLD,
        "# a kitchen\n\n  # of ours\n" + OLD,
        "# a bare grid\n" + GRID,
        OLD.replace("2O\n", "2O   \n").replace("X1  X", "X1  X\t"),
        "\n".join(row + "  " for row in rows),
        OLD.replace("\n", "\r\n"),
    ):
        path.write_text(text, encoding="utf-8", newline="")
        assert load_layout(path).grid == tuple(rows)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"grid": "XX",\n "cook_time": 3 4}', "line 2, column 15"),
        ('# one\n{"grid": "XX",\n "cook_time": open("x")}', "line 3, column 15: 'open(\"x\")}' is no plain value"),
        ('{"grid": "XX", **{}}', "line 1, column 1"),
        ('{"grid": "XX"', "'{' was never closed"),
        ('{"grid": ' + "[" * 5000 + "}", "too many nested"),
        ('{"grid": ' + "-" * 50000 + "1}", "plain value"),
        ('{"grid": "XX",\n "\0": 1}', "line 2, column 3: a NUL byte"),
        ('{"grid": "XX",\n [1]: 1}', "line 2, column 2: '[1]: 1}' is no text, as a key must be"),
        ('{"grid": "XX",\n "start_state": {{}: 1}}', "line 2, column 18: '{}: 1}}' is no text"),
        ('{"grid": "XX", 3: 1}', "line 1, column 16: '3: 1}' is no text"),
        ('["XXPXX",\n "X1 2O"]', "is a list; it must be a mapping"),
    ],
)
def test_a_malformed_mapping_is_told_by_its_place(text: str, reason: str, tmp_path) -> None:
    path = tmp_path / "a.layout"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_layout(path)
    assert reason in str(caught.value)
    assert "0x" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("'start_order_list': ['any'] * 3".replace("['any'] * 3", "['any', 'any']"), "queue of orders"),
        ("'num_items_for_soup': 4", "num_items_for_soup is 4, allowed: 1, 2, 3"),
        ("'random_terrain': True", "drawn anew in every game are not supported"),
        ("'cook_time': True", "a number is needed"),
        ("'delivery_reward': float('inf')", "allowed: -1e+09"),
        ("'start_all_orders': 7", "no list of orders"),
        ("'start_all_orders': [{'ingredients': [[1]]}]", "is no order"),
        ("'rew_shaping_params': {'PLACEMENT_IN_POT_REV': 1}", "did you mean 'PLACEMENT_IN_POT_REW'"),
    ],
)
def test_what_is_not_supported_is_named(fields: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        load_layout(ROOM % fields)
    assert reason in str(caught.value)


def test_a_digit_that_is_an_ingredient_elsewhere_is_told_so() -> None:
    for digit in "012":
        with pytest.raises(UserError, match=f"row 2, column 5.*'{digit}' is read as a start tile.*O .onion. or T"):
            load_layout(f"XXPXX\nO  2{digit}\nX1  X\nXDXSX")
    with pytest.raises(UserError, match="the border must not be floor"):
        load_layout("XXPXX\nO  22\nX1  X\nXDXSX")


def test_sizes_and_files_that_no_kitchen_has(tmp_path) -> None:
    def room(width: int, height: int) -> str:
        rows = ["X" * width, "P12O" + " " * (width - 5) + "X", *["X" + " " * (width - 2) + "X"] * (height - 3)]
        return "\n".join([*rows, "XDS" + "X" * (width - 3)])

    assert load_layout(room(181, 181)).width == 181
    with pytest.raises(UserError, match=r"200 x 164 = 32800 cells, a kitchen has at most 32767"):
        load_layout(room(200, 164))
    with pytest.raises(UserError, match="too large for the scripted cook"):
        build_kit(load_layout(room(181, 181)), "classic")
    os.mkfifo(tmp_path / "pipe.layout")
    (tmp_path / "long.layout").write_text(" " * 1_000_001)
    for name, reason in (("pipe", "no regular file"), ("long", "1000000 bytes"), ("none", "no such"), ("a" * 300, "")):
        with pytest.raises(UserError, match=reason or "cannot read"):
            load_layout(tmp_path / f"{name}.layout")
    with pytest.raises(UserError, match="unknown layout"):
        load_layout("a" * 300)


@pytest.mark.parametrize("word", ["width=1000000", "height=-3", "count=1000000000", "count=0", "seed=-1"])
def test_what_cannot_be_drawn_is_refused_at_once(word: str) -> None:
    with pytest.raises(UserError, match=rf"{word}: (allowed are|must be at least 0)"):
        run_layouts(["generate", word])


@pytest.mark.parametrize("state", ['{"players": 3, "objects": []}', '{"players": [1, 2], "objects": []}'])
def test_a_start_state_of_another_form_is_told(state):
    layout = load_layout('{"grid": "XXPXX\\nO1 2O\\nXDXSX", "start_state": ' + state + "}")
    with pytest.raises(UserError, match="start_state: it has not the form of a state"):
        OvercookedVectorEnv(layout, 1)
