"""What ``manage.py check`` says of schedules that can never run; and never with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from django_cluster.checks.schedules import check_declared_schedules, check_kept_schedules
from django_cluster.core import cron
from django_cluster.decorators import cron_task
from django_cluster.models import Schedule
from django_cluster.schedules import declarations
from tests.sample import tasks

EMPTY = "a database without tables"
FUNC = "tests.sample.tasks.nothing"


@pytest.fixture
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    declarations.discover()
    monkeypatch.setattr(declarations, "_tasks", set())
    monkeypatch.setattr(declarations, "_declarations", {})


@pytest.fixture
def no_croniter(monkeypatch: pytest.MonkeyPatch, nothing_declared: None) -> Iterator[None]:
    remembered = (cron._croniter, cron._error_in, cron._next_after)
    for each in remembered:
        each.cache_clear()
    monkeypatch.setitem(sys.modules, "croniter", None)
    yield
    for each in remembered:
        each.cache_clear()


@pytest.mark.usefixtures("no_croniter")
def test_without_croniter_a_declaration_can_be_imported_and_check_says_what_is_missing() -> None:
    cron_task("0 5 * * *")(tasks.nothing)
    cron_task(every=timedelta(minutes=5))(tasks.echo)

    [message] = check_declared_schedules()

    assert message.id == "django_cluster.W021"
    assert message.msg == (
        f"The schedule that is declared for {FUNC} cannot run. Schedules of the type cron need croniter: "
        "pip install 'django-cluster[cron]'."
    )
    assert message in run_checks(tags=["django_cluster"])


@pytest.mark.usefixtures("no_croniter")
def test_without_croniter_the_rest_of_a_declaration_is_still_checked() -> None:
    with pytest.raises(ValueError, match="cannot be the name of an argument"):
        cron_task("0 5 * * *", intended_date_kwarg="a b")(tasks.echo)
    with pytest.raises(ValueError, match="needs an expression"):
        cron_task("")(tasks.nothing)


@pytest.mark.usefixtures("nothing_declared")
def test_with_croniter_there_is_nothing_to_say() -> None:
    cron_task("0 5 * * *")(tasks.nothing)

    assert check_declared_schedules() == []


@pytest.mark.django_db
def test_rows_that_can_never_run_are_named_where_the_database_is_asked() -> None:
    later = timezone.now() + timedelta(days=1)
    good = Schedule.objects.create(name="good", func=FUNC, next_run=later)
    wrong: dict[str, dict[str, Any]] = {
        "cron": {"schedule_type": "C", "cron": "0 0 31 2 *"},
        "type": {"schedule_type": "Z"},
        "func": {"func": "no path"},
        "off": {"enabled": False, "func": "no path"},
    }
    if settings.USE_TZ:
        wrong["zone"] = {"time_zone": "Mars/Olympus"}
    for name, columns in wrong.items():
        row = Schedule.objects.create(name=name, func=FUNC, next_run=later)
        Schedule.objects.filter(pk=row.pk).update(**columns)

    messages = check_kept_schedules(databases=["default"])

    assert {message.id for message in messages} == {"django_cluster.W021"}
    assert [message.msg.split("'")[1] for message in messages] == [name for name in wrong if name != "off"]
    assert "is not valid" in messages[0].msg
    assert check_kept_schedules(databases=[]) == check_kept_schedules() == []
    assert str(good) not in str(messages)


@pytest.mark.django_db
@pytest.mark.usefixtures("no_croniter")
def test_rows_for_which_croniter_is_missing_are_named() -> None:
    row = Schedule.objects.create(name="a", func=FUNC, next_run=timezone.now())
    Schedule.objects.filter(pk=row.pk).update(schedule_type="C", cron="0 5 * * *")

    [message] = check_kept_schedules(databases=["default"])

    assert message.msg.endswith(cron.CRONITER_MISSING)


def test_where_there_is_no_table_yet_there_is_nothing_to_say(tmp_path: Path, django_db_blocker: Any) -> None:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
    connections.databases[EMPTY] = connections.configure_settings({"default": {}, EMPTY: entry})[EMPTY]
    try:
        with django_db_blocker.unblock(), override_settings(Q_CLUSTER={"results_db": EMPTY}):
            assert check_kept_schedules(databases=[EMPTY]) == []
            connections[EMPTY].close()
    finally:
        del connections.databases[EMPTY]
