"""The proxy of ``qchaos`` between real sockets: what it passes on, and what becomes of it on a bad day."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from django_cluster.testing.chaos import proxy as proxies
from django_cluster.testing.chaos.plan import FaultKind
from django_cluster.testing.chaos.proxy import Proxy, UpstreamAddress

PATIENCE = 20.0
"""Seconds for what has to come."""
SILENCE = 0.3
"""Seconds in which what must not come would have come."""


class Shouter:
    """A server that answers every line in capitals, and keeps what it has heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = UpstreamAddress("127.0.0.1", self._listener.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb") as lines:
            for line in lines:
                self.heard.append(line)
                client.sendall(line.upper())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Shouter]:
    server = Shouter()
    yield server
    server.close()


@pytest.fixture
def proxy(server: Shouter) -> Iterator[Proxy]:
    proxy = Proxy([server.address], seed=1)
    proxy.start()
    yield proxy
    proxy.stop()


@contextmanager
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.ports[0]), timeout=PATIENCE) as sock:
        yield sock


def ask(sock: socket.socket, line: bytes) -> bytes:
    """What is answered; empty at an end."""
    sock.sendall(line)
    return sock.recv(100)


def is_silent(sock: socket.socket) -> bool:
    """Neither a byte nor an end."""
    sock.settimeout(SILENCE)
    try:
        sock.recv(100)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)
    return False


def test_on_a_good_day_it_passes_on_what_is_said(proxy: Proxy) -> None:
    with client(proxy) as one, client(proxy) as other:
        assert ask(one, b"one\n") == b"ONE\n"
        assert ask(other, b"other\n") == b"OTHER\n"


def test_a_server_at_a_socket_of_unix_is_reached(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        proxy = Proxy([UpstreamAddress("", 0, path=path)], seed=1)
        proxy.start()
        with client(proxy) as sock:
            sock.sendall(b"hello\n")
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(100) == b"hello\n"
        proxy.stop()


def test_what_is_held_is_delivered_later_in_its_order(proxy: Proxy, server: Shouter) -> None:
    with client(proxy) as sock:
        assert ask(sock, b"before\n") == b"BEFORE\n"
        began = time.monotonic()
        proxy.disturb(FaultKind.HOLD, 2.0)
        time.sleep(SILENCE)  # the order and the bytes go different ways
        sock.sendall(b"one\n")
        sock.sendall(b"two\n")
        assert is_silent(sock)
        assert server.heard == [b"before\n"]

        with sock.makefile("rb") as lines:
            assert [lines.readline(), lines.readline()] == [b"ONE\n", b"TWO\n"]
        assert time.monotonic() - began >= 1.9


def test_forgotten_connections_are_silent_for_ever_and_new_ones_work(proxy: Proxy, server: Shouter) -> None:
    with client(proxy) as old:
        assert ask(old, b"before\n") == b"BEFORE\n"
        proxy.disturb(FaultKind.FORGET, 0.2)
        time.sleep(SILENCE)
        old.sendall(b"lost\n")

        assert is_silent(old)
        with client(proxy) as fresh:
            assert ask(fresh, b"new\n") == b"NEW\n"
        assert is_silent(old)
    assert b"lost\n" not in server.heard


def test_a_lost_answer_is_one_to_a_request_that_was_carried_out(
    server: Shouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "ANSWERS_PER_LOSS", 1)
    proxy = Proxy([server.address], seed=1)
    proxy.start()
    proxy.disturb(FaultKind.LOSE, 60.0)
    time.sleep(SILENCE)
    fates = set()
    for number in range(20):
        with client(proxy) as sock:
            sock.sendall(b"%d\n" % number)
            fates.add("silent" if is_silent(sock) else "cut")
    proxy.stop()

    assert fates == {"silent", "cut"}
    assert server.heard == [b"%d\n" % number for number in range(20)]


def test_a_reset_ends_what_is_open_and_nothing_else(proxy: Proxy) -> None:
    with client(proxy) as old:
        assert ask(old, b"before\n") == b"BEFORE\n"
        proxy.disturb(FaultKind.RESET, 0.0)

        with pytest.raises(ConnectionResetError):
            old.recv(100)
        with client(proxy) as fresh:
            assert ask(fresh, b"new\n") == b"NEW\n"
