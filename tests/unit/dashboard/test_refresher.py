"""The thread that looks and acts: what it says, and what it keeps to itself."""

from __future__ import annotations

from typing import Any

from django_cluster.dashboard.collector import Collector
from django_cluster.dashboard.refresher import Refresher
from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.state import OperatorAction
from tests.conftest import wait_until


class Blinded(Collector):
    """Sees nothing, and says why."""

    label = "blinded"

    def __init__(self) -> None:
        self.looks = 0

    def collect(self, *_: Any) -> Snapshot:
        self.looks += 1
        raise RuntimeError("the database is locked")

    def close(self) -> None:
        """There is nothing to close."""


def test_what_came_of_an_act_is_said_although_nothing_can_be_seen() -> None:
    collector = Blinded()
    refresher = Refresher(collector, 0.01, {"pause": lambda queue: f"{queue} is paused."})
    refresher.act(OperatorAction("pause", ("mail",), "Pause it?"))

    refresher.start()
    wait_until(lambda: collector.looks >= 3)
    refresher.stop()

    assert list(refresher.messages) == ["mail is paused."]
    assert refresher.snapshot.problems == ("the database is locked",)


def test_why_nothing_can_be_seen_is_said() -> None:
    refresher = Refresher(Blinded(), 0.01, {})

    refresher.start()
    wait_until(lambda: refresher.messages)
    refresher.stop()

    assert list(refresher.messages) == ["the database is locked"]


def test_an_act_that_fails_is_said_and_the_looking_goes_on() -> None:
    collector = Blinded()

    def fail(queue: str) -> str:
        raise RuntimeError(f"{queue} cannot be paused")

    refresher = Refresher(collector, 0.01, {"pause": fail})
    refresher.act(OperatorAction("pause", ("mail",), "Pause it?"))

    refresher.start()
    wait_until(lambda: collector.looks >= 3)
    refresher.stop()

    assert list(refresher.messages) == ["mail cannot be paused"]
