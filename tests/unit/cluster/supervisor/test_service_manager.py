"""What systemd hears of a cluster, through a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.cluster.supervisor.service_manager import ServiceManager


@pytest.fixture
def received(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def texts(receiver: socket.socket) -> list[str]:
    found: list[str] = []
    try:
        while True:
            found.append(receiver.recv(4096).decode())
    except BlockingIOError:
        return found


def manager(receiver: socket.socket, **environ: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": receiver.getsockname(), **environ})


class TestServiceManager:
    def test_it_hears_when_the_cluster_is_ready_and_when_it_stops(self, received: socket.socket) -> None:
        cluster = manager(received)
        cluster.ready("Works on default.")
        cluster.stopping("Waits for running tasks.")

        assert texts(received) == [
            "READY=1\nSTATUS=Works on default.",
            "STOPPING=1\nSTATUS=Waits for running tasks.",
        ]

    def test_signs_of_life_come_three_times_in_a_period(self, received: socket.socket) -> None:
        cluster = manager(received, WATCHDOG_USEC="6000000", WATCHDOG_PID=str(os.getpid()))
        for now in (100.0, 101.0, 101.9, 102.0, 103.0, 104.0):
            cluster.alive(now)

        assert texts(received) == ["WATCHDOG=1"] * 3

    @pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
    def test_no_sign_of_life_is_sent_that_this_process_was_not_asked_for(
        self, received: socket.socket, environ: dict[str, str]
    ) -> None:
        manager(received, **environ).alive(100.0)

        assert texts(received) == []

    def test_a_socket_without_a_file_is_reached(self) -> None:
        name = f"django-cluster-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind("\0" + name)
            receiver.setblocking(False)
            ServiceManager({"NOTIFY_SOCKET": "@" + name}).ready("")

            assert texts(receiver) == ["READY=1\nSTATUS="]

    def test_the_children_do_not_speak_for_the_cluster(self, received: socket.socket) -> None:
        environ = {"NOTIFY_SOCKET": received.getsockname(), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
        ServiceManager(environ)

        assert environ == {"HOME": "/"}

    def test_a_manager_that_is_gone_or_not_there_is_no_error(self, tmp_path: Path) -> None:
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("")
        ServiceManager({}).ready("")

    def test_a_manager_that_does_not_read_does_not_stop_the_cluster(self, received: socket.socket) -> None:
        cluster = manager(received, WATCHDOG_USEC="3")
        for now in range(10_000):
            cluster.alive(float(now))

        assert 0 < len(texts(received)) < 10_000
