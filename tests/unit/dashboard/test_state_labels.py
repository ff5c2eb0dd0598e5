"""States in words: the same for the admin, ``qmonitor`` and ``qinfo``."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from django_cluster.dashboard.panels.clusters import table as clusters_table
from django_cluster.dashboard.panels.overview import lines as overview
from django_cluster.dashboard.panels.schedules import table as schedules_table
from django_cluster.dashboard.report import as_text as as_plain
from django_cluster.dashboard.snapshot import QueueView
from django_cluster.dashboard.state_labels import about, cluster_state, count, queue_state, schedule_state, total
from django_cluster.dashboard.stats import Stats
from django_cluster.management.commands.qinfo import as_text
from django_cluster.stores.operator_commands import QueuePause
from tests.unit.dashboard.scenes import CLUSTER, LOST, SNAPSHOT


@pytest.mark.parametrize(
    ("queues", "paused", "words"),
    [
        (("mail",), (), "running"),
        (("mail",), ("mail",), "paused"),
        (("mail", "default"), ("mail",), "paused 1 of 2"),
        (("mail", "default"), ("default", "mail"), "paused"),
        (("mail", "default", "films"), ("films", "mail"), "paused 2 of 3"),
        (("mail",), ("another",), "running"),
    ],
)
def test_a_cluster_says_of_how_many_of_its_queues_it_takes_nothing(
    queues: tuple[str, ...], paused: tuple[str, ...], words: str
) -> None:
    cluster = replace(CLUSTER, queues=queues, paused=paused)

    assert cluster_state(cluster).plain == words
    assert clusters_table(replace(SNAPSHOT, clusters=(cluster,)), ascii_only=True).rows[0].cells[2] == words


def test_a_lost_cluster_is_not_paused() -> None:
    assert cluster_state(replace(LOST, paused=LOST.queues)).plain == "lost"


def test_a_queue_says_who_works_on_it_or_why_nobody_does() -> None:
    def words(name: str, pause: QueuePause | None = None, *, waits: bool = True, away: bool = False) -> tuple[str, str]:
        state = queue_state(name, (CLUSTER, LOST), pause, waits=waits, away=away)
        return state.plain, state.style

    assert words("default") == ("ok, 2 workers", "good")
    assert words("mail") == ("no cluster", "bad")
    assert words("mail", waits=False) == ("no cluster", "dim")
    assert words("default", QueuePause("default", "ada", 7300.0)) == ("paused 2 h by ada", "warn")
    assert words("default", QueuePause("default", "", 61.0)) == ("paused 1 min", "warn")
    assert words("default", QueuePause("default", "ada", 7300.0), away=True) == ("unavailable", "bad")


@pytest.mark.parametrize(
    ("changes", "words", "style"),
    [
        ({}, "on", "good"),
        ({"until_next_run": -59.0}, "on", "good"),
        ({"until_next_run": -61.0}, "late 1 min", "warn"),
        ({"until_next_run": -14 * 60.0 - 30}, "late 14 min", "warn"),
        ({"until_next_run": -3 * 86400.0}, "late 3 d", "warn"),
        ({"until_next_run": -900.0, "error": "There is no function."}, "cannot run", "bad"),
        ({"until_next_run": -900.0, "enabled": False}, "off", "dim"),
        ({"until_next_run": -900.0, "repeats": 0}, "finished", "dim"),
        ({"until_next_run": None}, "finished", "dim"),
    ],
)
def test_a_schedule_that_is_overdue_is_late(changes: dict[str, Any], words: str, style: str) -> None:
    given: dict[str, Any] = {"enabled": True, "repeats": -1, "until_next_run": 60.0, "error": "", **changes}

    state = schedule_state(**given)

    assert (state.plain, state.style) == (words, style)


def test_qmonitor_shows_the_same_words_of_schedules() -> None:
    assert [row.cells[6] for row in schedules_table(SNAPSHOT).rows] == ["on", "late 10 min", "cannot run"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (86399, "23 h"), (86400, "1 d")]
)
def test_a_duration_is_said_in_one_unit(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_counts_have_separators_and_say_when_they_are_bounded() -> None:
    assert count(989_729) == "989,729"
    assert count(100_000, more=True) == "100,000+"
    assert total([1200, 34], unknown=0) == "1,234"
    assert total([1200], unknown=1) == "1,200+"
    assert total([], unknown=2) == "?"
    assert total([], unknown=0) == "0"


def figures(**changes: Any) -> Stats:
    given: dict[str, Any] = {
        "clusters": 1, "lost": (), "workers": 2, "restarts": 0, "queued": 1234, "delayed": 5, "leased": 1,
        "unknown": (), "paused": (), "successes": 100_000, "failures": 2034, "schedules": 3, "counted_to": 100_000,
        "late": 0, "tasks_per_day": 12_345.0, "average_time": 1.0, "average_run": 1.0,
    }  # fmt: skip
    return Stats(**{**given, **changes})


def test_qinfo_says_what_is_not_known_and_what_was_not_counted_to_the_end() -> None:
    known = as_text(figures())
    away = as_text(figures(queued=None, delayed=None, leased=None, unknown=("mail",)))
    partly = as_text(figures(unknown=("mail",)))

    assert "100,000+" in known
    assert "2,034" in known
    assert "2,034+" not in known
    assert "12,345" in known
    assert away.splitlines()[1].split() == ["Queued", "?", "Delayed", "?", "Leased", "?"]
    assert "1,234+" in partly
    assert "Unavailable: mail" in partly


def test_qinfo_says_what_is_paused_and_how_many_schedules_are_late() -> None:
    text = as_text(figures(paused=(QueuePause("mail", "ada", 7300.0), QueuePause("films", "", 5.0)), late=6))

    assert text.splitlines()[-3:] == ["Paused: mail, 2 h by ada", "Paused: films, 5 s", "Late schedules: 6"]
    assert asdict(figures(queued=None))["queued"] is None


def test_the_overview_of_qmonitor_does_not_count_what_it_cannot_ask() -> None:
    away = QueueView(name="mail", broker="redis", problem="Redis does not answer.")

    def first_line(*queues: QueueView) -> str:
        return as_plain(overview(replace(SNAPSHOT, queues=queues), 120, 40)[:1])

    assert "ready ?  delayed ?" in first_line(away)
    assert "ready 1,234+  delayed 5+" in first_line(SNAPSHOT.queues[0], away)
