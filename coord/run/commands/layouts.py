"""`coord layouts`: the kitchens of the package, or freshly drawn ones, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from coord.limits import Seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coord.overcooked import Layout

HELP = "list kitchens, or draw random ones that can be cooked in, and picture them"
EXAMPLES = (
    "coord layouts",
    "coord layouts names=cramped_room,generated:7 out=kitchens.png",
    "coord layouts generate count=12 seed=0 out=kitchens.png",
    "coord layouts generate family=divided width=9 height=5",
)
TILE = 30  # pixels of one tile in the picture
MAX_PICTURES = 500  # kitchens in one picture


@dataclass(frozen=True, kw_only=True)
class LayoutsConfig:
    """Kitchens to choose from, and random ones."""

    # list (kitchens by name) or generate (random ones in which a soup can be served)
    what: Literal["list", "generate"] = "list"
    names: tuple[str, ...] = ()  # list: which kitchens; []: all of the package
    count: int = 12  # generate: how many (at most 99990, with out= 500)
    seed: Seed = 0  # generate: sets of different seeds differ; kitchen i of set s is generated:<1000000 s + i>
    width: int = 0  # generate: columns, border included, 3 to 64; 0: drawn, 5 to 9
    height: int = 0  # generate: rows, border included, 3 to 64; 0: drawn, 4 to 7
    # generate: open, ring, corridor, divided (nobody has everything) or split (two rooms); "": all of them
    family: str = ""
    players: int = 2  # generate: cooks, 1 to 4
    out: str | None = None  # PNG file for a picture of all of them

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        if self.what == "generate":
            return {"names": "generate draws new kitchens; list is for those with names"}
        draws = ("count", "seed", "width", "height", "family", "players")
        return dict.fromkeys(draws, "it is for coord layouts generate; list shows kitchens by name")


Config = LayoutsConfig


def run(overrides: Sequence[str]) -> int:
    """Print the table and write the picture if one is asked for; the exit code."""
    from coord.files import check_place
    from coord.run.config import load
    from coord.run.media import contact_sheet, save_png

    cfg = load("layouts", overrides, positional=("what",))
    if cfg.out is not None:
        check_place(cfg.out)
    layouts = chosen(cfg)
    print(table(layouts))
    if cfg.out is not None:
        save_png(cfg.out, contact_sheet([picture(layout) for layout in layouts]))
        print(f"pictures written to {cfg.out}")
    return 0


def chosen(cfg: LayoutsConfig) -> list[Layout]:
    """The kitchens asked for.

    Raises:
        UserError: an unknown name, or a configuration of which there are not so many kitchens.
    """
    from coord.errors import UserError
    from coord.overcooked import layout_names, load_layout
    from coord.overcooked.generator import GeneratorConfig, generate_layouts

    if cfg.what == "list":
        return [load_layout(name) for name in cfg.names or layout_names()]
    if cfg.out is not None and cfg.count > MAX_PICTURES:
        raise UserError(f"count={cfg.count}: one picture holds at most {MAX_PICTURES} kitchens; leave out= away")
    config = GeneratorConfig(width=cfg.width, height=cfg.height, family=cfg.family, players=cfg.players)
    return generate_layouts(cfg.count, cfg.seed, config)


def table(layouts: Sequence[Layout]) -> str:
    """One line per kitchen: its size, its cooks, and how many stations of each kind it has."""
    kinds = {"pots": "P", "onions": "O", "tomatoes": "T", "dishes": "D", "hatches": "S"}
    width = max(len(layout.name) for layout in layouts)
    lines = [f"{'layout':<{width}}  {'size':>6}  {'cooks':>5}  " + "  ".join(kinds)]
    for layout in layouts:
        counts = (f"{len(layout.cells(kind)):>{len(name)}}" for name, kind in kinds.items())
        size = f"{layout.width}x{layout.height}"
        lines.append(f"{layout.name:<{width}}  {size:>6}  {layout.num_players:>5}  " + "  ".join(counts))
    return "\n".join(lines)


def picture(layout: Layout) -> NDArray[np.uint8]:
    """How the kitchen starts, under its name, uint8 [H, W, 3]."""
    from coord.overcooked import OvercookedVectorEnv
    from coord.overcooked.render import render_frame

    state = OvercookedVectorEnv(layout, 1).state_dict(0)
    return render_frame(layout, state, tile=TILE, hud={layout.name: ""})
