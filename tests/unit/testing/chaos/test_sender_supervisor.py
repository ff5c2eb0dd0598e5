"""A sender whose call hangs is replaced; others are not."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from django_cluster.testing.chaos import sender_supervisor
from django_cluster.testing.chaos.journal import ACCEPTED, CALLED, append_line, read_all
from django_cluster.testing.chaos.observations import EnqueueCall, calls_from
from django_cluster.testing.chaos.sandbox import Sandbox
from django_cluster.testing.chaos.sender_supervisor import SenderSupervisor
from tests.conftest import make_settings
from tests.fields import fields

POLL_SECONDS = 0.01


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox.create(make_settings(broker={"kind": "orm"}), lease=6.0)
    yield sandbox
    sandbox.remove()


def hang(path: Path) -> None:
    append_line(path, CALLED, "a", 1.0)
    time.sleep(300)


def answer(path: Path) -> None:
    append_line(path, CALLED, "b", 1.0)
    append_line(path, ACCEPTED, "b", 1.0, 2.0)


def fail(path: Path) -> None:
    raise SystemExit(5)


def starter(sandbox: Sandbox, *mains: Callable[[Path], None]) -> Callable[[float], BaseProcess]:
    """Each start takes the next of them."""
    left = list(mains)
    context: Any = multiprocessing.get_context("fork")

    def start(seconds: float) -> BaseProcess:
        process: BaseProcess = context.Process(target=left.pop(0), args=(sandbox.calls,), daemon=True)
        process.start()
        return process

    return start


def test_a_call_that_does_not_come_back_is_refused_and_said_and_another_sender_goes_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_supervisor, "CALL_TIMEOUT_SECONDS", 0.3)
    work = SenderSupervisor(sandbox, starter(sandbox, hang, answer), seconds=60.0)

    work.finish(POLL_SECONDS)

    first, second = calls_from(read_all(sandbox.calls))
    assert fields(first, "task", "accepted", "reason") == {
        "task": "a",
        "accepted": False,
        "reason": "It did not return.",
    }
    assert second == EnqueueCall("b", 1.0, 2.0, True)
    assert work.incidents == ["A call did not return within 0.3 seconds."]


def test_when_its_time_is_over_nobody_takes_the_place_of_a_sender(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_supervisor, "CALL_TIMEOUT_SECONDS", 0.3)
    work = SenderSupervisor(sandbox, starter(sandbox, hang), seconds=0.0)

    work.finish(POLL_SECONDS)

    assert len(work.incidents) == 1


def test_a_sender_that_ends_well_is_no_incident(sandbox: Sandbox) -> None:
    work = SenderSupervisor(sandbox, starter(sandbox, answer), seconds=60.0)

    work.finish(POLL_SECONDS)

    assert work.incidents == []


def test_a_sender_that_breaks_is_one(sandbox: Sandbox) -> None:
    work = SenderSupervisor(sandbox, starter(sandbox, fail), seconds=60.0)

    work.finish(POLL_SECONDS)

    assert work.incidents == ["The sender ended with 5: a call raised an unexpected error."]
