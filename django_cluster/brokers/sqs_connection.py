"""The way to Amazon SQS: whose account, which queue, with which time-outs, and what its errors mean to us."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from django_cluster.brokers.sqs_options import SqsOptions
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable

POLL_CALL_SECONDS = 4
"""Seconds that one call may wait there: a service that is silent for longer is away. What waits longer calls again."""
CREDENTIALS = re.compile(r"//[^/\s]*@")
"""Part of a URL in the text of an error that may contain a password."""


TRANSIENT_CODES = (
    "InternalError",
    "InternalFailure",
    "KmsThrottled",
    "OverLimit",
    "PurgeQueueInProgress",
    "QueueDeletedRecently",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
)
"""How error codes begin of a service that will be able again."""


class SqsConnection:
    """One reused client and the URL of one queue; a forked child never touches those of its parent."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.options = SqsOptions.of(settings.options)
        self.queue_name = self.options.queue_name(settings.name, settings.queue)
        self._lease = whole_seconds(settings.lease)
        self._client: Any = None
        self._url = ""
        self._pid = 0

    @property
    def fifo(self) -> bool:
        return self.queue_name.endswith(".fifo")

    @property
    def client(self) -> Any:
        if self._client is None or self._pid != os.getpid():
            session = boto3.session.Session(**self.options.session)
            self._client = session.client("sqs", config=client_config(), **self.options.client)
            self._pid = os.getpid()
        return self._client

    @property
    def url(self) -> str:
        """The queue's URL: by the prefix, or by asking; a queue that is not there is created if that is allowed."""
        if not self._url:
            prefix = self.options.url_prefix
            self._url = f"{prefix.rstrip('/')}/{self.queue_name}" if prefix else self._ask_for_url()
        return self._url

    def _ask_for_url(self) -> str:
        try:
            return str(self.client.get_queue_url(QueueName=self.queue_name)["QueueUrl"])
        except self.client.exceptions.QueueDoesNotExist:
            if not self.options.create:
                raise
        return self.create()

    def create(self) -> str:
        """Make the queue; one that is there with the same attributes is left as it is."""
        attributes = {"VisibilityTimeout": str(self._lease), **self.options.attributes}
        if self.fifo:
            attributes["FifoQueue"] = "true"
        return str(self.client.create_queue(QueueName=self.queue_name, Attributes=attributes)["QueueUrl"])

    def call(self, action: str, **keywords: Any) -> dict[str, Any]:
        """One call about the queue. Raises ``BrokerUnavailable`` and ``BrokerRefused``."""
        try:
            with self.errors():
                return self._call_or_create(action, keywords)
        except BrokerUnavailable:
            # Whether a message was kept when the answer was lost, only a FIFO queue can tell.
            if action == "send_message_batch" and not self.fifo:
                raise
        with self.errors():
            return self._call_or_create(action, keywords)

    def _call_or_create(self, action: str, keywords: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._call(action, keywords)
        except self.client.exceptions.QueueDoesNotExist:
            # A prefix has told us its URL, or the queue was deleted.
            if not self.options.create:
                raise
        self.create()
        return self._call(action, keywords)

    def _call(self, action: str, keywords: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = getattr(self.client, action)(QueueUrl=self.url, **keywords)
        return found

    @property
    def address(self) -> str:
        """Which queue where, without a secret."""
        place = self.options.client.get("endpoint_url") or self.options.session.get("region_name") or "its region"
        return f"{self.queue_name} at {urlsplit(place).netloc.rpartition('@')[2] or place}"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block, errors of boto3 become those of the broker port."""
        try:
            yield
        except ClientError as error:
            kind = BrokerUnavailable if is_transient(error) else BrokerRefused
            raise kind(f"SQS did not do what it was asked for the queue {self.address}: {error}") from error
        except (NoConnection, HTTPClientError, OSError) as error:
            words = CREDENTIALS.sub("//", str(error))
            raise BrokerUnavailable(f"SQS cannot be reached for the queue {self.address}: {words}") from error
        except BotoCoreError as error:
            raise BrokerRefused(f"SQS cannot be used for the queue {self.address}: {error}") from error

    def close(self) -> None:
        if self._client is not None and self._pid == os.getpid():
            self._client.close()
        self._client = None


def client_config() -> Config:
    """A service that is away is noticed soon; whether to try again, ``SqsConnection.call`` knows better than boto3."""
    return Config(
        connect_timeout=2,
        read_timeout=POLL_CALL_SECONDS + 1,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
        user_agent_extra="django_cluster",
    )


def is_transient(error: ClientError) -> bool:
    """Whether to try again later."""
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    last = code.rpartition(".")[2]
    return status >= 500 or last.startswith(TRANSIENT_CODES)


def whole_seconds(seconds: float) -> int:
    """SQS knows whole seconds; rounded up, so that nothing comes back too early."""
    return max(0, math.ceil(seconds))
