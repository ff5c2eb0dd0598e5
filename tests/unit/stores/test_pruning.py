"""Rows are forgotten by number and by age, in portions, and none that is still needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.models import Task
from django_cluster.stores import pruning
from django_cluster.stores.pruning import AGE_INTERVAL_SECONDS, Pruner, rules
from django_cluster.stores.session import results_session
from tests.conftest import Clock

pytestmark = pytest.mark.django_db


def row(name: str, days: float, status: str = "success", *, final: bool = True) -> None:
    moment = timezone.now() - timedelta(days=days)
    Task.objects.create(
        id=f"{name:_<32}"[:32],
        name=name,
        func="a.b",
        status=status,
        success=status == "success",
        final=final,
        enqueued_at=moment,
        started_at=moment,
        stopped_at=moment,
    )


def left() -> set[str]:
    return set(Task.objects.values_list("name", flat=True))


def pruner(retention_days: Mapping[str, float | None], clock: Clock | None = None, **section: Any) -> Pruner:
    settings = ResultSettings(retention_days=retention_days, **section)
    return Pruner(results_session("default"), settings, clock or Clock())


def ended(status: str) -> Outcome:
    return Outcome(1, "", 1, "1" * 32, "n", "a.b", {}, 1.0, 1.0, 1.0, status, "worker 1")


@pytest.fixture
def rows() -> None:
    for status in ("success", "failure", "timeout", "dead"):
        for days in (1, 10, 40):
            row(f"{status} {days}", days, status)
    row("to be tried again", 33, "failure", final=False)


@pytest.mark.parametrize(
    ("retention_days", "gone"),
    [
        ({}, set()),
        ({"success": 7}, {"success 10", "success 40"}),
        ({"success": 7, "failed": 30}, {"success 10", "success 40", "failure 40", "timeout 40", "dead 40"}),
        ({"failed": 30, "dead": None}, {"failure 40", "timeout 40"}),
        ({"failed": None, "timeout": 5}, {"timeout 10", "timeout 40"}),
        ({"failed": 30, "dead": 0.5}, {"failure 40", "timeout 40", "dead 1", "dead 10", "dead 40"}),
    ],
)
def test_each_kind_is_kept_for_its_own_time(
    rows: None, retention_days: dict[str, float | None], gone: set[str]
) -> None:
    before = left()

    pruner(retention_days).prune()

    assert before - left() == gone


def test_a_row_whose_retry_has_never_come_is_not_kept_for_ever() -> None:
    row("forgotten by its broker", 38, "failure", final=False)
    row("to be tried again", 36, "failure", final=False)

    pruner({"failed": 7}).prune()

    assert left() == {"to be tried again"}


def test_a_kind_that_is_kept_for_ever_has_no_rule() -> None:
    assert [rule.kind for rule in rules({"success": 1, "dead": None})] == ["success"]


def test_the_age_is_looked_at_now_and_then_only(rows: None, clock: Clock, django_assert_num_queries: Any) -> None:
    one = pruner({"success": 7}, clock)
    one.prune()
    row("another", 50)

    clock.advance(AGE_INTERVAL_SECONDS - 1)
    with django_assert_num_queries(0):
        one.prune()
    clock.advance(1)
    one.prune()

    assert "another" not in left()


def test_many_old_rows_go_in_portions_and_what_one_call_leaves_the_next_one_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pruning, "BATCH_ROWS", 3)
    for number in range(10):
        row(f"row {number}", 10)
    clock = Clock()

    def slowly() -> float:
        clock.advance(0.3)
        return clock.now

    one = Pruner(results_session("default"), ResultSettings(retention_days={"success": 7}), slowly)
    one.prune()
    first = Task.objects.count()
    for _ in range(5):
        one.prune()

    assert 0 < first < 10
    assert Task.objects.count() == 0


# ── qprune ───────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_counts_and_deletes_nothing(rows: None, settings: Any, capsys: Any) -> None:
    settings.Q_CLUSTER = {"retention_days": {"success": 7, "failed": 30}}
    before = left()

    call_command("qprune", "--dry-run")

    assert "success: 2 older than 7 days would be deleted." in capsys.readouterr().out
    assert left() == before


def test_without_arguments_the_setting_holds(rows: None, settings: Any) -> None:
    settings.Q_CLUSTER = {"retention_days": 7}

    call_command("qprune")

    assert left() == {*(f"{kind} 1" for kind in ("success", "failure", "timeout", "dead")), "to be tried again"}


def test_days_and_kinds_may_be_said(rows: None, settings: Any) -> None:
    before = left()

    call_command("qprune", "--days", "5", "--status", "dead", "--status", "success")

    assert before - left() == {"dead 10", "dead 40", "success 10", "success 40"}


@pytest.mark.parametrize(
    ("per", "kept", "said"),
    [
        (None, {"success 1", "success 2"}, "success: 5 beyond the newest 2 deleted."),
        (
            "func",
            {"success 1", "success 2", "other 3", "other 4"},
            "success: 3 beyond the newest 2 of each func deleted.",
        ),
    ],
)
def test_the_limit_by_number_holds_also_where_nothing_has_grown(
    per: str | None, kept: set[str], said: str, settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    settings.Q_CLUSTER = {"save_limit": 2, "save_limit_per": per}
    monkeypatch.setattr(pruning, "BATCH_ROWS", 2)
    for days in range(1, 5):
        row(f"success {days}", days)
    for days in range(3, 6):
        row(f"other {days}", days)
    Task.objects.filter(name__startswith="other").update(func="c.d")
    row("failure 9", 9, "failure")

    call_command("qprune", "--dry-run")
    assert said.replace("deleted", "would be deleted") in capsys.readouterr().out
    assert Task.objects.count() == 8

    call_command("qprune")
    assert said in capsys.readouterr().out
    assert left() == kept | {"failure 9"}


@pytest.mark.parametrize(("arguments", "words"), [([], "give --days"), (["--days", "-1"], "at least 0")])
def test_what_makes_no_sense_is_told(arguments: list[str], words: str, settings: Any) -> None:
    settings.Q_CLUSTER = {"save_limit": 0}

    with pytest.raises(CommandError, match=words):
        call_command("qprune", *arguments)


def test_failures_may_be_limited_by_number_too_and_those_to_be_tried_again_stay(rows: None) -> None:
    for name in ("first", "second", "third"):
        row(name, {"first": 3, "second": 2, "third": 0.5}[name], "lost")
    one = pruner({}, save_limit=2, save_limit_failures=3)

    one.prune()

    # By their age in days: 0.5, 1, 1, 1 | 2, 3, 10, …
    assert {name for name in left() if "success" in name} == {"success 1", "success 10"}
    assert "third" in left()
    assert "to be tried again" in left()
    assert not left() & {"first", "second", "failure 10", "timeout 40", "dead 10"}


@pytest.mark.parametrize("limit", [0, 100])
def test_without_such_a_limit_all_failures_are_kept(rows: None, limit: int) -> None:
    before = {name for name in left() if "success" not in name}

    pruner({}, save_limit=1, save_limit_failures=limit).prune()

    assert left() == before | {"success 1"}


def test_a_failure_is_looked_at_when_it_has_been_saved(rows: None) -> None:
    one = pruner({}, save_limit=0, save_limit_failures=4)
    one.prune()
    row("new", 0, "failure")
    assert Task.objects.exclude(status="success").filter(final=True).count() == 5

    one.note([ended("success")])
    one.prune()
    assert Task.objects.exclude(status="success").filter(final=True).count() == 5
    one.note([ended("timeout")])
    one.prune()

    assert Task.objects.exclude(status="success").filter(final=True).count() == 4


def test_qprune_tells_of_both_limits(rows: None, capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "save_limit": 2, "save_limit_failures": 4}):
        call_command("qprune", "--dry-run")
        told = capsys.readouterr().out
        call_command("qprune", "--status", "failed")

    assert "success: 1 beyond the newest 2 would be deleted." in told
    assert "failed: 5 beyond the newest 4 would be deleted." in told
    assert Task.objects.filter(success=True).count() == 3
    assert Task.objects.filter(success=False, final=True).count() == 4
