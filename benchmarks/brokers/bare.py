"""The floors: each server's own client doing the least that keeps a payload and takes it out again.

They have no priorities, delays, leases or attempts, and a database forgets a row in the step that hands it out.
"""

# ruff: noqa: S608  what is put into the SQL here is a constant

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.brokers.sides import BATCH, PATIENCE, Side, Taker, in_batches

NAME = "floor"
"""Of the table, list, queue or collection."""
FIRST = f"SELECT id FROM {NAME} ORDER BY id LIMIT"
SQS_BATCH = 10


class BareSQLite(Taker):
    """The module of the standard library, in the file of the project's database."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute(f"DROP TABLE IF EXISTS {NAME}")
        self._connection.execute(f"CREATE TABLE {NAME} (id INTEGER PRIMARY KEY, payload TEXT)")

    def send(self, payload: str) -> None:
        self.send_many([payload])

    def send_many(self, payloads: Sequence[str]) -> None:
        rows = ", ".join(["(?)"] * len(payloads))
        self._connection.execute(f"INSERT INTO {NAME} (payload) VALUES {rows}", payloads)

    def take(self, limit: int) -> Sequence[Any]:
        statement = f"DELETE FROM {NAME} WHERE id IN ({FIRST} ?) RETURNING payload"
        return [row[0] for row in self._connection.execute(statement, [limit]).fetchall()]

    def close(self) -> None:
        self._connection.close()


class BarePostgres(Taker):
    """psycopg."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        import psycopg

        self._connection = psycopg.connect(
            host=entry["HOST"], user=entry["USER"], dbname=entry["NAME"], autocommit=True
        )
        self._connection.execute(f"DROP TABLE IF EXISTS {NAME}")
        self._connection.execute(f"CREATE TABLE {NAME} (id bigserial PRIMARY KEY, payload text)")

    def send(self, payload: str) -> None:
        self._connection.execute(f"INSERT INTO {NAME} (payload) VALUES (%s)", [payload])

    def send_many(self, payloads: Sequence[str]) -> None:
        self._connection.execute(f"INSERT INTO {NAME} (payload) SELECT unnest(%s::text[])", [list(payloads)])

    def take(self, limit: int) -> Sequence[Any]:
        # An array of ids: the planner, which believes that the table is empty, would join them row by row.
        first = f"ARRAY({FIRST} %s FOR UPDATE SKIP LOCKED)"
        statement = f"DELETE FROM {NAME} WHERE id = ANY({first}) RETURNING payload"
        return [row[0] for row in self._connection.execute(statement, [limit]).fetchall()]

    def close(self) -> None:
        self._connection.close()


class BareMariaDB(Taker):
    """mysqlclient."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        import MySQLdb

        self._connection = MySQLdb.connect(
            unix_socket=entry["HOST"], user=entry["USER"], database=entry["NAME"], autocommit=True
        )
        self._cursor = self._connection.cursor()
        self._cursor.execute(f"DROP TABLE IF EXISTS {NAME}")
        self._cursor.execute(f"CREATE TABLE {NAME} (id bigint AUTO_INCREMENT PRIMARY KEY, payload longtext)")

    def send(self, payload: str) -> None:
        self.send_many([payload])

    def send_many(self, payloads: Sequence[str]) -> None:
        rows = ", ".join(["(%s)"] * len(payloads))
        self._cursor.execute(f"INSERT INTO {NAME} (payload) VALUES {rows}", payloads)

    def take(self, limit: int) -> Sequence[Any]:
        self._cursor.execute(f"DELETE FROM {NAME} ORDER BY id LIMIT %s RETURNING payload", [limit])
        return [row[0] for row in self._cursor.fetchall()]

    def close(self) -> None:
        self._connection.close()


class BareRedis(Taker):
    """A client of redis-py, of whatever shape."""

    def __init__(self, client: Any) -> None:
        self._client = client
        client.delete(NAME)

    def send(self, payload: str) -> None:
        self._client.rpush(NAME, payload)

    def send_many(self, payloads: Sequence[str]) -> None:
        self._client.rpush(NAME, *payloads)

    def take(self, limit: int) -> Sequence[Any]:
        return self._client.lpop(NAME, limit) or ()

    def close(self) -> None:
        self._client.close()


class BareRabbit(Side):
    """amqp, with a quorum queue and confirms. Its drain is one consumer with a prefetch of a batch."""

    def __init__(self, host: str) -> None:
        import amqp

        self._message = amqp.Message
        self._connection = amqp.Connection(host)
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.queue_declare(NAME, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        self._channel.queue_purge(NAME)
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._on_confirm)
        self._published = 0
        self._unconfirmed: set[int] = set()

    def send(self, payload: str) -> None:
        self.send_many([payload])

    def send_many(self, payloads: Sequence[str]) -> None:
        for payload in payloads:
            self._channel.basic_publish(self._message(payload, delivery_mode=2), routing_key=NAME)
            self._published += 1
            self._unconfirmed.add(self._published)
        while self._unconfirmed:
            self._connection.drain_events(timeout=PATIENCE)

    def _on_confirm(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {each for each in self._unconfirmed if each > tag}
        else:
            self._unconfirmed.discard(tag)

    def drain(self, count: int) -> list[Any]:
        bodies: list[Any] = []

        def arrive(message: Any) -> None:
            bodies.append(message.body)
            if len(bodies) % BATCH == 0 or len(bodies) == count:
                self._channel.basic_ack(message.delivery_tag, multiple=True)

        # Twice a batch, so that the next one is on its way while one is acknowledged.
        self._channel.basic_qos(0, 2 * BATCH, False)
        tag = self._channel.basic_consume(NAME, callback=arrive)
        while len(bodies) < count:
            self._connection.drain_events(timeout=PATIENCE)
        self._channel.basic_cancel(tag)  # answered after the acknowledgements have been heard
        return bodies

    def close(self) -> None:
        self._connection.close()


class BareSqs(Taker):
    """boto3: ten messages in a call, because SQS takes no more."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        import boto3

        keys = ("aws_access_key_id", "aws_secret_access_key")
        session = boto3.session.Session(**{key: options[key] for key in keys}, region_name=options["aws_region"])
        self._client = session.client("sqs", endpoint_url=options["endpoint_url"])
        self._queue = self._client.create_queue(QueueName=NAME)["QueueUrl"]

    def send(self, payload: str) -> None:
        self._client.send_message(QueueUrl=self._queue, MessageBody=payload)

    def send_many(self, payloads: Sequence[str]) -> None:
        for portion in in_batches(payloads, SQS_BATCH):
            entries = [{"Id": str(number), "MessageBody": payload} for number, payload in enumerate(portion)]
            self._client.send_message_batch(QueueUrl=self._queue, Entries=entries)

    def take(self, limit: int) -> Sequence[Any]:
        wanted = min(limit, SQS_BATCH)
        messages = self._client.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=wanted).get("Messages", [])
        entries = [{"Id": each["MessageId"], "ReceiptHandle": each["ReceiptHandle"]} for each in messages]
        if entries:
            self._client.delete_message_batch(QueueUrl=self._queue, Entries=entries)
        return [each["Body"] for each in messages]

    def close(self) -> None:
        self._client.close()


class BareMongo(Taker):
    """pymongo. MongoDB cannot take many documents in one step; somebody who is alone needs two."""

    def __init__(self, url: str) -> None:
        from pymongo import MongoClient

        self._client: Any = MongoClient(url, w="majority")
        self._documents = self._client[NAME][NAME]
        self._documents.drop()

    def send(self, payload: str) -> None:
        self._documents.insert_one({"payload": payload})

    def send_many(self, payloads: Sequence[str]) -> None:
        self._documents.insert_many([{"payload": payload} for payload in payloads])

    def take(self, limit: int) -> Sequence[Any]:
        found = list(self._documents.find({}, limit=limit))
        self._documents.delete_many({"_id": {"$in": [each["_id"] for each in found]}})
        return [each["payload"] for each in found]

    def close(self) -> None:
        self._client.close()
