"""Words that only this project used for what the field has a name for do not come back, in code or prose."""

from __future__ import annotations

import ast
import re
import subprocess

from tests.contracts import house

# Word, as a pattern of what it was called by in any form -> what it is called now.
WORDS = {
    r"whims?": "biased partners",
    r"clumsy": "noisy partners",
    r"tutors?": "kickstarting teacher",
    r"lessons?": "auxiliary classifier, kickstarting, or the phases of the tutorial",
    r"contest(s|ants?)?": "benchmark runner, entry",
    r"chores?": "task allocation",
    r"desks?|clerks?|sittings?": "labelling session",
    r"shelf|shelves": "preloader",
    r"wages?": "normalised reward",
    r"(take_)?news": "poll",
    r"purses?": "budget",
}
IDENTIFIERS = {"told": "privileged context"}  # an ordinary verb in prose

# (file, text of the line): where an old word must stay.
EXCEPTIONS = {
    ("coord/run/renames.py", '"whim_share"'): "names that saved runs hold",
    ("coord/run/renames.py", '"lessons'): "names that saved runs hold",
    ("coord/run/renames.py", 'STATES: dict[str, str] = {"lessons"'): "names that saved runs hold",
    ("CHANGELOG.md", "`chores` is the folder"): "says what was renamed",
    ("CHANGELOG.md", "`whim_share` is `biased_share`"): "says what was renamed",
    ("CHANGELOG.md", "`method/agrees_with_tutor` is"): "says what was renamed",
    ("populations/partners/biased.py", 'seeding.rng(seed, "whims")'): "a stream's name decides its numbers",
    ("populations/partners/kickstarting.py", 'seeding.derive(seed, "tutor")'): "a stream's name decides its numbers",
    ("populations/methods/auxiliary_classifier.py", '"lessons") for seed'): "a stream's name decides its numbers",
    ("populations/methods/belief.py", 'setup.generator("lessons")'): "a stream's name decides its numbers",
}
TESTS_OF_OLD_NAMES = {"tests/contracts/test_words.py", "tests/coord/run/test_renames.py"}
KINDS = (".py", ".md", ".yaml", ".toml", ".html", ".css")


def tracked() -> list[str]:
    names = subprocess.run(["git", "ls-files"], cwd=house.ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in names.splitlines() if name.endswith(KINDS) and (house.ROOT / name).is_file()]


def words_of(line: str) -> list[str]:
    """The words of a line, those of names_with_underscores and CamelCase each by itself."""
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+", line)


def test_home_made_words_stay_away() -> None:
    banned = re.compile("|".join(f"(?:{word})" for word in WORDS))
    found = []
    for name in tracked():
        if name in TESTS_OF_OLD_NAMES:
            continue
        for number, line in enumerate((house.ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            bad = [word for word in words_of(line) if banned.fullmatch(word.lower())]
            if bad and not any(name == file and text in line for file, text in EXCEPTIONS):
                found.append(f"{name}:{number}: {', '.join(bad)}")
    assert not found, "\n".join(found)


def test_no_exception_outlives_its_reason() -> None:
    for name, text in EXCEPTIONS:
        assert text in (house.ROOT / name).read_text(encoding="utf-8"), (name, text)


def test_home_made_identifiers_stay_away() -> None:
    found = []
    for path in house.source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name")]
            parts = {part for name in names if isinstance(name, str) for part in name.lower().split("_")}
            found += [f"{path}: {part}" for part in parts & set(IDENTIFIERS)]
    assert not found, "\n".join(found)
