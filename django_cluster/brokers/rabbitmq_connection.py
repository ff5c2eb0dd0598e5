"""The way to RabbitMQ: which node, with which time-outs, what is declared there, and what its errors mean to us.

The library is ``amqp``, the client under kombu. Each of its waits has an end that we choose, its heartbeats beat when
we say so, and a batch of messages is confirmed in one round trip: pika's blocking client has none of the three.
"""

from __future__ import annotations

import os
import select
import socket
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import amqp
from amqp import exceptions as errors

from django_cluster.brokers.rabbitmq_frames import lenient_handler
from django_cluster.brokers.rabbitmq_options import RabbitOptions
from django_cluster.errors import BrokerRefused, BrokerUnavailable

ANSWER_SECONDS = 5.0
"""Seconds within which the server has to answer; then it counts as unavailable."""
CONNECT_SECONDS = 3.0
IN_DOUBT = "What was being sent may have been kept nevertheless."
DELIVERY_LIMIT = 1_000_000
"""How often a quorum queue gives a message out again before it drops it. Attempts are for us to limit."""

PERMANENT_ERRORS = (errors.AccessRefused, errors.NotAllowed, errors.NotFound, errors.PreconditionFailed)
TIMED_OUT = "timed out"
"""In the words of a ``PreconditionFailed`` that only says that a message was held for too long."""


def end_transport(transport: Any, pid: int) -> None:
    """Close a socket; in a forked child only its copy, because a shutdown would reach that of its parent."""
    if os.getpid() == pid:
        transport.close()
    elif transport.sock is not None:
        transport.sock.close()


class RabbitConnection:
    """One connection with one channel; a forked child never touches that of its parent."""

    def __init__(self, options: RabbitOptions, *, heartbeat: int, purpose: str) -> None:
        self._options = options
        self._heartbeat, self._purpose = heartbeat, purpose
        self._connection: Any = None
        self._channel: Any = None
        self._end: Callable[[], Any] | None = None
        self._pid = 0
        self._node = 0
        self._declared: set[str] = set()
        self._published = 0
        self._unconfirmed: set[int] = set()
        self._refused = 0
        self._returned: list[str] = []

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._pid == os.getpid() and bool(self._connection.connected)

    @property
    def channel(self) -> Any:
        """An open one; raises the errors of ``amqp`` when no node lets us in."""
        if not self.is_open:
            self.drop()
            self._connect()
        return self._channel

    @property
    def connection(self) -> Any:
        return self._connection

    def _connect(self) -> None:
        for attempt in range(len(self._options.nodes)):
            try:
                self._open(self._options.nodes[self._node])
                return
            except (errors.AMQPError, OSError):
                self.leave()
                if attempt + 1 == len(self._options.nodes):
                    raise

    def _open(self, node: Mapping[str, Any]) -> None:
        connection = amqp.Connection(
            **node,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
            heartbeat=self._heartbeat,
            frame_handler=lenient_handler,
            client_properties={"connection_name": f"django_cluster {self._purpose} {os.getpid()}"},
        )
        connection.connect()
        connection.transport.sock.settimeout(ANSWER_SECONDS)
        # Or every message would be preceded by a look at the socket; whether we are blocked, the confirmation tells.
        connection.client_properties["capabilities"].pop("connection.blocked", None)
        self._connection, self._pid = connection, os.getpid()
        self._end = weakref.finalize(self, end_transport, connection.transport, os.getpid())
        self._begin_channel()

    def _begin_channel(self) -> None:
        channel = self._connection.channel()
        channel.confirm_select()
        self._published = 0
        self._unconfirmed.clear()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._channel = channel

    def drop(self) -> None:
        """Forget the connection without a word to the server."""
        if self._end is not None:
            self._end()
        self._connection = self._channel = None
        self._declared.clear()
        self._unconfirmed.clear()

    def leave(self) -> None:
        """Forget the connection and go to the next node: one that answers no longer may still take connections."""
        self.drop()
        self._node = (self._node + 1) % len(self._options.nodes)

    def close(self) -> None:
        """In the orderly way; what was not settled goes back to the queue."""
        if self.is_open:
            with suppress(errors.AMQPError, OSError):
                self._connection.close()
        self.drop()

    @property
    def address(self) -> str:
        """Address of the current node, without credentials."""
        node = self._options.nodes[self._node]
        return f"{node['host']}/{str(node['virtual_host']).removeprefix('/')}"

    @property
    def version(self) -> str:
        return str(self.channel.connection.server_properties.get("version", ""))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block, errors of ``amqp`` become those of the broker port; the next verb connects anew."""
        try:
            yield
        except (errors.AMQPError, OSError) as error:
            address, in_doubt = self.address, bool(self._unconfirmed)
            self.leave()
            if isinstance(error, PERMANENT_ERRORS) and TIMED_OUT not in str(error):
                raise BrokerRefused(f"RabbitMQ at {address} refused: {error}") from error
            doubt = f" {IN_DOUBT}" if in_doubt else ""
            what = "it did not answer in time." if isinstance(error, socket.timeout) else error
            raise BrokerUnavailable(f"RabbitMQ at {address} cannot be used now: {what}{doubt}") from error

    # ── queues ───────────────────────────────────────────────────────────────────────────────────

    def declare(self, queue: str, arguments: Mapping[str, Any]) -> None:
        """Once in the life of a connection. One that is there with other arguments is taken as it is."""
        if queue in self._declared and self.is_open:
            return
        arguments = {"x-queue-type": self._options.queue_type, **arguments}
        if self._options.queue_type == "quorum":
            arguments["x-delivery-limit"] = DELIVERY_LIMIT
        try:
            self.channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
        except errors.PreconditionFailed:  # which has closed the channel
            self._begin_channel()
        if exchange := self._options.exchange:
            self.channel.exchange_declare(exchange, "direct", durable=True, auto_delete=False)
            self.channel.queue_bind(queue, exchange, queue)
        self._declared.add(queue)

    def forget_queue(self, queue: str) -> None:
        """Another program has deleted this queue: declare it again."""
        self._declared.discard(queue)

    def count(self, queue: str) -> int | None:
        """How many messages are ready in it; None where there is no such queue. Costs the channel if so."""
        try:
            return int(self.channel.queue_declare(queue, passive=True).message_count)
        except errors.NotFound:
            self._begin_channel()
            return None

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def publish(self, copies: Sequence[tuple[str, Any]]) -> None:
        """(queue, message) each; returns when the server has confirmed that it keeps all of them."""
        channel = self.channel
        self._refused, self._returned = 0, []
        for queue, message in copies:
            channel.basic_publish(message, exchange=self._options.exchange, routing_key=queue, mandatory=True)
            self._published += 1
            self._unconfirmed.add(self._published)
        while self._unconfirmed:
            self._connection.drain_events(timeout=ANSWER_SECONDS)
        if self._refused:
            address, refused = self.address, self._refused
            self.leave()
            raise BrokerUnavailable(f"RabbitMQ at {address} did not keep {refused} messages.")
        if self._returned:
            queue = self._returned[0]
            self.forget_queue(queue)
            raise BrokerUnavailable(f"RabbitMQ at {self.address} has no queue {queue} any more.")

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {each for each in self._unconfirmed if each > tag}
        else:
            self._unconfirmed.discard(tag)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        before = len(self._unconfirmed)
        self._on_ack(tag, multiple)
        self._refused += before - len(self._unconfirmed)

    def _on_return(self, _error: Any, _exchange: str, routing_key: str, _message: Any) -> None:
        self._returned.append(routing_key)

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────

    def drain(self, timeout: float) -> None:
        """Wait for one word of the server, and then take every other that is there."""
        while self._readable(timeout):
            self._connection.blocking_read(ANSWER_SECONDS)
            timeout = 0.0

    def _readable(self, timeout: float) -> bool:
        """Whether data has arrived; waits up to ``timeout`` seconds."""
        transport = self._connection.transport
        if transport._read_buffer or (hasattr(transport.sock, "pending") and transport.sock.pending()):
            return True
        look = select.poll()
        look.register(transport.sock, select.POLLIN)
        return bool(look.poll(max(0.0, timeout) * 1000))

    def beat(self) -> None:
        """Send a heartbeat if one is due; raises when the server has not been heard of for too long."""
        if self._heartbeat:
            self._connection.heartbeat_tick()

    def fileno(self) -> int:
        return int(self._connection.transport.sock.fileno())
