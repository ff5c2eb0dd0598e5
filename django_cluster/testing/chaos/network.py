"""The proxy of a run: the servers that it covers, and the settings of its clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from django_cluster.core.settings import BrokerSettings
from django_cluster.testing.chaos.plan import FaultKind
from django_cluster.testing.chaos.proxy import Proxy, UpstreamAddress
from django_cluster.testing.chaos.redirection import databases_redirected, redirected, server_of, server_of_database
from django_cluster.testing.chaos.sandbox import Sandbox

FILE = "The queue and the rows are in files: there is no network to disturb."
UNREACHABLE = (
    "The proxy cannot stand before this broker: it needs the address of one server, without TLS and without Sentinels."
)


class Network:
    """The network between the cluster and the servers of its queue and its result rows.

    ``aliases``: the databases that hold the queue or the rows.
    """

    def __init__(self, sandbox: Sandbox, aliases: set[str], seed: int) -> None:
        self._sandbox = sandbox
        self._broker = server_of(sandbox.settings.broker)
        found = {alias: server_of_database(alias) for alias in sorted(aliases)}
        self._databases = {alias: server for alias, server in found.items() if server is not None}
        servers: list[UpstreamAddress] = [*([self._broker] if self._broker else []), *self._databases.values()]
        self._proxy = Proxy(servers, seed)
        self.obstacle = ""
        """Why the proxy cannot be used, as a sentence; empty if it can."""
        if self._broker is None and sandbox.settings.broker.kind != "orm":
            self.obstacle = UNREACHABLE
        elif not servers:
            self.obstacle = FILE

    @contextmanager
    def opened(self) -> Iterator[Sandbox]:
        """The sandbox for processes that are forked in the block, whose connections go through the proxy."""
        if self.obstacle:
            yield self._sandbox
            return
        self._proxy.start()
        try:
            ports = list(self._proxy.ports)
            section: BrokerSettings = self._sandbox.settings.broker
            if self._broker is not None:
                section = redirected(section, ports.pop(0))
            with databases_redirected(dict(zip(self._databases, ports, strict=True))):
                yield replace(self._sandbox, settings=replace(self._sandbox.settings, broker=section))
        finally:
            self._proxy.stop()

    def disturb(self, kind: FaultKind, seconds: float) -> None:
        """Start a network fault, which ends after ``seconds``."""
        self._proxy.disturb(kind, seconds)
