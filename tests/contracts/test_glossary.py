"""The glossary of metrics in coord/GLOSSARY.md and the one in the code are the same."""

from __future__ import annotations

import re
from pathlib import Path

from coord.run.logger import GLOSSARY

PAGE = Path(__file__).parents[2] / "coord" / "GLOSSARY.md"


def test_page_lists_the_same_keys_with_the_same_meaning() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert rows == GLOSSARY
    assert len(rows) > 10
