"""The glossary of metrics in coord/README.md and the one in the code are the same."""

from __future__ import annotations

import re
from pathlib import Path

from coord.run.logger import GLOSSARY

README = Path(__file__).parents[2] / "coord" / "README.md"


def test_readme_lists_the_same_keys_with_the_same_meaning() -> None:
    section = README.read_text(encoding="utf-8").partition("## Glossary of metrics")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+?) \|$", section, flags=re.MULTILINE))
    assert rows == GLOSSARY
    assert len(rows) > 10
