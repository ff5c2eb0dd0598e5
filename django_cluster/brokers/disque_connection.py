"""The way to the nodes of Disque: which of them is asked, how, and what its errors mean to us.

Disque speaks the protocol of Redis, so redis-py carries its commands; the commands themselves are not those of Redis.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from redis import Redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_cluster.brokers.redis_connection import RedisConnection
from django_cluster.brokers.redis_errors import PERMANENT_ERRORS
from django_cluster.errors import BrokerRefused, BrokerUnavailable

PORT = 7711
"""Port of a node that is named without one."""
CONNECT_SECONDS = 2.0
"""Seconds for a node to accept a connection, before the next is tried."""
ANSWER_SECONDS = 5.0
"""Seconds for a node to answer."""

TRANSIENT_CODES = ("BUSY", "LEAVING", "LOADING", "MISCONF", "NOREPL", "OOM", "PAUSED")
"""First words of a node that will be able again, or that has too few others around it just now."""
AWAY = (errors.ConnectionError, errors.TimeoutError)


class DisqueConnection(RedisConnection):
    """One reused client of one of the nodes, chosen at random; when that goes away, of the next."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._nodes = [parse_node(node) for node in options.get("nodes", ())]
        if not self._nodes:
            raise ImproperlyConfigured("disque_nodes: name at least one node, as 'host:port'.")
        random.shuffle(self._nodes)

    def _build(self) -> Redis:
        host, port = self._nodes[0]
        return Redis(
            host=host,
            port=port,
            password=self._options.get("password"),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_keepalive=True,
            protocol=2,  # the third begins with a HELLO that means something else to Disque
            retry=Retry(NoBackoff(), 0),
        )

    def ask(self, *commands: Sequence[Any], again: bool = True) -> list[Any]:
        """The answers to several commands, errors included, from another node if this one is unavailable.

        ``again=False``: not a second time where a first node may have done it before it went away.
        """
        for left in reversed(range(len(self._nodes))):
            sent = False
            try:
                self._connect()
                sent = True
                return super().ask(*commands, again=again)
            except PERMANENT_ERRORS:
                raise
            except AWAY:
                self._go_to_the_next()
                if not left or (sent and not again):
                    raise
        raise AssertionError("there is at least one node")

    def _connect(self) -> None:
        """Raises where the node is away, before anything is sent."""
        pool = self.client.connection_pool
        connection = self._take(pool)
        self._keep(pool, connection)

    def _go_to_the_next(self) -> None:
        self.close()
        self._nodes.append(self._nodes.pop(0))

    @property
    def address(self) -> str:
        """All of the nodes; the first is asked now."""
        return ",".join(f"{host}:{port}" for host, port in self._nodes)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block, errors of redis-py become those of the broker port."""
        try:
            yield
        except PERMANENT_ERRORS as error:
            raise BrokerRefused(f"Disque at {self.address} does not let us in: {error}") from error
        except errors.RedisError as error:
            if isinstance(error, (*AWAY, errors.OutOfMemoryError)) or str(error).startswith(TRANSIENT_CODES):
                raise BrokerUnavailable(f"Disque at {self.address} cannot be used now: {error}") from error
            raise BrokerRefused(f"Disque at {self.address} refused: {error}") from error

    def version(self) -> str:
        """The value that the node reports; empty if it does not."""
        (said,) = self.call(("INFO", "server"))
        lines = (line.partition(":") for line in said.decode(errors="replace").splitlines())
        return next((value.strip() for name, _, value in lines if name == "disque_version"), "")


def parse_node(node: str) -> tuple[str, int]:
    """``host``, ``host:port``, ``[::1]:port``."""
    host, colon, port = node.rpartition(":")
    if not colon or node.endswith("]"):
        host, port = node, str(PORT)
    if not port.isdecimal() or not host:
        raise ImproperlyConfigured(f"disque_nodes: {node!r} is not 'host:port'.")
    return host.strip("[]"), int(port)
