"""Layout files, names of 2019, and what a bad grid is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from coord.errors import UserError
from coord.overcooked import LAYOUT_ALIASES, OvercookedVectorEnv, layout_names, load_layout
from coord.overcooked.layouts import RECIPES

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
