"""Several attributes of one value under their names, so that a failing assertion says which of them is wrong."""

from __future__ import annotations

from typing import Any


def fields(value: object, *names: str) -> dict[str, Any]:
    """The attributes of these names, to be compared with a dict."""
    return {name: getattr(value, name) for name in names}
