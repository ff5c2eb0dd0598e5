"""The options of ``Q_CLUSTER["sqs"]``, and the name of a queue at SQS."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.option_keys import refuse_unknown, require_text
from django_cluster.core.masking import plain
from django_cluster.core.queue_names import hyphenated_name

MAX_POLL_SECONDS = 20
"""Seconds for which SQS holds a call that waits for messages."""

MAX_QUEUE_NAME_LENGTH = 80

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
