"""A sender whose call does not come back is replaced; every other is left alone."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from django_cluster.chaos import sending
from django_cluster.chaos.evidence import Call, calls_from
from django_cluster.chaos.journal import ACCEPTED, CALLED, note, read
from django_cluster.chaos.sending import Sending
from django_cluster.chaos.stage import Stage
from tests.conftest import make_settings

GLANCE = 0.01


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage.set_up(make_settings(broker={"kind": "orm"}), lease=6.0)
    yield stage
    stage.clear_away()


def hang(path: Path) -> None:
    note(path, CALLED, "a", 1.0)
    time.sleep(300)


def answer(path: Path) -> None:
    note(path, CALLED, "b", 1.0)
    note(path, ACCEPTED, "b", 1.0, 2.0)


def fail(path: Path) -> None:
    raise SystemExit(5)


def starter(stage: Stage, *mains: Callable[[Path], None]) -> Callable[[float], BaseProcess]:
    """Each start takes the next of them."""
    left = list(mains)
    context: Any = multiprocessing.get_context("fork")

    def start(seconds: float) -> BaseProcess:
        process: BaseProcess = context.Process(target=left.pop(0), args=(stage.sent,), daemon=True)
        process.start()
        return process

    return start


def test_a_call_that_does_not_come_back_is_refused_and_said_and_another_sender_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.3)
    work = Sending(stage, starter(stage, hang, answer), seconds=60.0)

    work.finish(GLANCE)

    first, second = calls_from(read(stage.sent))
    assert (first.task, first.accepted, first.reason) == ("a", False, "It did not come back.")
    assert second == Call("b", 1.0, 2.0, True)
    assert work.incidents == ["A call did not come back within 0.3 seconds."]


def test_when_its_time_is_over_nobody_takes_the_place_of_a_sender(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.3)
    work = Sending(stage, starter(stage, hang), seconds=0.0)

    work.finish(GLANCE)

    assert len(work.incidents) == 1


def test_a_sender_that_ends_well_is_no_incident(stage: Stage) -> None:
    work = Sending(stage, starter(stage, answer), seconds=60.0)

    work.finish(GLANCE)

    assert work.incidents == []


def test_a_sender_that_breaks_is_one(stage: Stage) -> None:
    work = Sending(stage, starter(stage, fail), seconds=60.0)

    work.finish(GLANCE)

    assert work.incidents == ["The sender ended with 5: a call raised what it should not."]
