"""Log records are events: stable keys, known fields, one page, and no other way to log."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator

import pytest

from django_cluster.core.events import EVENTS, FIELDS, MODULES, Event
from django_cluster.core.events.processes import WORKER_LOST
from django_cluster.core.events.tasks import TASK_SUCCEEDED
from docs.generate_log_events import PAGE, log_events_page
from tests.sources import Module, modules

MAY_USE_LOGGING = {"core/events/event.py", "testing/transactions.py"}
"""The one module that logs; and one that stands in for Django at a commit, and says of a callback what Django says."""
DJANGO_Q_LINES = "q_cluster_"
"""Events whose messages are Django-Q's, to the letter: programs read them."""
OUTAGE_NAMES = ("BROKER", "RECORDING", "SCHEDULING", "HEARTBEAT")
LOGGING_CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
OUTAGES = {f"{name}_{ending}" for name in OUTAGE_NAMES for ending in ("UNAVAILABLE", "AVAILABLE")}
"""Logged by ``ReconnectBackoff``, which is given the pair."""
RESERVED = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def calls(module: Module) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, node.func


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_an_event_is_well_formed(event: Event) -> None:
    shown = re.findall(r"%\((\w+)\)", event.message)

    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", event.key)
    assert set(shown) <= set(event.fields) <= set(FIELDS)
    assert not RESERVED & set(event.fields), "logging itself uses these names"
    assert not event.message.endswith(".") or event.key == "unknown_queue" or event.key.startswith(DJANGO_Q_LINES)
    assert event.meaning.endswith(".")
    assert event.action.endswith(".")


def test_every_field_belongs_to_an_event() -> None:
    assert set(FIELDS) == {name for event in EVENTS.values() for name in event.fields}


def test_no_module_logs_past_the_events() -> None:
    found = [
        f"{module.name}:{call.lineno}"
        for module in modules()
        if module.name not in MAY_USE_LOGGING
        for call, function in calls(module)
        if function.attr in LOGGING_CALLS and "log" in ast.unparse(function.value).lower().rpartition(".")[2]
    ]

    assert found == []


def test_every_event_is_logged_with_exactly_its_fields() -> None:
    constants = {
        name: each for each_module in MODULES for name, each in vars(each_module).items() if isinstance(each, Event)
    }
    wrong, named = [], set()
    for source in modules():
        if source.name.startswith("core/events/"):
            continue
        named |= {node.id for node in source.nodes if isinstance(node, ast.Name)}
        for call, function in calls(source):
            event = constants.get(ast.unparse(function.value)) if function.attr == "log" else None
            given = {keyword.arg for keyword in call.keywords} - {"exc_info"}
            if event is not None and given != set(event.fields):
                wrong.append(f"{source.name}:{call.lineno} {event.key}: {sorted(map(str, given ^ set(event.fields)))}")

    assert wrong == []
    assert {name for name in constants if name not in named} == {each for each in constants if each in OUTAGES}


def test_a_record_carries_its_event_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    WORKER_LOST.log(process_name="worker 3", pid=812, reason="killed by signal 9", exit_code=-9)

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("django_cluster", logging.ERROR)
    assert record.getMessage() == "worker 3 (pid 812) lost: killed by signal 9"
    assert {name: vars(record)[name] for name in ("event", "process_name", "pid", "exit_code")} == {
        "event": "worker_lost",
        "process_name": "worker 3",
        "pid": 812,
        "exit_code": -9,
    }
    assert record.funcName == "test_a_record_carries_its_event_and_its_fields"


def test_the_fields_of_a_record_are_as_safe_as_its_text(caplog: pytest.LogCaptureFixture) -> None:
    WORKER_LOST.log(process_name="worker 3", pid=1, reason="one\ntwo, password=hush", exit_code=1)

    (record,) = caplog.records
    assert "hush" not in vars(record)["reason"] + record.getMessage()
    assert "\n" not in vars(record)["reason"]


def test_an_event_whose_level_is_off_makes_no_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django_cluster.tasks"):
        assert not TASK_SUCCEEDED.enabled
        TASK_SUCCEEDED.log(task_id="1", task_name="a", function="b.c", attempt=1, seconds=0.1)

    assert caplog.records == []


def test_the_page_of_events_is_in_step() -> None:
    assert PAGE.read_text(encoding="utf-8") == log_events_page(), "run: python -m docs.generate_log_events"
