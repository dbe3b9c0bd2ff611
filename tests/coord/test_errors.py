"""Error lines: short, on one line, nothing raw in them."""

from __future__ import annotations

from coord.errors import LINE, UserError, one_line, shortened, unknown


def test_long_values_are_shortened_and_the_hint_stays() -> None:
    error = str(unknown("layout", "x" * 5000, [f"kitchen_{i}" for i in range(500)]))
    assert len(error) <= LINE
    assert "allowed: kitchen_0, kitchen_1" in error
    assert "more" in error
    close = str(unknown("layout", "kitchen_49", [f"kitchen_{i:02d}" for i in range(500)] + ["<file>"]))
    assert "did you mean 'kitchen_49'?" in close
    assert len(str(UserError("a" * 10_000))) <= LINE
    assert len(str(UserError("a b " * 10_000))) <= LINE
    assert shortened("abc") == "abc"


def test_control_characters_never_reach_a_terminal() -> None:
    assert str(UserError("a\nb\tc \x1b[31mred\x07")) == "a b c \\x1b[31mred\\x07"
    assert one_line("\udcff") == "\\udcff"


def test_a_path_of_usual_length_stays_whole() -> None:
    path = "/tmp/" + "folder/" * 14 + "run"
    assert path in str(UserError(f"{path} already holds a run"))
