"""What docs/how-to/send-tasks.md shows works as it says, and it leaves no option out."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import FieldDoesNotExist

from django_cluster import errors, fetch, queue_size
from django_cluster.brokers import memory
from django_cluster.core.call_options import KEYWORDS, ONLY_IN_Q_OPTIONS
from django_cluster.core.messages import OutcomeStatus
from django_cluster.models import Task
from django_cluster.testing.drain import drain
from tests.docs import sent_tasks

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "send-tasks.md").read_text()
SECTIONS = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]
HELPERS = ("published", "is_holiday", "download")


def section(title: str) -> str:
    (found,) = [each for each in SECTIONS if each.startswith(f"{title}\n")]
    return found


def rows(title: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def run(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the examples of a section in a shop with a fresh queue, and returns the names that they have made."""
    settings.Q_CLUSTER = {"name": "shop", "broker": "memory", "on_commit": False, "max_attempts": 1}
    memory.reset()
    sent_tasks.said.clear()
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.tasks", sent_tasks)
    begin = {"TOMORROW": datetime.now(UTC) + timedelta(days=1)}
    begin |= {name: getattr(sent_tasks, name) for name in HELPERS}

    def run_section(title: str) -> dict[str, Any]:
        names: dict[str, Any] = dict(begin)
        exec("from django_cluster import async_task", names)
        for block in re.findall(r"```python\n(.*?)```", section(title), re.DOTALL):
            exec(block, names)
        return names

    return run_section


def test_functions_and_paths_are_sent(run: Run) -> None:
    run("Send a task")
    drain()

    assert sent_tasks.said == [(7, True), (7, False)]


def test_options_stand_in_q_options(run: Run) -> None:
    run("Options")
    (task_id,) = drain()

    task = fetch(task_id)
    assert task is not None
    options = task.given_options
    assert (task.group, options.timeout, options.max_attempts) == ("reminders", 30.0, 3)
    assert sent_tasks.said == [(7, True)]


def test_every_option_is_listed_and_marked_as_what_it_is() -> None:
    listed = {quoted(name)[0]: bool(mark) for name, mark, *_ in rows("Options")}

    assert listed == {
        **dict.fromkeys(KEYWORDS - {"iter_count", "iter_cached"}, True),
        **dict.fromkeys(ONLY_IN_Q_OPTIONS, False),
    }


def test_what_is_sent_for_later_is_not_run_yet(run: Run) -> None:
    run("Delayed tasks")

    assert drain() == []
    assert sent_tasks.said == []


@pytest.mark.parametrize(
    ("day", "wish", "delay"),
    [("tomorrow", errors.Snooze, 600), ("Sunday", errors.Discard, None), ("Monday", errors.Retry, 30)],
)
def test_a_task_says_what_is_to_become_of_it(run: Run, day: str, wish: type[Exception], delay: float | None) -> None:
    fetch_prices = run("Failures and retries")["fetch_prices"]

    with pytest.raises(wish) as raised:
        fetch_prices(day)

    assert getattr(raised.value, "delay", None) == delay
    assert fetch_prices("today") == [1, 2]


def test_the_result_is_read(run: Run) -> None:
    with pytest.raises(errors.NotFinished):
        run("Results")
    (task_id,) = drain()

    task = fetch(task_id)
    assert task is not None
    assert task.result == 70


def test_the_row_has_what_the_page_names() -> None:
    table = rows("Results")
    statuses = {*quoted(table[0][1])}
    unrecorded = {OutcomeStatus.SNOOZED, OutcomeStatus.DUPLICATE}

    for name in [each for names, _ in table for each in quoted(names)]:
        try:
            Task._meta.get_field(name)
        except FieldDoesNotExist:
            assert hasattr(Task, name), name
    assert statuses == {status.value for status in OutcomeStatus} - unrecorded


@pytest.mark.django_db(transaction=True)
def test_an_async_view_sends_and_waits(run: Run) -> None:
    async def visit(view: Any) -> Any:
        answer = asyncio.ensure_future(view(None))
        while not await sync_to_async(drain)():
            await asyncio.sleep(0)
        return await answer

    assert async_to_sync(visit)(run("From async code")["view"]) == 70


def test_a_hook_hears_of_the_end(run: Run) -> None:
    run("Hooks")
    drain()

    assert sent_tasks.said == [(True, 70)]


def test_many_are_sent_at_once(run: Run) -> None:
    run("Many tasks")

    assert queue_size() == 5
    drain()
    assert sent_tasks.said == [(1, False), (2, False), (3, False), (1, True), (2, False)]


def test_what_may_be_raised_is_there() -> None:
    named = [name for kinds, _ in rows("When sending fails") for name in quoted(kinds)]

    assert [name for name in named if not hasattr(errors, name)] == ["TypeError", "ValueError"]
