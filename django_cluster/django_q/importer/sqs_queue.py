"""Django-Q's queue on Amazon SQS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_cluster.core.codec import peek_header
from django_cluster.django_q.importer.queue import CLAIM_SECONDS, MessageSource, WaitingMessage
from django_cluster.errors import PackageError
from django_cluster.importing.report import ImportReport

SESSION_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "profile_name", "region_name")
HELD = "is held by a cluster of Django-Q, or waits there for its next attempt. Import again later."
BULK = 10
"""Messages in one request; SQS allows no more."""
SHARED = (
    "The queue {name!r} on SQS is that of this project here, too: let no cluster of Django-Q run on it any longer,"
    " which would delete the new tasks."
)


def client_of(written: Mapping[str, Any]) -> Any:
    """A client by the keys of Django-Q's ``sqs``. Raises ``ImportError`` without boto3."""
    from boto3 import Session

    given = {"region_name": written.get("aws_region"), **written}
    keywords: dict[str, Any] = {name: given[name] for name in SESSION_KEYS if given.get(name)}
    return Session(**keywords).client("sqs", endpoint_url=written.get("endpoint_url"))


class SqsQueue(MessageSource):
    """Receives messages, and deletes those that were sent. In a dry run they are counted, and not received.

    ``name``: the queue, which has this name in SQS, too.
    """

    def __init__(self, client: Any, name: str, *, dry_run: bool) -> None:
        super().__init__(dry_run=dry_run)
        self._client, self._name = client, name
        self._refused: list[str] = []
        self._ours = 0
        """Messages of this package that were met: the queue may have the same name."""
        try:
            self._url = client.get_queue_url(QueueName=name)["QueueUrl"]
        except client.exceptions.QueueDoesNotExist:
            self._url = None
        # Before anything is received: SQS counts for a while what has been deleted.
        self._ready, self._held = self._count() if self._url else (0, 0)

    def find(self) -> Sequence[Any]:
        if self.dry_run or self._url is None:
            return []
        for _ in range(2):  # an answer may be empty though messages are left
            asked = {"MaxNumberOfMessages": BULK, "VisibilityTimeout": CLAIM_SECONDS, "WaitTimeSeconds": 1}
            if found := self._client.receive_message(QueueUrl=self._url, **asked).get("Messages"):
                return list(found)
        return []

    def claim(self, found: Sequence[Any]) -> Sequence[WaitingMessage]:
        ours = [each["ReceiptHandle"] for each in found if _is_ours(each["Body"])]
        self._ours += len(ours)
        self._refused += ours
        messages = [WaitingMessage(each["ReceiptHandle"], self._name, each["Body"]) for each in found]
        return [message for message in messages if message.key not in ours]

    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        if sent:
            entries = [{"Id": str(number), "ReceiptHandle": each.key} for number, each in enumerate(sent)]
            answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            for failed in answer.get("Failed", ()):  # what stays would run in Django-Q as well: this raises the reason
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=sent[int(failed["Id"])].key)
        self._refused += [message.key for message in refused]

    def close(self, report: ImportReport) -> None:
        for receipt in self._refused:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=0)
        if self._url is None:
            report.notes.append(f"There is no queue {self._name!r} on SQS.")
            return
        if self.dry_run:
            report.notes.append(f"About {self._ready} messages wait on SQS, which a dry run does not open.")
        if self._held:
            report.leave(HELD, self._held)
        if self._ours:
            report.notes.append(SHARED.format(name=self._name))

    def _count(self) -> tuple[int, int]:
        """How many messages wait, and how many a cluster has received."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counted = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        ready, held = (int(counted[name]) for name in names)
        return ready, held


def _is_ours(payload: str) -> bool:
    try:
        peek_header(payload)
    except PackageError:
        return False
    return True
