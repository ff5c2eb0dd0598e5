"""Our half of each pair on docs/how-to/from-other-task-queues.md runs, and does what their half says."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from django_cluster import fetch
from django_cluster.brokers import memory
from django_cluster.conf import load_settings
from django_cluster.core.call_options import KEYWORDS, ONLY_IN_Q_OPTIONS
from django_cluster.core.option_synonyms import SYNONYMS
from django_cluster.models import Schedule
from django_cluster.schedules import declarations
from django_cluster.schedules.declaration_sync import DeclarationSync
from django_cluster.task_objects import TaskFunction, TaskHandle
from django_cluster.testing import EnqueuedTask, enqueued, run_pending
from tests.datetimes import utc

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "from-other-task-queues.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
SYSTEMS = ("Celery", "RQ", "Huey", "Dramatiq", "ReArq", "AsyncTasQ")
PRELUDE = """
def ready(number): return number > 0
def send_invoice(number): return number
def report(): return "all is well"
def fetch_image(path): return path
def publish(path): return path
async def process(data_id): return f"processed {data_id}"
def delete_old(): return 0
"""


def blocks(system: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", SECTIONS[system], re.DOTALL)


Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def shop(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names of a module ``shop.tasks`` with what the examples use and do not show."""
    queues = ("slow", "high", "low", "emails", "default")
    settings.Q_CLUSTER = {"name": "shop", "broker": "memory", "ALT_CLUSTERS": {name: {} for name in queues}}
    memory.reset()
    before = dict(declarations._declarations)
    declarations._declarations.clear()
    module = ModuleType("shop.tasks")
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.tasks", module)
    exec(PRELUDE, vars(module))
    yield vars(module)
    declarations._declarations.clear()
    declarations._declarations.update(before)


def sent() -> list[EnqueuedTask]:
    return sorted(enqueued(), key=lambda task: (task.func, task.queue, task.due or 0))


def results() -> set[Any]:
    """What everything that is due now has returned."""
    return {row.result for each in run_pending() if (row := fetch(each)) is not None}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_block_is_python(system: str) -> None:
    for block in blocks(system):
        ast.parse(block if "await " not in block or "async def view" in block else in_async(block))


def in_async(block: str) -> str:
    """The code as the body of an async function, if it awaits outside of any function."""
    return "async def block():\n" + "".join(f"    {line}" for line in block.splitlines(keepends=True))


def test_celery(shop: dict[str, Any]) -> None:
    _, ours, _, beat = blocks("Celery")
    exec(ours, shop)

    fetch_invoice: TaskFunction[..., Any] = shop["fetch_invoice"]
    assert (fetch_invoice.options["max_attempts"], fetch_invoice.options["timeout"]) == (4, 120)
    assert sorted(task.queue for task in enqueued() if task.due) == ["slow"]
    assert {"all is well", 7} < results()  # the ends of the group and of the chain
    exec(beat, shop)
    assert next_runs() == [utc(2030, 1, 7, 6, 30)]  # half past seven in Amsterdam


def next_runs() -> list[Any]:
    """When the declared schedules are due first, seen from a Tuesday."""
    zone = load_settings().schedule.time_zone
    from zoneinfo import ZoneInfo

    DeclarationSync("default", ZoneInfo(zone) if zone else None).sync(utc(2030, 1, 1, 12, 0, 30))
    return [row.next_run for row in Schedule.objects.order_by("func")]


def test_rq(shop: dict[str, Any]) -> None:
    _, ours, read = blocks("RQ")
    exec(ours, shop)

    assert [(task.queue, bool(task.due)) for task in sent()] == [("high", False), ("high", True)]
    assert shop["count_words"].options["max_attempts"] == 4
    run_pending()
    assert eval(read, shop) == 2


def test_huey(shop: dict[str, Any]) -> None:
    exec(blocks("Huey")[1], shop)

    assert shop["resize"].options["max_attempts"] == 3
    assert {task.options.priority for task in enqueued() if task.func.endswith("resize")} == {50}
    assert "a.png" in results()
    assert next_runs() == [utc(2030, 1, 1, 12, 5)]


def test_dramatiq(shop: dict[str, Any]) -> None:
    exec(blocks("Dramatiq")[1], shop)

    assert shop["send_mail_to"].options["max_attempts"] == 4
    assert [(task.queue, task.options.timeout, bool(task.due)) for task in sent()] == [
        ("emails", 60, False),
        ("emails", 60, True),
    ]
    assert results() == {"mail to 7"}


def test_rearq(shop: dict[str, Any]) -> None:
    exec(blocks("ReArq")[1], shop)

    async def send() -> TaskHandle[str]:
        handle: TaskHandle[str] = await shop["process_data"].adelay(data_id="123")
        return handle

    assert shop["cleanup_old_data"]() == {"deleted": 0}
    job = async_to_sync(send)()
    run_pending()
    assert job.result(timeout=0) == "processed 123"
    assert next_runs() == [utc(2030, 1, 1, 13)]


def test_asynctasq(shop: dict[str, Any], settings: Any) -> None:
    _, configured, _, ours = blocks("AsyncTasQ")
    names: dict[str, Any] = {}
    exec(configured, names)
    exec(ours, shop)

    assert results() == {"Hello, 7"}
    settings.Q_CLUSTER = names["Q_CLUSTER"]
    delivery = load_settings().delivery
    assert (load_settings().queue, delivery.max_attempts, delivery.retry_backoff) == ("high-priority", 5, 2)


def test_the_table_names_options_that_exist() -> None:
    table = [line for line in SECTIONS["The words"].splitlines() if line.startswith("|")][2:]
    options = {name for line in table for name in re.findall(r"`(\w+)=", line.split("|")[1])}
    synonyms = re.findall(r"`(\w+)`", SECTIONS["The words"].split("also understand")[1].split("in **their**")[0])

    assert options - {"takes_context"} <= KEYWORDS | ONLY_IN_Q_OPTIONS
    assert set(synonyms) <= SYNONYMS.keys()
    assert all(len(line.split("|")) == len(SYSTEMS) + 3 for line in table)
