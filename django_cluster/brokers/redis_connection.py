"""The way to the Redis server, or to the nodes of a Cluster: how it is asked, and what its errors mean to us."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from redis import exceptions as errors
from redis.cluster import RedisCluster

from django_cluster.brokers.redis_clients import build_client, build_cluster, defaults
from django_cluster.errors import BrokerError, BrokerRefused, BrokerUnavailable

Result = TypeVar("Result")

MAX_BLOCK_SECONDS = 5.0
"""Seconds for which one blocking call may sleep where no time-out of the socket limits it."""

REUSE_SECONDS = 1.0
"""Seconds for which a connection is used again without a look whether the server has closed it."""

CLUSTER_DOWN_SECONDS = 0.5
"""Seconds for which a Cluster is asked again that says it is down: while a slot moves, it may say so for a moment."""

TRANSIENT = re.compile(
    r"(?:^|-)(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN|UNBLOCKED)\b"
)
"""First words of a server that will be able again: still loading, failing over, full. Servers before version 7 put the
words of what a script has met behind a dash, in the midst of a sentence."""

NOT_PRIMARY = re.compile(
    r"(?:^|-)(CLUSTERDOWN|LOADING|MASTERDOWN|NOREPLICAS|READONLY|UNBLOCKED)\b|max number of clients reached"
)
"""What a server says that has done nothing, and is perhaps no longer the one to ask: another has taken its place behind
the same address, and the old one keeps its connections open."""

NOT_PRIMARY_ERRORS = (errors.ReadOnlyError, errors.BusyLoadingError, errors.ClusterDownError)

TRANSIENT_ERRORS = (
    *(errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, errors.OutOfMemoryError),
    *(errors.RedisClusterException, errors.ClusterError),
)

# AuthenticationError is a ConnectionError to redis-py; but a wrong password does not get better by waiting.
PERMANENT_ERRORS = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)

CLIENT_REPR = re.compile(r"<redis\.client\..*?>\)>\)> - ")
"""A thousand characters for each Sentinel that knows no master, in front of the reason."""

ANY_ERROR = (errors.RedisError, errors.RedisClusterException)


def is_not_primary(error: Exception) -> bool:
    """Whether the answer says that another server may have to be asked, on a new connection; nothing was done."""
    return isinstance(error, NOT_PRIMARY_ERRORS) or NOT_PRIMARY.search(str(error)) is not None


class NotPrimary(errors.ConnectionError):
    """A server has answered that it cannot do what a primary does; the same is tried again on a new connection."""


@contextmanager
def _known_options() -> Iterator[None]:
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
        with _known_options():
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
            return f"{self._options['master']} of the Sentinels {_places(self._options['sentinels'])}"
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


class RedisClusterConnection(RedisConnection):
    """One reused client of all nodes of a Redis Cluster. redis-py finds the node, and follows a slot that moves."""

    clustered = True

    def _build(self) -> Any:
        with _known_options():
            return build_cluster(self._options)

    def call(self, *commands: Sequence[Any], key: str = "", again: bool = True) -> list[Any]:
        """One after the other: where a slot moves, each may have to be asked of another node."""
        *before, last = commands
        return [*(self._asked(command) for command in before), self._asked(last, "" if again else key)]

    def _asked(self, command: Sequence[Any], key: str = "") -> Any:
        """``key``: it is asked once, of the node that has it."""
        client, until = self.client, time.monotonic() + CLUSTER_DOWN_SECONDS
        while True:
            # What is asked of a node by its name is not asked of another when it fails.
            where = {"target_nodes": client.get_node_from_key(key)} if key else {}
            try:
                return client.execute_command(*command, **where)
            except errors.ResponseError as error:
                if not is_not_primary(error) or time.monotonic() > until:
                    raise
                if not isinstance(error, errors.ClusterDownError):
                    self.drop_idle()

    def drop_idle(self) -> None:
        """Reconnect to each node, and refresh the slot table of the Cluster."""
        client = self.client
        for node in client.get_nodes():
            if node.redis_connection is not None:
                with suppress(TypeError):
                    node.redis_connection.connection_pool.disconnect(inuse_connections=False)
        with suppress(*ANY_ERROR):  # no node answers: the next call raises
            client.nodes_manager.initialize()

    @property
    def max_block(self) -> float:
        limit = self._options.get("kwargs", {}).get("socket_timeout", defaults()["socket_timeout"])
        return MAX_BLOCK_SECONDS if limit is None else min(MAX_BLOCK_SECONDS, limit * 0.6)

    @property
    def address(self) -> str:
        return f"the Cluster {_places(self._options['nodes'])}"

    def _configuration(self, names: Sequence[str]) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self.client.config_get(*names, target_nodes=RedisCluster.RANDOM)
        return said

    def version(self) -> str:
        return self._version({"target_nodes": RedisCluster.RANDOM})

    def _disconnect(self, client: Any) -> None:
        client.close()


def open_connection(options: Mapping[str, Any]) -> RedisConnection:
    """The way that fits the shape; opens no connection yet."""
    return RedisClusterConnection(options) if "nodes" in options else RedisConnection(options)


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _places(places: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"{host}:{port}" for host, port in places)
