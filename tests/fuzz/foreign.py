"""What others put into a queue behind our back, with the means of its server."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import amqp
from bson import Int64, ObjectId
from django.db import DatabaseError, connections, transaction

from django_cluster.brokers.ironmq import IronMQBroker
from django_cluster.brokers.mongo import MongoBroker
from django_cluster.brokers.orm import OrmBroker
from django_cluster.brokers.rabbitmq import RabbitBroker
from django_cluster.brokers.redis import RedisBroker
from django_cluster.brokers.sqs import SqsBroker
from django_cluster.core.queue_names import table_queue_name
from tests.fuzz.hostile_values import VALUES

NOT_TO_BE_READ = (
    b"\x00\x80\x02\xff\xfe",  # a name that is no UTF-8
    b"\x20\x00\x00\x00\x00\x08\x01aS\x00\x00\x00\x01\xff",  # a header that is none
    b"\x20\x00\x00\x00\x00\x0b\x01aT\x7f\xff\xff\xff\xff\xff\xff\xff",  # a moment that Python does not have
)
"""Properties that RabbitMQ takes, and at which its client for Python raises."""
PAST = 1_000_000
"""A moment of 1970, in microseconds."""


def rows(broker: OrmBroker) -> int:
    """Each column at its ends, and in SQLite with what it should not hold; returns how many the database has taken."""
    usual = {"lane": 0, "due": PAST, "priority": 0, "lease_number": 0, "leased": False, "attempts": 0, "payload": "x"}
    parked = {"lane": 1000, "leased": True}
    odd: list[dict[str, Any]] = [{}]
    for value in (*VALUES, -32768, 32767, -1000, 1000):
        if isinstance(value, int | float | str | bytes):
            odd += [{name: value} for name in ("priority", "lease_number", "attempts")]
            odd += [{**parked, name: value} for name in ("priority", "lease_number", "attempts")]
    odd += [{"due": value} for value in (0, -(2**63), 2**63 - 1, -(10**16))]
    odd += [{**parked, "due": value} for value in (0, -(2**63), -(10**16), -1)]
    odd += [{"payload": value} for value in (b"", b"\xff\xfe", b"dc1p:", "é", "")]
    connection = connections[broker.database]
    table = connection.ops.quote_name("django_cluster_queuedtask")
    taken = 0
    for each in odd:
        row = {**usual, **each, "queue": table_queue_name("tests", broker.queue)}
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        try:
            with transaction.atomic(using=broker.database), connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(row.values()))
        except (DatabaseError, ValueError, OverflowError):
            continue
        taken += 1
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            text = "CAST(x'ff6100fe' AS TEXT)"
            query = f"INSERT INTO {table} (queue, lane, due, priority, lease_number, leased, attempts, payload)"
            cursor.execute(
                f"{query} VALUES (%s, 0, 0, 0, 0, FALSE, 0, {text})", [table_queue_name("tests", broker.queue)]
            )
        taken += 1
    return taken


def documents(broker: MongoBroker) -> int:
    """Each field missing, and of each type."""
    usual = {
        "queue": broker._key, "payload": "x", "rank": 0, "turn": 0, "place": 1, "parked": False, "due": 0.0,
        "lease": "", "attempts": 0,
    }  # fmt: skip
    # The server of the tests keeps no number that JSON does not have.
    known = [value for value in VALUES if not isinstance(value, float) or math.isfinite(value)]
    values = [*(value for value in known if value != 2**63 - 1), Int64(2**63 - 1), ObjectId()]
    odd: list[dict[str, Any]] = [{**usual, name: value} for name in ("payload", "attempts") for value in values]
    odd += [{name: usual[name] for name in usual if name != missing} for missing in usual if missing != "queue"]
    odd += [{**usual, name: value} for name in ("rank", "turn", "place") for value in ("abc", None, 1e300, [5])]
    odd += [{**usual, "parked": True, "due": value} for value in (None, -1, "abc")]
    odd += [
        {"queue": broker._key},
        {**usual, "_id": f"a name {broker.queue}"},
        {**usual, "_id": int(broker.queue[:12], 16)},
    ]
    for document in odd:
        broker._messages.insert_one(document)
    return len(odd)


def entries(broker: RedisBroker) -> int:
    """Forms that are none of ours in each of the keys, and leases of nothing."""
    client, base = broker._connection.client, broker._base
    odd = [b"", b"x", b":", b"0:x", b"-:1:x", b"0:0:", b"--1:0:x", b"1:2:3:4", b"\xff\xfe", b"9" * 30 + b":1:x"]
    odd += [b"0:" + b"9" * 30 + b":x", b"0:999999999:y", b"999999999:0:z"]
    client.rpush(f"{base}:ready:0", *odd)
    client.zadd(f"{base}:bands", {"0": 0, "17": -17, "no number": 5})
    delayed = {b"": 0, b"x": 1, b"17:x": 2, b"x:0:0:y": 3, b"0000000000000001:0:0:w": "-inf", b"5:\xff": 4}
    client.zadd(f"{base}:delayed", delayed)
    client.zadd(f"{base}:leases", {"nobody's": 1, "\xff": 2, "mine": 3})
    client.hset(f"{base}:leased", mapping={"mine": "0:0:v", "without an end": "0:0:u"})
    client.rpush(f"{base}:wakeup", "x")
    return len(odd) + len(delayed) + 1


def rabbitmq_messages(broker: RabbitBroker) -> int:
    """Properties, headers and bodies of other programs, and of broken ones."""
    bodies: Iterable[Any] = ["", "x", b"\xff\xfe", b"\0", "é"]
    headers = [{"attempts": value, "not_before": value} for value in ("abc", -1, 2**40, True, [1], {"a": 1}, None)]
    headers += [{"x-delivery-count": "many"}, {"named": "x"}]
    odd = [amqp.Message(body) for body in bodies]
    odd += [amqp.Message("x", application_headers=each) for each in headers]
    odd += [amqp.Message(b"x", content_encoding=each, content_type=each) for each in ("gzip", "utf-16", "no such", "é")]
    odd += [amqp.Message("x", message_id=each, priority=255, timestamp=2**62) for each in ("", "x", "é" * 100)]
    for raw in NOT_TO_BE_READ:
        message = amqp.Message("x")
        message._serialize_properties = lambda raw=raw: raw
        odd.append(message)
    with broker._publisher_connection.errors():
        broker._publisher_connection.declare(broker._name, {})
        broker._publisher_connection.publish([(broker._name, message) for message in odd])
    return len(odd)


def sqs_messages(broker: SqsBroker) -> int:
    """Attributes that were written by another."""
    values = ["abc", "²", "9" * 30, "-1", "1e999", "NaN"]
    odd: list[dict[str, Any]] = [{"StringValue": value, "DataType": "String"} for value in values]
    odd += [{"StringValue": value, "DataType": "Number"} for value in ("3000000000", "-5", "1.5")]
    odd += [{"BinaryValue": b"\xff", "DataType": "Binary"}]
    for attribute in odd:
        broker._connection.call("send_message", MessageBody="x", MessageAttributes={"attempts": attribute})
    return len(odd)


def iron_messages(broker: IronMQBroker) -> int:
    """Bodies of any kind that JSON has."""
    bodies = ["", "x", "²:x", "9" * 30 + ":x", ":", "é", "\0", "\ud83d", "0:"]
    broker.prepare()
    broker._connection.call("POST", "/messages", {"messages": [{"body": body} for body in bodies]})
    return len(bodies)


def disque_jobs(broker: Any) -> int:
    bodies = [b"", b"x", b":", b"9" * 30 + b":x", b"\xff\xfe", b"0:", b"-1:x", "²:x".encode()]
    with broker._connection.errors():
        broker._connection.ask(*(["ADDJOB", broker._key, body, 1000, "RETRY", 60, "TTL", 600] for body in bodies))
    return len(bodies)
