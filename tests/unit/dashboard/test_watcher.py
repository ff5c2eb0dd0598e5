"""The thread that looks and acts: what it says, and what it keeps to itself."""

from __future__ import annotations

from typing import Any

from django_cluster.dashboard.eye import Eye
from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.view import Act
from django_cluster.dashboard.watcher import Watcher
from tests.conftest import wait_until


class Blinded(Eye):
    """Sees nothing, and says why."""

    label = "blinded"

    def __init__(self) -> None:
        self.looks = 0

    def look(self, *_: Any) -> Snapshot:
        self.looks += 1
        raise RuntimeError("the database is locked")

    def close(self) -> None:
        """There is nothing to close."""


def test_what_came_of_an_act_is_said_although_nothing_can_be_seen() -> None:
    eye = Blinded()
    watcher = Watcher(eye, 0.01, {"pause": lambda queue: f"{queue} is paused."})
    watcher.act(Act("pause", ("mail",), "Pause it?"))

    watcher.start()
    wait_until(lambda: eye.looks >= 3)
    watcher.stop()

    assert list(watcher.said) == ["mail is paused."]
    assert watcher.snapshot.problems == ("the database is locked",)


def test_why_nothing_can_be_seen_is_said() -> None:
    watcher = Watcher(Blinded(), 0.01, {})

    watcher.start()
    wait_until(lambda: watcher.said)
    watcher.stop()

    assert list(watcher.said) == ["the database is locked"]


def test_an_act_that_fails_is_said_and_the_looking_goes_on() -> None:
    eye = Blinded()

    def fail(queue: str) -> str:
        raise RuntimeError(f"{queue} cannot be paused")

    watcher = Watcher(eye, 0.01, {"pause": fail})
    watcher.act(Act("pause", ("mail",), "Pause it?"))

    watcher.start()
    wait_until(lambda: eye.looks >= 3)
    watcher.stop()

    assert list(watcher.said) == ["mail cannot be paused"]
