"""Signals: everybody hears, and nobody who fails disturbs another."""

from __future__ import annotations

import pytest
from django.dispatch import Signal

from django_cluster.errors import TaskTimeout
from django_cluster.lifecycle.signal_dispatch import send_signal
from django_cluster.signals import SENDER


def test_every_receiver_hears_the_facts_from_the_one_sender() -> None:
    signal, heard = Signal(), []

    def listen(sender: object, **facts: object) -> None:
        heard.append((sender, facts["task"]))

    signal.connect(listen)

    send_signal(signal, task="a task")

    assert heard == [(SENDER, "a task")]


def test_a_receiver_that_raises_is_logged_and_the_others_still_hear(caplog: pytest.LogCaptureFixture) -> None:
    signal, heard = Signal(), []

    def refuse(**_: object) -> None:
        raise ValueError("not today")

    def listen(**_: object) -> None:
        heard.append(True)

    signal.connect(refuse)
    signal.connect(listen)

    send_signal(signal)

    assert heard == [True]
    assert "refuse" in caplog.text
    assert "not today" in caplog.text


def test_a_receiver_that_exits_is_logged_and_ends_nobody(caplog: pytest.LogCaptureFixture) -> None:
    signal = Signal()

    def leave(**_: object) -> None:
        raise SystemExit("going home")

    signal.connect(leave)

    send_signal(signal)

    assert "going home" in caplog.text


@pytest.mark.parametrize("error", [TaskTimeout, KeyboardInterrupt])
def test_what_stops_a_task_from_outside_passes_through(error: type[BaseException]) -> None:
    signal = Signal()

    def be_stopped(**_: object) -> None:
        raise error

    signal.connect(be_stopped)

    with pytest.raises(error):
        send_signal(signal)


def test_nobody_need_listen() -> None:
    send_signal(Signal(), task="a task")
