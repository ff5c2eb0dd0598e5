"""The signals of the framework, and Django's own log that follows from them."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contract.tasks_framework import FAILED, READY, RUNNING, SUCCESSFUL, Framework, stored
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import (
    LOGGER,
    TaskResult,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)

# ── signals and the log ──────────────────────────────────────────────────────────────────────────


class Heard:
    """What the receivers of the framework's signals were told."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.senders: list[object] = []
        self.results: list[TaskResult[..., Any]] = []
        self.stored: list[TaskResult[..., Any]] = []
        self.errors: list[type[BaseException] | None] = []

    def tell(self, name: str) -> Any:
        def receiver(sender: object, task_result: TaskResult[..., Any], **_: object) -> None:
            self.names.append(name)
            self.senders.append(sender)
            self.results.append(copy.copy(task_result))  # the test refreshes the one of task_enqueued
            self.errors.append(sys.exc_info()[0])
            self.stored.append(stored(task_result))

        return receiver


@pytest.fixture
def heard() -> Iterator[Heard]:
    found = Heard()
    signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
    receivers = {name: found.tell(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name])
    yield found
    for name, signal in signals.items():
        signal.disconnect(receivers[name])


def test_signals_are_sent_by_the_class_when_what_they_say_is_stored(here: Framework, heard: Heard) -> None:
    result = here.run(tasks.add.enqueue(1, 2))

    assert heard.names == ["enqueued", "started", "finished"]
    assert heard.senders == [type(task_backends["default"])] * 3
    assert [each.status for each in heard.results] == [READY, RUNNING, SUCCESSFUL]
    assert [each.status for each in heard.stored] == [READY, RUNNING, SUCCESSFUL]
    assert [each.id for each in heard.results] == [result.id] * 3
    assert [each.attempts for each in heard.results] == [0, 1, 1]
    assert heard.results[2].return_value == heard.stored[2].return_value == 3
    assert heard.results[2].finished_at == result.finished_at
    assert heard.errors == [None] * 3


def test_the_end_of_a_failed_task_is_told_with_its_error_at_hand(here: Framework, heard: Heard) -> None:
    here.run(tasks.fail.enqueue())

    assert heard.names == ["enqueued", "started", "finished"]
    assert heard.errors == [None, None, ValueError]
    finished = heard.results[2]
    assert (finished.status, heard.stored[2].status) == (FAILED, FAILED)
    assert [each.exception_class for each in finished.errors] == [ValueError]


def test_only_the_last_attempt_finishes_a_task(here: Framework, heard: Heard) -> None:
    here.options(MAX_ATTEMPTS=2)

    here.run(tasks.fail.enqueue())

    assert heard.names == ["enqueued", "started", "started", "finished"]
    assert [each.attempts for each in heard.results] == [0, 1, 2, 2]


@contextmanager
def connected(signal: Any, receiver: Any) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@pytest.mark.parametrize("signal", [task_started, task_finished], ids=["started", "finished"])
def test_a_receiver_that_fails_disturbs_neither_the_task_nor_the_worker(here: Framework, signal: Any) -> None:
    def fails(**_: object) -> None:
        raise RuntimeError("a bad receiver")

    with connected(signal, fails):
        good, bad = here.run(tasks.add.enqueue(1, 2)), here.run(tasks.fail.enqueue())

    assert (good.status, good.return_value, good.errors) == (SUCCESSFUL, 3, [])
    assert (bad.status, [each.exception_class for each in bad.errors]) == (FAILED, [ValueError])


def test_djangos_own_log_has_the_life_of_a_task(here: Framework, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        good, bad = here.run(tasks.add.enqueue(1, 2)), here.run(tasks.fail.enqueue())

    records = [each for each in caplog.records if each.name == LOGGER]
    assert [each.levelname for each in records] == ["DEBUG", "INFO", "INFO", "DEBUG", "INFO", "ERROR"]
    assert [good.id in each.getMessage() for each in records] == [True] * 3 + [False] * 3
    assert [bad.id in each.getMessage() for each in records] == [False] * 3 + [True] * 3
    assert "FAILED" in records[-1].getMessage()
    assert records[-1].exc_info is not None
    assert records[-1].exc_info[0] is ValueError
