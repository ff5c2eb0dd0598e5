"""Log records say to which task they belong, and can be written as JSON, whatever is in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from django_cluster.core.correlation import correlate, task_scope
from django_cluster.core.log_records import NO_TASK, JsonFormatter, TaskFilter, install_task_filter
from django_cluster.core.messages import TaskHeader, TaskOptions

TASK = TaskHeader(id="a" * 32, name="red", func="f.g", enqueued_at=1.0, options=TaskOptions(correlation_id="order 7"))
FIELDS = {"task_id": "a" * 32, "task_name": "red", "attempt": 2, "correlation_id": "order 7"}


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.fixture
def handler() -> Iterator[logging.StreamHandler[io.StringIO]]:
    made = logging.StreamHandler(io.StringIO())
    logger.addHandler(made)
    logger.propagate = False
    yield made
    logger.removeHandler(made)


logger = logging.getLogger("tests.log_records")


def lines(handler: logging.StreamHandler[io.StringIO]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in handler.stream.getvalue().splitlines()]


def test_a_text_format_can_name_the_fields_inside_and_outside_of_tasks(handler: Any) -> None:
    install_task_filter()
    install_task_filter()
    handler.setFormatter(logging.Formatter("%(task_id)s|%(task_name)s|%(attempt)d|%(correlation_id)s|%(message)s"))

    logger.warning("before")
    with task_scope(TASK, 2):
        logger.warning("inside")
    with correlate("request 1"):
        logger.warning("in a request")

    assert handler.stream.getvalue().splitlines() == [
        "||0||before",
        f"{'a' * 32}|red|2|order 7|inside",
        "||0|request 1|in a request",
    ]
    assert sum(isinstance(each, TaskFilter) for each in handler.filters) == 1


def test_a_field_that_a_task_sets_itself_is_kept_and_breaks_nothing(handler: Any) -> None:
    install_task_filter()
    handler.setFormatter(JsonFormatter())
    with task_scope(TASK, 2):
        logger.warning("mine", extra={"task_id": "its own", "attempt": 9})

    (line,) = lines(handler)
    assert (line["task_id"], line["attempt"], line["task_name"]) == ("its own", 9, "red")


def test_json_has_the_fields_of_the_task_and_of_the_call(handler: Any) -> None:
    handler.setFormatter(JsonFormatter())
    logger.warning("outside")
    with task_scope(TASK, 2):
        logger.warning("paid %d", 7, extra={"order": 8})

    outside, inside = lines(handler)
    assert not outside.keys() & NO_TASK.keys()
    assert {name: inside[name] for name in FIELDS} == FIELDS
    assert (inside["message"], inside["order"], inside["level"], inside["logger"]) == (
        "paid 7",
        8,
        "WARNING",
        "tests.log_records",
    )


def test_a_traceback_is_one_line_of_json(handler: Any) -> None:
    handler.setFormatter(JsonFormatter())
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed", stack_info=True)

    (line,) = lines(handler)
    assert line["traceback"].endswith("ValueError: two\nlines")
    assert "test_log_records" in line["stack"]


def circular() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("value", [Unwritable(), {1: 2, (3,): 4}, circular(), b"\xff", float("nan"), "\ud800"])
def test_a_value_that_json_cannot_hold_costs_no_line(handler: Any, value: object) -> None:
    handler.setFormatter(JsonFormatter())
    logger.warning("a value", extra={"value": value})

    (line,) = lines(handler)
    assert line["message"] == "a value"


@pytest.mark.parametrize(
    ("message", "value", "error"), [("%s", Unwritable(), "RuntimeError"), ("%d", "x", "TypeError")]
)
def test_a_message_that_cannot_be_written_costs_no_line(message: str, value: object, error: str) -> None:
    record = logging.makeLogRecord({"msg": message, "args": (value,)})

    assert error in json.loads(JsonFormatter().format(record))["message"]
