"""Queues of Django-Q on SQS, MongoDB and Redis are moved from where its own ``Q_CLUSTER`` says that they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import pytest
from django.conf import settings
from django.core import signing
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from django_cluster.client.client import get_client
from django_cluster.django_q.importer.packages import _Pickles
from django_cluster.django_q.importer.queue import MessageSource, WaitingMessage, move
from django_cluster.django_q.importer.redis_queue import RedisQueue
from django_cluster.django_q.importer.run import package_reader
from django_cluster.django_q.importer.sqs_queue import SqsQueue
from django_cluster.errors import BrokerUnavailable
from django_cluster.importing.options import ImportOptions
from django_cluster.importing.report import ImportReport
from django_cluster.importing.target import TargetQueue
from django_cluster.models import QueuedTask
from tests.servers import FerretServer, RedisServer, SqsServer

pytestmark = pytest.mark.django_db


class _Dumps(_Pickles):
    def dumps(self, value: Any) -> bytes:
        import pickle

        return pickle.dumps(value)


def payloads(name: str, count: int) -> list[str]:
    """Messages as Django-Q signs them, and one that it has not signed."""
    common = {"func": "tests.sample.tasks.add", "args": (1, 2), "kwargs": {}, "started": timezone.now()}
    tasks = [{"id": uuid4().hex, "name": f"waiting {number}", **common} for number in range(count)]
    dumped = [signing.dumps(task, key=settings.SECRET_KEY, salt=name, serializer=_Dumps) for task in tasks]
    return [*dumped, "garbage"]


def qimport(*arguments: str) -> tuple[tuple[int, int, int], str]:
    out = StringIO()
    call_command("qimport", "django_q", "--only", "queue", *arguments, stdout=out)
    (row,) = re.findall(r"^Queue +(\d+) +(\d+) +(\d+)$", out.getvalue(), re.MULTILINE)
    moved, here, left = map(int, row)
    return (moved, here, left), out.getvalue()


@pytest.fixture
def name() -> str:
    return f"old-{uuid4().hex[:8]}"


def test_a_queue_on_sqs_moves(sqs_server: SqsServer, name: str) -> None:
    import boto3

    options = sqs_server.options
    client = boto3.client(
        "sqs",
        endpoint_url=options["endpoint_url"],
        region_name=options["aws_region"],
        aws_access_key_id=options["aws_access_key_id"],
        aws_secret_access_key=options["aws_secret_access_key"],
    )
    url = client.create_queue(QueueName=name)["QueueUrl"]
    for payload in payloads(name, 12):
        client.send_message(QueueUrl=url, MessageBody=payload)

    def rest() -> int:
        return int(
            client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
                "ApproximateNumberOfMessages"
            ]
        )

    with override_settings(Q_CLUSTER={"name": name, "sqs": options}):
        numbers, said = qimport("--dry-run")
        assert (numbers, rest()) == ((0, 0, 0), 13)
        assert "About 13 messages wait on SQS" in said
        # There, both have the same name for the queue.
        numbers, said = qimport()
        assert (numbers, rest()) == ((12, 0, 1), 13)
        assert f"The queue '{name}' on SQS is that of this project here, too" in said
        assert len(get_client().broker.lease(10, 1)) == 10
    client.close()


def test_what_sqs_does_not_delete_with_the_rest_is_deleted_alone() -> None:
    """SQS answers such a request with success; Django-Q would run what stays."""
    client = MagicMock()
    client.get_queue_attributes.return_value = {
        "Attributes": {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "0"}
    }
    client.delete_message_batch.return_value = {"Failed": [{"Id": "1", "Code": "InternalError"}]}
    source = SqsQueue(client, "old", dry_run=False)

    source.finish([WaitingMessage(receipt, "old", "") for receipt in ("a", "b")], [])

    (deleted,) = client.delete_message.call_args_list
    assert deleted.kwargs["ReceiptHandle"] == "b"


def test_a_queue_on_mongodb_moves(ferretdb_server: FerretServer, name: str) -> None:
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](ferretdb_server.url) as client:
        documents = client["django-q"][name]
        long_ago, now = timezone.now() - timedelta(seconds=90), timezone.now()
        documents.insert_many([{"payload": text, "lock": long_ago} for text in payloads(name, 3)])
        documents.insert_one({"payload": payloads(name, 1)[0], "lock": now})
        q_cluster = {"name": name, "mongo": {"host": ferretdb_server.url}, "retry": 60}

        with override_settings(Q_CLUSTER=q_cluster):
            assert qimport("--dry-run")[0] == (3, 0, 2)
            numbers, said = qimport()
            assert numbers == (3, 0, 2)
            assert "1 × stays where it is: it is held by a cluster of Django-Q" in said
            assert documents.count_documents({}) == 2
            assert qimport("--stopped")[0] == (1, 0, 1)
            assert [each["payload"] for each in documents.find()] == ["garbage"]


class OneBatch(MessageSource):
    """Has a message in each of two queues, and notes what becomes of them."""

    def __init__(self, name: str) -> None:
        super().__init__(dry_run=False)
        first, second, garbage = payloads(name, 2)
        self._left = [("first", first), ("second", second), ("first", garbage)]
        self.sent: list[str] = []
        self.released: list[str] = []

    def find(self) -> list[tuple[str, str]]:
        found, self._left = self._left, []
        return found

    def claim(self, found: Any) -> list[WaitingMessage]:
        return [WaitingMessage(number, *each) for number, each in enumerate(found)]

    def finish(self, sent: Any, refused: Any) -> None:
        self.sent += [message.queue for message in sent]
        self.released += [message.queue for message in refused]


def test_what_was_sent_is_deleted_also_if_another_queue_is_not_available(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django-Q would run what is released."""

    def send(target: TargetQueue, queue: str, packages: Any) -> None:
        if queue == "second":
            raise BrokerUnavailable("gone")

    monkeypatch.setattr(TargetQueue, "send", send)
    source = OneBatch(name)

    with override_settings(Q_CLUSTER={"name": name, "orm": "default"}), pytest.raises(BrokerUnavailable):
        move(source, package_reader(), ImportOptions().target(), ImportReport("Queue"))

    assert source.sent == ["first"]
    assert source.released == ["second", "first"]


def test_tasks_that_a_cluster_takes_meanwhile_are_neither_lost_nor_sent_twice(
    redis_server: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that reads the list first and shortens it later would delete what it has not read."""
    import redis

    from django_cluster.importing import redis_claims

    monkeypatch.setattr(redis_claims, "BATCH", 2)
    with (
        redis.Redis.from_url(redis_server.url) as server,
        override_settings(Q_CLUSTER={"name": name, "orm": "default"}),
    ):
        key = f"django_q:{name}:q"
        server.rpush(key, *payloads(name, 6)[:6])
        source = RedisQueue(server, name, dry_run=False)
        taken: list[Any] = []
        find: Callable[[], Any] = source.find

        def find_while_a_cluster_pops() -> Any:
            found = find()
            taken.append(server.lpop(key))
            return found

        monkeypatch.setattr(source, "find", find_while_a_cluster_pops)
        report = ImportReport("Queue")
        move(source, package_reader(), ImportOptions().target(), report)

        popped = [text for text in taken if text]
        assert (report.imported, len(popped)) == (4, 2)
        assert QueuedTask.objects.count() == 4
        assert server.llen(key) == 0
