"""The reference pages of API, signals and errors are written from the docstrings."""

from __future__ import annotations

import pytest

from docs.generate_api import PAGES, REFERENCE


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_in_step_with_the_docstrings(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "run: python -m docs.generate_api"
