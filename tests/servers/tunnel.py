"""A way to a server that has faults: answers are lost, connections are held or forgotten, or lead to the old server."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from threading import Thread
from typing import Self


class Tunnel:
    """Passes on what clients say to a port of this machine, or a unix socket (``target``), and what is answered, until
    an answer is to be lost.

    Only answers to what contains ``word`` are lost, and not those to a greeting.
    """

    def __init__(self, target: int | str, word: bytes) -> None:
        self._target = target
        self.word = word
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ends: dict[socket.socket, socket.socket] = {}
        self._asked: dict[socket.socket, bytes] = {}
        """By the end of a server: what it was asked last."""
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = Thread(target=self._run, daemon=True)
        self.lost = 0
        """How many answers nobody has heard."""
        self.to_lose = 0
        """How many of the next answers will be lost, each together with its connection."""
        self.to_delay = 0
        """How many of the next questions will not arrive before ``deliver``, each together with its connection."""
        self._late: list[bytes] = []
        self._forgotten: set[socket.socket] = set()
        self._holding = False
        self._holding_answers = False
        self._held: list[tuple[socket.socket, bytes]] = []
        """What has come while everything was held, with the end it came from; no bytes: it was closed."""

    @property
    def port(self) -> int:
        """Where clients call."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ringer.close()
        self._thread.join(10)
        for end in (*self._ends, self._listener, self._bell):
            end.close()
        self._selector.close()

    def lead_to(self, target: int | str) -> None:
        """New connections go to another server; those of now stay where they are."""
        self._target = target

    def deliver(self) -> None:
        """Let the server hear what was delayed; returns when it has answered, which nobody hears."""
        while self._late:
            with self._call() as server:
                server.sendall(self._late.pop(0))
                server.recv(1 << 16)

    def _call(self) -> socket.socket:
        """The server."""
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        return server

    def retarget(self, port: int) -> None:
        """From now on, new connections lead to another port; the open ones stay where they are."""
        self._target = port

    def forget(self) -> None:
        """The network forgets every open connection: no byte passes any more, and nobody is told. New ones work."""
        self._forgotten = set(self._ends)

    def hold(self) -> None:
        """Nothing passes, in either direction, until ``let_go``; then all of it does, in its order."""
        self._holding = True

    def hold_answers(self) -> None:
        """The server hears everything, new connections too, and nobody hears the server, until ``let_go``."""
        self._holding_answers = True

    def let_go(self) -> None:
        self._holding = self._holding_answers = False
        self._ringer.sendall(b"!")

    def hang_up(self) -> None:
        """Every open connection ends, at both ends. New ones work."""
        self._ringer.sendall(b"x")

    def _flush(self) -> None:
        held, self._held = self._held, []
        for end, data in held:
            if end in self._ends:
                self._send(end, data)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._bell:
                    words = self._bell.recv(64)
                    if not words:
                        return
                    if b"x" in words:
                        for server in list(self._asked):
                            self._hang_up(server)
                        break  # what was selected may be closed by now
                    self._flush()
                    continue
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._ends:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = self._call()
        self._asked[server] = b""
        for end, other in ((client, server), (server, client)):
            self._ends[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = end.recv(1 << 16)
        if data and end in self._forgotten:
            return
        if self._holding or (self._holding_answers and end in self._asked):
            self._held.append((end, data))
            if not data:
                self._selector.unregister(end)
            return
        if end not in self._asked and self.to_delay and self.word in data:
            self.to_delay -= 1
            self._late.append(data)
            data = b""
        elif end not in self._asked:
            self._asked[self._ends[end]] = data
        elif self.to_lose and self.word in self._asked[end]:
            self.to_lose -= 1
            self.lost += 1
            data = b""
        self._send(end, data)

    def _send(self, end: socket.socket, data: bytes) -> None:
        """To the other end; no bytes: hang up."""
        if not data:
            self._hang_up(end)
            return
        with suppress(OSError):
            self._ends[end].sendall(data)

    def _hang_up(self, end: socket.socket) -> None:
        for each in (end, self._ends[end]):
            with suppress(KeyError):  # it was closed while everything was held
                self._selector.unregister(each)
            del self._ends[each]
            self._asked.pop(each, None)
            each.close()
