"""docs/how-to/moving-from-django-q.md shows the lines with which the shop of the tests moves."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "how-to" / "moving-from-django-q.md").read_text()


def test_the_two_lines_are_those_of_the_shop() -> None:
    lines = re.findall(r"   ```python\n(.*?)   ```", PAGE, re.DOTALL)[0]

    assert lines.replace("   ", "") in (HERE / "moving" / "between" / "shop" / "settings.py").read_text()
