"""Pictures: equal to the reference's own up to the rounding of its blending, plus what the reference does not
draw.
"""

from __future__ import annotations

import numpy as np

from coord.overcooked import OvercookedVectorEnv, load_layout
from coord.overcooked.oracle import ReferenceKitchen, TraceRequest, isolated, play_trace
from coord.overcooked.render import SEAT_HATS, render_frame
from tests.differential.players import play_sensibly

TILE = 45


def draw_with_reference(request: TraceRequest) -> list[tuple[dict, np.ndarray]]:
    """(state, picture) of a played game, drawn by overcooked-ai."""
    reference = ReferenceKitchen(request.layout)
    states = play_trace(reference, request).states[0][::5]
    return [(state, reference.picture(reference.parse(state), TILE, SEAT_HATS)) for state in states]


def cooking_pots(state: dict, layout_name: str) -> list[tuple[int, int]]:
    terrain = load_layout(layout_name).terrain
    places = [thing["position"] for thing in state["objects"] if thing.get("cooking_tick", -1) >= 0]
    return [(x, y) for x, y in places if terrain[y][x] == "P"]


def test_pictures_equal_the_references():
    layouts = ["soup_coordination", "multiplayer_schelling"]
    compared = with_bar = 0
    tasks = [TraceRequest(layout, play_sensibly, ticks=150, seed=1) for layout in layouts]
    for layout, drawn in zip(layouts, isolated(draw_with_reference, tasks), strict=True):
        for state, expected in drawn:
            picture = render_frame(load_layout(layout), state, tile=TILE)
            different = np.abs(picture.astype(int) - expected).max(axis=2) > 1
            for x, y in cooking_pots(state, layout):  # our progress bar
                bar = different[(y + 1) * TILE - 8 : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
                assert bar.any()
                bar[:] = False
                with_bar += 1
            assert not different.any(), (layout, state)
            compared += 1
    assert compared == 62
    assert with_bar >= 10


def pot_picture(ticks: int) -> np.ndarray:
    """The tile of a pot with three onions that have cooked for so long, in the form of 2019."""
    env = OvercookedVectorEnv("cramped_room", 1)
    state = {**env.state_dict(0), "objects": [{"name": "soup", "position": (2, 0), "state": ["onion", 3, ticks]}]}
    return render_frame(env.layouts[0], state, tile=TILE)[:TILE, 2 * TILE : 3 * TILE]


def test_progress_bar_grows_and_changes_colour_when_ready():
    yellow = [int((pot_picture(ticks) == (255, 200, 60)).all(axis=2).sum()) for ticks in (1, 5, 10, 19)]
    assert 0 < yellow[0] < yellow[1] < yellow[2] < yellow[3]
    ready = pot_picture(20)
    assert not (ready == (255, 200, 60)).all(axis=2).any()
    assert (ready == (90, 220, 90)).all(axis=2).sum() > yellow[3]


def test_a_soup_of_2019s_form_is_ready_when_its_kitchens_time_is_over():
    layout = load_layout('{"grid": "XXPXX\\nO1 2O\\nXDXSX", "cook_time": 5}')
    state = OvercookedVectorEnv(layout, 1).state_dict(0)
    soup = {"name": "soup", "position": (2, 0), "state": ["onion", 3, 5]}
    ready = render_frame(layout, {**state, "objects": [soup]}, tile=TILE)
    assert (ready == (90, 220, 90)).all(axis=2).any()
    early = render_frame(layout, {**state, "objects": [{**soup, "state": ["onion", 3, 4]}]}, tile=TILE)
    assert (early == (255, 200, 60)).all(axis=2).any()


def test_text_goes_above_the_picture():
    env = OvercookedVectorEnv("cramped_room", 1)
    plain = render_frame(env.layouts[0], env.state_dict(0), tile=30)
    assert plain.shape == (4 * 30, 5 * 30, 3)
    assert plain.dtype == np.uint8
    told = render_frame(env.layouts[0], env.state_dict(0), tile=30, hud={"score": 20})
    assert told.shape[0] > plain.shape[0]
    np.testing.assert_array_equal(told[-len(plain) :], plain)
    other = render_frame(env.layouts[0], env.state_dict(0), tile=30, hud={"score": 40})
    assert (told != other).any()
    long = render_frame(env.layouts[0], env.state_dict(0), tile=30, hud={"score": 20, "a long label": "and value"})
    assert long.shape[0] > told.shape[0]
