"""docs/how-to/moving-from-django-q.md shows the lines with which the shop of the tests moves."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "how-to" / "moving-from-django-q.md").read_text()


def test_the_one_line_is_that_of_the_shop() -> None:
    (line,) = set(re.findall(r'`("django_cluster\.\w+")`', PAGE))

    assert line in (HERE / "moving" / "between" / "shop" / "settings.py").read_text()
