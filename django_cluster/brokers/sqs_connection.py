"""The way to Amazon SQS: whose account, which queue, with which time-outs, and what its errors mean to us."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.option_keys import refuse_unknown, require_text
from django_cluster.core.masking import plain
from django_cluster.core.queue_names import hyphenated_name
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable

MAX_POLL_SECONDS = 20
"""Seconds for which SQS holds a call that waits for messages."""
POLL_CALL_SECONDS = 4
"""Seconds that one call may wait there: a service that is silent for longer is away. What waits longer calls again."""
MAX_QUEUE_NAME_LENGTH = 80
CREDENTIALS = re.compile(r"//[^/\s]*@")
"""Part of a URL in the text of an error that may contain a password."""

SESSION_KEYS = frozenset(
    {
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_account_id",
        "region_name",
        "profile_name",
        "botocore_session",
    }
)
CLIENT_KEYS = frozenset({"endpoint_url", "use_ssl", "verify", "api_version"})
OWN_KEYS = frozenset(
    {
        "url",
        "aws_region",
        "queue_url_prefix",
        "queue_name",
        "create_queue",
        "queue_attributes",
        "message_group_id",
        "receive_message_wait_time_seconds",
    }
)

KEYS = (SESSION_KEYS | CLIENT_KEYS | OWN_KEYS) - {"url"}

TEXTS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_region",
    "region_name",
    "profile_name",
    "queue_url_prefix",
    "queue_name",
    "message_group_id",
)
"""Options whose value must be text."""

QUEUE_ATTRIBUTES = (
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
)
"""Attributes that SQS accepts for a new queue."""

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


@dataclass(frozen=True, slots=True)
class SqsOptions:
    """``Q_CLUSTER["sqs"]``, taken apart."""

    session: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keywords of ``boto3.Session``: keys, or nothing for boto3's own chain of credentials."""
    client: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keywords of its SQS client."""
    url_prefix: str = ""
    """URL of the queue without its name; saves the request for the URL."""
    name_pattern: str = ""
    create: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attributes of a queue that is created."""
    group: str = "django_cluster"
    """The message group in a FIFO queue: within it, order is kept."""
    poll: int = MAX_POLL_SECONDS
    """Seconds of the longest poll; 0: never wait in the server."""

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> SqsOptions:
        """Raises ``ImproperlyConfigured`` for unknown keys and wrong values."""
        options = {key: value for key, value in {**_of_url(written.get("url", "")), **written}.items() if key != "url"}
        region = options.pop("aws_region", None)
        if region is not None:
            options.setdefault("region_name", region)
        refuse_unknown("sqs", options, KEYS)
        require_text("sqs", {**options, "aws_region": region}, TEXTS)
        attributes = options.get("queue_attributes") or {}
        if not isinstance(attributes, Mapping):
            raise ImproperlyConfigured(f"sqs: queue_attributes must be a dict, not {type(attributes).__name__}.")
        refuse_unknown("sqs: queue_attributes", attributes, QUEUE_ATTRIBUTES)
        endpoint = options.get("endpoint_url")
        if endpoint and not str(endpoint).startswith(("http://", "https://")):
            raise ImproperlyConfigured("sqs: endpoint_url begins with http:// or https://.")
        return cls(
            session={key: value for key, value in options.items() if key in SESSION_KEYS},
            client={key: value for key, value in options.items() if key in CLIENT_KEYS},
            url_prefix=str(options.get("queue_url_prefix") or ""),
            name_pattern=str(options.get("queue_name") or ""),
            create=bool(options.get("create_queue", True)),
            attributes={str(key): _attribute(each) for key, each in attributes.items()},
            group=str(options.get("message_group_id") or "django_cluster"),
            poll=_poll(options.get("receive_message_wait_time_seconds", MAX_POLL_SECONDS)),
        )

    def queue_name(self, site: str, queue: str) -> str:
        """The name at SQS: at most 80 letters, digits, hyphens and underscores, and perhaps ``.fifo`` behind them."""
        wanted = self.name_pattern.replace("{name}", site).replace("{queue}", queue) or hyphenated_name(site, queue)
        stem, fifo = (wanted.removesuffix(".fifo"), ".fifo") if wanted.endswith(".fifo") else (wanted, "")
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", stem)
        if plain != stem or len(plain + fifo) > MAX_QUEUE_NAME_LENGTH:
            digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
            plain = f"{plain[: MAX_QUEUE_NAME_LENGTH - len(fifo) - 9]}-{digest}"
        return plain + fifo


def _of_url(url: str) -> dict[str, Any]:
    """``sqs://key:secret@host:port/?region_name=…``: all of it may be left out, the rest stands behind the ``?``."""
    parts = urlsplit(url)
    found: dict[str, Any] = dict(parse_qsl(parts.query))
    if parts.username:
        found["aws_access_key_id"] = unquote(parts.username)
    if parts.password:
        found["aws_secret_access_key"] = unquote(parts.password)
    if parts.hostname:
        place = parts.hostname + (f":{parts.port}" if parts.port else "")
        found["endpoint_url"] = f"{'http' if found.pop('use_ssl', '1') in ('0', 'false') else 'https'}://{place}"
    if found.get("create_queue") in ("0", "false"):
        found["create_queue"] = False
    return found


def _attribute(value: Any) -> str:
    """The attributes in the format of SQS: a policy given as a dict becomes JSON."""
    return value if isinstance(value, str) else json.dumps(plain(value))


def _poll(value: Any) -> int:
    try:
        seconds = int(value)
    except (TypeError, ValueError):
        seconds = -1
    if isinstance(value, bool) or not 0 <= seconds <= MAX_POLL_SECONDS:
        raise ImproperlyConfigured(
            f"sqs: receive_message_wait_time_seconds is a whole number of seconds from 0 to {MAX_POLL_SECONDS},"
            f" not {value!r}."
        )
    return seconds


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
