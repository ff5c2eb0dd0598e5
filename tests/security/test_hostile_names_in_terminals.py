"""Names and errors that anybody may have chosen, on the screens of the commands and in the log of a cluster."""

from __future__ import annotations

import io
import json
import logging

import pytest
from django.core.management import call_command
from django.test import Client

from django_cluster.cluster.bootstrap.logs import LineFormatter
from django_cluster.dashboard.layout import Canvas, Scene, render
from django_cluster.dashboard.panels import TABS
from django_cluster.dashboard.state import ScreenState
from django_cluster.dashboard.text import clean, plain
from django_cluster.lifecycle.notification import log_failure
from django_cluster.management.monitoring import open_collector
from django_cluster.testing.outcomes import make_failure
from tests.security.test_hostile_names_on_pages import CONTROL, MARKS, hostile_rows

pytestmark = pytest.mark.django_db
FORGED = "x\n12:00:00 [1] ERROR Task forged [os.system] failed in run 1: none.\r\x1b[2J\u202e\u2028"
HOSTILE = [FORGED, MARKS, CONTROL, "x" * 20_000]


def printable(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_tab_of_qmonitor_moves_the_cursor(client: Client, text: str) -> None:
    rows = hostile_rows(text[:100])
    collector = open_collector()
    snapshot = collector.collect()
    detail = collector.detail(rows["failure"])

    for number, _tab in enumerate(TABS):
        for state in (
            ScreenState(tab=number),
            ScreenState(tab=number, mode="detail"),
            ScreenState(tab=number, query=text, message=text),
        ):
            scene = Scene(snapshot=snapshot, state=state, now=snapshot.taken_at, detail=detail)
            drawn = render(scene, Canvas(width=100, height=30))
            assert len(drawn) == 30
            assert all(printable(clean(plain(line))) and len(plain(line)) <= 100 for line in drawn)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    ("command", "options"),
    [("qmonitor", {"once": True}), ("qinfo", {}), ("qinfo", {"ids": True}), ("qmemory", {"once": True})],
)
def test_what_a_command_prints_is_lines_of_its_own(
    command: str, options: dict[str, bool], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile_rows(text[:100])

    call_command(command, **options)

    printed = capsys.readouterr()
    assert printable(printed.out + printed.err)
    assert not [line for line in printed.out.split("\n") if line.startswith("12:00:00")]


@pytest.mark.parametrize("command", ["qmonitor", "qinfo", "qmemory"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_document_for_programs_is_ascii(command: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    hostile_rows(text[:100])

    call_command(command, json=True)

    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_failed_task_is_one_line_of_the_log(text: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("django_cluster.tasks")
    logger.addHandler(handler)
    try:
        log_failure(make_failure(name=text, func=text, failure=(text, text, "")))
    finally:
        logger.removeHandler(handler)

    (line, end) = stream.getvalue().split("\n")
    assert line.isprintable()
    assert end == ""
    assert len(line) < 12_000
