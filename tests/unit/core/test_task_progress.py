"""What a task says about how far it is: which values it may say, and that they cost nothing where nobody listens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from django_cluster.core.task_progress import TaskProgress, install_progress_sink, progress


@pytest.fixture
def heard() -> Iterator[list[tuple[float, float, str]]]:
    said: list[tuple[float, float, str]] = []
    install_progress_sink(lambda *what: said.append(what))
    yield said
    install_progress_sink(None)


def test_nobody_has_to_listen() -> None:
    progress(1, 2, "halfway")


def test_what_is_said_arrives(heard: list[tuple[float, float, str]]) -> None:
    progress(3)
    progress(3.5, 7, "copying")
    progress(4, None)
    progress(5, 0)

    assert heard == [(3.0, 0.0, ""), (3.5, 7.0, "copying"), (4.0, 0.0, ""), (5.0, 0.0, "")]


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 1e19])
@pytest.mark.parametrize("place", ["done", "total"])
def test_a_number_that_is_none_is_refused(heard: list[Any], place: str, value: float) -> None:
    said: dict[str, Any] = {"done": 1, "total": 1, place: value}
    with pytest.raises(ValueError, match="in numbers from 0 to 1e18"):
        progress(**said)

    assert heard == []


@pytest.mark.parametrize("said", [{"done": "3"}, {"done": True}, {"done": 1, "total": "9"}, {"done": 1, "message": 5}])
def test_what_is_no_number_or_no_text_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="progress"):
        progress(**said)


@pytest.mark.parametrize(("done", "total", "share"), [(1, 4, 0.25), (5, 4, 1.0), (5, None, None), (0, 4, 0.0)])
def test_the_share_is_known_with_the_total(done: float, total: float | None, share: float | None) -> None:
    assert TaskProgress(done=done, total=total).share == share
