"""The way to the Redis server, or to the nodes of a Cluster: how it is asked, and what its errors mean to us."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from redis import exceptions as errors

from django_cluster.brokers.redis_clients import build_client
from django_cluster.brokers.redis_errors import (
    ANY_ERROR,
    CLIENT_REPR,
    PERMANENT_ERRORS,
    TRANSIENT,
    TRANSIENT_ERRORS,
    NotPrimary,
    is_not_primary,
)
from django_cluster.errors import BrokerError, BrokerRefused, BrokerUnavailable

Result = TypeVar("Result")

MAX_BLOCK_SECONDS = 5.0
"""Seconds for which one blocking call may sleep where no time-out of the socket limits it."""

REUSE_SECONDS = 1.0
"""Seconds for which a connection is used again without a look whether the server has closed it."""


@contextmanager
def reject_bad_options() -> Iterator[None]:
    """Within the block, what redis-py cannot make anything of is named in the way of a broker."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise BrokerRefused(f"Redis cannot be used with these options: {error}") from error


class RedisConnection:
    """One reused client of one server; a forked child never touches that of its parent."""

    clustered = False
    """Whether all keys of a call have to be named, because a part of them may be on the way to another node."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._clients: dict[int, Any] = {}
        """By process: a forked child finds that of its parent here, and leaves it alone."""
        self._kept: deque[tuple[Any, float]] = deque()

    @property
    def client(self) -> Any:
        """A ``Redis``, or for a Cluster a ``RedisCluster``."""
        return self._clients.get(os.getpid()) or self._first_client()

    def _first_client(self) -> Any:
        """Several threads may call it at the same time: one client is kept, and none is closed that a thread has used.

        A client that is dropped ends its connections, in the midst of whatever others do there.
        """
        pid = os.getpid()
        for other in [each for each in self._clients if each != pid]:
            self._clients.pop(other, None)
            self._kept.clear()
        built = self._build()
        client = self._clients.setdefault(pid, built)
        if client is not built:
            built.close()
        return client

    def _build(self) -> Any:
        with reject_bad_options():
            return build_client(self._options)

    def call(self, *commands: Sequence[Any], key: str = "", again: bool = True) -> list[Any]:
        """Send commands in one write; returns their answers. Raises the first error among them.

        ``key``: what the last of them is about; it says on which node of a Cluster. One server needs no such word.
        """
        answers = self.ask(*commands, again=again)
        for answer in answers:
            if isinstance(answer, errors.ResponseError):
                raise answer
        return answers

    def ask(self, *commands: Sequence[Any], again: bool = True) -> list[Any]:
        """Execute commands in one round trip; errors of single commands are among the answers.

        Half the cost of the same on the client, whose way from a method to the socket is long. Connections are
        still the pool's, and broken ones are tried again as its settings say, if they may be sent ``again``.
        """
        pool = self.client.connection_pool
        connection = self._take(pool)
        try:
            if not again:
                answers = _exchange(connection, commands)
            else:
                answers = connection.retry.call_with_retry(
                    lambda: _exchange(connection, commands), lambda _error: connection.disconnect()
                )
        except BaseException as error:
            connection.disconnect()  # an answer that comes late would be taken for that to the next question
            pool.release(connection)
            if isinstance(error, (errors.ConnectionError, errors.TimeoutError)):
                self.drop_idle()  # the others go to the same server, or by the same way
            raise
        self._keep(pool, connection)
        return answers

    def _take(self, pool: Any) -> Any:
        """The connection that was kept, for one thread at a time, or else one from the pool, which tries it."""
        try:
            connection, moment = self._kept.pop()
        except IndexError:
            return pool.get_connection()
        if time.monotonic() - moment < REUSE_SECONDS:
            return connection
        pool.release(connection)
        return pool.get_connection()

    def _keep(self, pool: Any, connection: Any) -> None:
        if self._kept or "cache" in self._options:  # a cache's pool has other users
            pool.release(connection)
        else:
            self._kept.append((connection, time.monotonic()))

    def drop_idle(self) -> None:
        """Close the idle connections, so that the next call resolves the server again."""
        with suppress(TypeError):  # an old or foreign pool cannot tell them from those in use
            pool = self.client.connection_pool
            while self._kept:
                with suppress(IndexError):
                    pool.release(self._kept.pop()[0])
            pool.disconnect(inuse_connections=False)

    def retry_once(self, act: Callable[[], Result]) -> Result:
        """Do this, and once more on a new connection where the old one led to a server that is no longer the one."""
        try:
            return act()
        except ANY_ERROR as error:
            if not is_not_primary(error):
                raise
            self.drop_idle()
            return act()

    @property
    def max_block(self) -> float:
        """Seconds for which a blocking call may sleep, so that its answer comes before the socket gives up."""
        limit = self.client.connection_pool.connection_kwargs.get("socket_timeout")
        return MAX_BLOCK_SECONDS if limit is None else min(MAX_BLOCK_SECONDS, limit * 0.6)

    @property
    def address(self) -> str:
        """Address of the server, without credentials."""
        if "sentinels" in self._options:
            return f"{self._options['master']} of the Sentinels {address_list(self._options['sentinels'])}"
        keywords = self.client.connection_pool.connection_kwargs
        place = keywords.get("path") or f"{keywords.get('host', 'localhost')}:{keywords.get('port', 6379)}"
        return f"{place}/{keywords.get('db') or 0}"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block, errors of redis-py become those of the broker port."""
        try:
            yield
        except ANY_ERROR as error:
            raise self.translate(error) from error

    def translate(self, error: Exception) -> BrokerError:
        """The error of this package for an error of redis-py; a context manager would cost an eighth of a command."""
        if isinstance(error, PERMANENT_ERRORS):
            return BrokerRefused(f"Redis at {self.address} does not let us in: {error}")
        words = CLIENT_REPR.sub("", str(error))
        if isinstance(error, errors.TimeoutError) or is_not_primary(error):
            self.drop_idle()
        if isinstance(error, TRANSIENT_ERRORS) or TRANSIENT.search(words):
            return BrokerUnavailable(f"Redis at {self.address} cannot be used now: {words}")
        return BrokerRefused(f"Redis at {self.address} refused: {words}")

    def ping(self) -> None:
        self.client.ping()

    def configuration(self, *names: str) -> dict[str, str]:
        """Configuration parameters of the server; empty if the command is not permitted."""
        try:
            return {name: _word(value) for name, value in self._configuration(names).items()}
        except errors.ResponseError:
            return {}

    def _configuration(self, names: Sequence[str]) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self.client.config_get(*names)
        return said

    def version(self) -> str:
        return self._version({})

    def _version(self, where: Mapping[str, Any]) -> str:
        """Nothing where we may not ask."""
        try:
            return str(self.client.info("server", **where).get("redis_version", ""))
        except errors.NoPermissionError:
            return ""

    def close(self) -> None:
        if client := self._clients.get(os.getpid()):
            self._disconnect(client)
        self._kept.clear()
        self._clients.clear()

    def _disconnect(self, client: Any) -> None:
        client.close()
        client.connection_pool.disconnect()


def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """One write, and an answer or an error for each command."""
    if len(commands) == 1:
        connection.send_packed_command(connection.pack_command(*commands[0]))
    else:
        connection.send_packed_command(connection.pack_commands(commands))
    answers = [_answer(connection) for _ in commands]
    for answer in answers:
        if isinstance(answer, errors.ResponseError) and is_not_primary(answer):
            raise NotPrimary(str(answer)) from answer
    return answers


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except errors.ResponseError as error:
        return error


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def address_list(places: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"{host}:{port}" for host, port in places)
