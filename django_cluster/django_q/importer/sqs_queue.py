"""Django-Q's queue on Amazon SQS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_cluster.django_q.importer.queue import CLAIM_SECONDS, HELD, MessageSource, WaitingMessage
from django_cluster.importing.report import ImportReport

SESSION_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "profile_name", "region_name")
BULK = 10
"""Messages in one request; SQS allows no more."""


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
        try:
            self._url = client.get_queue_url(QueueName=name)["QueueUrl"]
        except client.exceptions.QueueDoesNotExist:
            self._url = None

    def find(self) -> Sequence[Any]:
        if self.dry_run or self._url is None:
            return []
        for _ in range(2):  # an answer may be empty though messages are left
            asked = {"MaxNumberOfMessages": BULK, "VisibilityTimeout": CLAIM_SECONDS, "WaitTimeSeconds": 1}
            if found := self._client.receive_message(QueueUrl=self._url, **asked).get("Messages"):
                return list(found)
        return []

    def claim(self, found: Sequence[Any]) -> Sequence[WaitingMessage]:
        return [WaitingMessage(each["ReceiptHandle"], self._name, each["Body"]) for each in found]

    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        if sent:
            entries = [{"Id": str(number), "ReceiptHandle": each.key} for number, each in enumerate(sent)]
            self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        self._refused += [message.key for message in refused]

    def close(self, report: ImportReport) -> None:
        for receipt in self._refused:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=0)
        if self._url is None:
            report.notes.append(f"There is no queue {self._name!r} on SQS.")
            return
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counted = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        ready, held = (int(counted[name]) for name in names)
        if self.dry_run:
            report.notes.append(f"About {ready} messages wait on SQS, which a dry run does not open.")
        if held:
            report.leave(HELD.replace("; if its clusters are stopped: --stopped", ""), held)
