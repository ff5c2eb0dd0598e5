"""Whole screens against text that a person has looked at. ``UPDATE_GOLDEN=1`` writes them anew, for another look."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from django_cluster.dashboard.layout import Canvas, render
from django_cluster.dashboard.panels import TABS
from django_cluster.dashboard.panels.overview import past_of
from django_cluster.dashboard.report import as_text, lines
from django_cluster.dashboard.snapshot import Detail, Snapshot
from django_cluster.dashboard.state import OperatorAction
from django_cluster.dashboard.text import cells, plain
from tests.unit.dashboard.scenes import CLUSTER, NOW, SNAPSHOT, drawn, scene

GOLDEN = Path(__file__).parent / "golden"
DETAIL = Detail(
    title="task-f",
    facts=(("Task", "task-f"), ("Function", "shop.mail.send"), ("Error", "ConnectionError: no route to host " * 4)),
    attempts=("run 1: failure TimeoutError: too late",),
    traceback="Traceback (most recent call last):\n  File 'mail.py', line 3\nConnectionError: no route\n",
)
TIME = 4
"""Place of the column; between two of them stands a space."""
SIZES = [(60, 16), (80, 24), (81, 25), (132, 50), (300, 100)]


@pytest.fixture(autouse=True)
def _same_clock_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_cluster.dashboard.layout.time.localtime", time.gmtime)


def check(name: str, text: str) -> None:
    """The text is as it was when somebody looked at it."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text + "\n")
    assert text + "\n" == file.read_text()


@pytest.mark.parametrize("tab", range(len(TABS)), ids=[tab.title.lower() for tab in TABS])
def test_each_tab_looks_as_it_should(tab: int) -> None:
    check(TABS[tab].title.lower(), drawn(scene(tab=tab)))


@pytest.mark.parametrize(
    ("name", "changes", "canvas"),
    [
        ("overview-ascii", {"tab": 0}, {"ascii_only": True}),
        ("overview-wide", {"tab": 0}, {"width": 132, "height": 40}),
        ("clusters-wide", {"tab": 1}, {"width": 132}),
        ("clusters-ascii", {"tab": 1}, {"width": 132, "ascii_only": True}),
        ("help", {"mode": "help"}, {"operate": True}),
        ("detail", {"tab": 4, "mode": "detail", "detail": DETAIL}, {}),
        (
            "confirm",
            {"tab": 2, "mode": "confirm", "pending_action": OperatorAction("pause", ("mail",), "Pause queue mail?")},
            {},
        ),
        ("filter", {"tab": 3, "mode": "filter", "query": "func:shop.mail*"}, {}),
    ],
)
def test_other_views_look_as_they_should(name: str, changes: dict[str, Any], canvas: dict[str, Any]) -> None:
    check(name, drawn(scene(**changes), **canvas))


def test_the_plain_table_looks_as_it_should() -> None:
    check("report", as_text(lines(SNAPSHOT, 100)))


def test_an_empty_world_says_what_to_do() -> None:
    empty = Snapshot(taken_at=NOW, label="shop")

    assert "manage.py qcluster" in drawn(scene(snapshot=empty))
    assert "manage.py qcluster" in drawn(scene(snapshot=empty, tab=1))
    assert "No task has failed." in drawn(scene(snapshot=empty, tab=4))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("mode", ["list", "filter", "help", "detail", "confirm"])
def test_a_screen_is_always_filled_and_never_overrun(width: int, height: int, mode: str) -> None:
    pending_action = OperatorAction("retry", ("x",), "Really? " * 50)
    for tab in range(len(TABS)):
        state = scene(tab=tab, mode=mode, pending_action=pending_action, detail=DETAIL, scroll=999, query="")
        painted = render(state, Canvas(width=width, height=height, operate=True))
        assert len(painted) == height
        assert all(cells(plain(each)) <= width for each in painted)


def test_a_tiny_terminal_is_told_so() -> None:
    assert drawn(scene(), width=40, height=10).strip() == "Too small."


def test_a_server_that_is_away_is_a_banner_and_the_rest_stays() -> None:
    broken = replace(SNAPSHOT, problems=("The results in database 'default' cannot be used: gone.",))

    text = drawn(scene(snapshot=broken, tab=1))

    assert "cannot be used: gone." in text
    assert "worker 1" in text


def test_old_news_are_told_to_be_old() -> None:
    assert "No answer for 1m00" in drawn(scene(now=NOW + 60))
    assert "No answer" not in drawn(scene(now=NOW + 4))


def test_what_other_people_wrote_cannot_move_the_cursor() -> None:
    nasty = replace(SNAPSHOT.failures[0], func="evil\x1b[2J\nfunc", error="a\tb\rc\x07")

    for tab in (0, 3, 4):
        text = drawn(scene(snapshot=replace(SNAPSHOT, failures=(nasty,)), tab=tab))
        assert all(char.isprintable() or char == "\n" for char in text)
        assert len(text.splitlines()) <= 24


def test_a_task_near_its_time_limit_is_marked() -> None:
    def style_of_time(elapsed: float) -> str:
        (row,) = [
            each
            for each in render(
                scene(tab=1, place=99, snapshot=replace(SNAPSHOT, taken_at=NOW - 55 + elapsed)), Canvas()
            )
            if "worker 1" in plain(each) and "busy" in plain(each)
        ]
        return row[2 * TIME].style

    assert (style_of_time(10), style_of_time(50), style_of_time(61)) == ("", "warn", "bad")


def test_the_past_of_several_clusters_is_added_up() -> None:
    other = replace(CLUSTER, id="another")

    past = past_of(replace(SNAPSHOT, clusters=(CLUSTER, other)))

    assert past.rates("done") == [2 * rate for rate in past_of(SNAPSHOT).rates("done")]
    assert past.seconds("wait_high") == past_of(SNAPSHOT).seconds("wait_high")


def test_the_last_page_of_a_long_text_stays_full() -> None:
    text = drawn(
        scene(
            tab=4,
            mode="detail",
            detail=replace(DETAIL, attempts=(), traceback="\n".join(map(str, range(200)))),
            scroll=999,
        )
    )

    assert text.splitlines()[-2].strip() == "199"
