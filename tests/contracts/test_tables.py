"""Tables for other people's programs are written in one place, which keeps formulas out of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITES_CSV = re.compile(r"csv\.(?:Dict)?[wW]riter|\.to_csv\(")


def test_only_one_module_writes_csv() -> None:
    files = [path for name in ("coord", "populations", "play") for path in (ROOT / name).rglob("*.py")]
    found = [str(path.relative_to(ROOT)) for path in files if WRITES_CSV.search(path.read_text(encoding="utf-8"))]
    assert found == ["coord/files.py"]
