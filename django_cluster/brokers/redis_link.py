"""The way to the Redis server: which client, with which time-outs, and what its errors mean to us.

What the user says about the connection wins; where he says nothing, every wait has an end.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from redis import ConnectionPool, Redis
from redis import exceptions as errors
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from django_cluster.errors import BrokerRefused, BrokerUnavailable, NotAvailableYet

LONGEST_NAP = 5.0
"""Seconds for which one blocking call may sleep where no time-out of the socket limits it."""

FRESH = 1.0
"""Seconds for which a connection is used again without a look whether the server has closed it."""

LATER_SCHEMES = ("redis+sentinel:", "redis+cluster:")
LATER_KEYWORDS = frozenset({"sentinels", "master", "sentinel_master", "cluster"})

PASSING = ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "TRYAGAIN", "UNBLOCKED")
"""First words of a server that will be able again: still loading, failing over, full."""

PASSING_ERRORS = (errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, errors.OutOfMemoryError)

# AuthenticationError is a ConnectionError to redis-py; but a wrong password does not get better by waiting.
LASTING_ERRORS = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)


class Link:
    """One reused client; a forked child never touches that of its parent."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._client: Redis | None = None
        self._pid = 0
        self._kept: deque[tuple[Any, float]] = deque()

    @property
    def client(self) -> Redis:
        if self._client is None or self._pid != os.getpid():
            self._kept.clear()
            self._client, self._pid = build_client(self._options), os.getpid()
        return self._client

    def call(self, *commands: Sequence[Any]) -> list[Any]:
        """What the server answers to these commands, sent in one go; the first error among the answers is raised.

        Half the cost of the same on the client, whose way from a method to the socket is long. Connections are
        still the pool's, and broken ones are tried again as its settings say.
        """
        pool = self.client.connection_pool
        connection = self._take(pool)
        try:
            answers: list[Any] = connection.retry.call_with_retry(
                lambda: _exchange(connection, commands), lambda _error: connection.disconnect()
            )
        except BaseException:
            connection.disconnect()  # an answer that comes late would be taken for that to the next question
            pool.release(connection)
            raise
        self._keep(pool, connection)
        for answer in answers:
            if isinstance(answer, errors.ResponseError):
                raise answer
        return answers

    def _take(self, pool: Any) -> Any:
        """The connection that was kept, for one thread at a time, or else one from the pool, which tries it."""
        try:
            connection, moment = self._kept.pop()
        except IndexError:
            return pool.get_connection()
        if time.monotonic() - moment < FRESH:
            return connection
        pool.release(connection)
        return pool.get_connection()

    def _keep(self, pool: Any, connection: Any) -> None:
        if self._kept or "cache" in self._options:  # a cache's pool has other users
            pool.release(connection)
        else:
            self._kept.append((connection, time.monotonic()))

    @property
    def nap(self) -> float:
        """Seconds for which a blocking call may sleep, so that its answer comes before the socket gives up."""
        limit = self.client.connection_pool.connection_kwargs.get("socket_timeout")
        return LONGEST_NAP if limit is None else min(LONGEST_NAP, limit * 0.6)

    @property
    def address(self) -> str:
        """Where the server is, without a password."""
        keywords = self.client.connection_pool.connection_kwargs
        place = keywords.get("path") or f"{keywords.get('host', 'localhost')}:{keywords.get('port', 6379)}"
        return f"{place}/{keywords.get('db') or 0}"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block, errors of redis-py become those of the broker port."""
        try:
            yield
        except LASTING_ERRORS as error:
            raise BrokerRefused(f"Redis at {self.address} does not let us in: {error}") from error
        except errors.RedisError as error:
            if isinstance(error, PASSING_ERRORS) or str(error).startswith(PASSING):
                raise BrokerUnavailable(f"Redis at {self.address} cannot be used now: {error}") from error
            raise BrokerRefused(f"Redis at {self.address} refused: {error}") from error

    def close(self) -> None:
        if self._client is not None and self._pid == os.getpid():
            self._client.close()
            self._client.connection_pool.disconnect()
        self._kept.clear()
        self._client = None


def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """One write, and an answer or an error for each command."""
    connection.send_packed_command(connection.pack_commands(commands))
    return [_answer(connection) for _ in commands]


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except errors.ResponseError as error:
        return error


def defaults() -> dict[str, Any]:
    """What we say where the user said nothing.

    A server that is away or frozen is noticed within ten seconds. Only a broken connection is tried again,
    not one that stays silent: after a time-out nobody knows what the server has done.
    """
    return {
        "socket_connect_timeout": 3.0,
        "socket_timeout": 5.0,
        "health_check_interval": 30,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), 2, supported_errors=(errors.ConnectionError,)),
    }


def build_client(options: Mapping[str, Any]) -> Redis:
    """A client for ``{"url": …}``, ``{"kwargs": …}``, both, ``{"cache": alias}`` or ``{}`` (this machine)."""
    if "cache" in options:
        return _like_cache(options["cache"])
    keywords = {**defaults(), **options.get("kwargs", {}), "decode_responses": False}
    url = options.get("url", "")
    if url.startswith(LATER_SCHEMES) or LATER_KEYWORDS & keywords.keys():
        raise NotAvailableYet("Redis Sentinel and Redis Cluster are not available yet; name one server.")
    if not url.startswith("unix:") and not keywords.get("unix_socket_path"):
        keywords.setdefault("socket_keepalive", True)
    return Redis.from_url(url, **keywords) if url else Redis(**keywords)


def _like_cache(alias: str) -> Redis:
    """A client of our own to the server of a Django cache, because our time-outs are not those of a cache."""
    from django.core.cache import caches

    cache: Any = caches[alias]
    # Both libraries of caches have this method: Django's own under "_cache", django-redis under "client".
    inner: Any = getattr(cache, "_cache", None) or getattr(cache, "client", None)
    if not hasattr(inner, "get_client"):
        raise BrokerRefused(f"The cache {alias!r} is not a Redis cache.")
    pool = inner.get_client(write=True).connection_pool
    if type(pool).__name__ not in ("ConnectionPool", "BlockingConnectionPool"):
        return Redis(connection_pool=pool)  # it knows more than an address, a sentinel's pool for example
    keywords = {**defaults(), **pool.connection_kwargs, "decode_responses": False}
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **keywords))
