"""``Q_CLUSTER["rabbitmq"]``: a URL or several, or a dict, taken apart."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.option_keys import refuse_unknown, require_text, texts
from django_cluster.core.masking import plain

HEARTBEAT_SECONDS = 5, 30
"""Shortest and longest heartbeat that is chosen, in seconds. RabbitMQ closes a connection after two or three missed
heartbeats and requeues its messages. RabbitMQ's documentation warns of false alarms below five seconds."""

ALIASES = {
    "exchange_name": "exchange",
    "prefetch_count": "prefetch",
    "user": "userid",
    "username": "userid",
    "vhost": "virtual_host",
}
KEYS = (
    "url",
    "host",
    "port",
    "userid",
    "password",
    "virtual_host",
    "ssl",
    "heartbeat",
    "exchange",
    "prefetch",
    "queue_type",
)

SSL_KEYS = (
    "ca_certs",
    "cert_reqs",
    "certfile",
    "ciphers",
    "context",
    "keyfile",
    "server_hostname",
    "ssl_version",
    "tls_maximum_version",
    "tls_minimum_version",
)
"""TLS options that ``amqp`` passes to Python's ``ssl`` and that apply to clients."""


@dataclass(frozen=True, slots=True)
class RabbitOptions:
    """``Q_CLUSTER["rabbitmq"]``, taken apart."""

    nodes: tuple[Mapping[str, Any], ...] = field(repr=False)
    """For each node the keywords of ``amqp.Connection``; they are tried in turn."""
    heartbeat: int = HEARTBEAT_SECONDS[1]
    exchange: str = ""
    """Messages go through this direct exchange; empty: through the server's default one."""
    prefetch: int = 500
    """The most messages to lease in one call."""
    queue_type: str = "quorum"

    @classmethod
    def of(cls, written: Mapping[str, Any], lease: float = 60.0) -> RabbitOptions:
        """``lease``: seconds; where no heartbeat is written, it follows the lease, so that the messages of a machine
        without network are requeued about when its leases would end. Raises ``ImproperlyConfigured`` for unknown keys
        and wrong values.
        """
        options = {ALIASES.get(key, key): value for key, value in written.items()}
        refuse_unknown("rabbitmq", options, KEYS)
        require_text("rabbitmq", options, ("host", "userid", "password", "virtual_host", "exchange"))
        if options.get("port"):
            options["port"] = _whole("port", options["port"], least=1)
        parsed = [_of_url(url) for url in texts("rabbitmq", "url", options.pop("url", None) or ["amqp://"])]
        merged: dict[str, Any] = {**parsed[0][1], **options}
        if merged.get("queue_type", "quorum") not in ("quorum", "classic"):
            raise ImproperlyConfigured("rabbitmq: queue_type is 'quorum' or 'classic'.")
        return cls(
            nodes=tuple(_keywords({**node, **options}) for node, _ in parsed),
            heartbeat=_whole("heartbeat", merged.get("heartbeat", heartbeat_for(lease)), least=0),
            exchange=str(merged.get("exchange") or ""),
            prefetch=_whole("prefetch", merged.get("prefetch", 500), least=1),
            queue_type=str(merged.get("queue_type", "quorum")),
        )


def heartbeat_for(lease: float) -> int:
    """Half a lease, where that makes sense."""
    shortest, longest = HEARTBEAT_SECONDS
    return round(max(shortest, min(longest, lease / 2)))


def _of_url(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(where and who, the other options) of ``amqp://user:password@host:port/virtual_host?heartbeat=30``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ImproperlyConfigured("rabbitmq: the URL cannot be read.") from None
    if parts.scheme not in ("amqp", "amqps"):
        raise ImproperlyConfigured("rabbitmq: a URL begins with amqp:// or amqps://.")
    node: dict[str, Any] = {"ssl": parts.scheme == "amqps"}
    if parts.hostname:
        node["host"] = parts.hostname
    if port:
        node["port"] = port
    if parts.username:
        node["userid"] = unquote(parts.username)
    if parts.password:
        node["password"] = unquote(parts.password)
    if len(parts.path) > 1:
        node["virtual_host"] = unquote(parts.path[1:])
    more = {ALIASES.get(key, key): value for key, value in parse_qsl(parts.query)}
    refuse_unknown("rabbitmq", more, KEYS, " in the URL")
    return node, more


def _keywords(node: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``amqp.Connection`` for a node."""
    said = node.get("ssl", False)
    encrypted = bool(said) or isinstance(said, Mapping)
    host, port = node.get("host", "localhost"), node.get("port") or (5671 if encrypted else 5672)
    return {
        "host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "userid": node.get("userid", "guest"),
        "password": node.get("password", "guest"),
        "virtual_host": node.get("virtual_host", "/"),
        "ssl": _tls(said, host) if encrypted else False,
    }


def _tls(said: Any, host: str) -> dict[str, Any]:
    """TLS keywords of a node. Without ``server_hostname``, ``amqp`` would accept the certificate of any host."""
    keywords = plain(said) if isinstance(said, Mapping) else {}
    refuse_unknown("rabbitmq: ssl", keywords, SSL_KEYS)
    unchecked = "context" in keywords or keywords.get("cert_reqs") == ssl.CERT_NONE
    return keywords if unchecked else {"server_hostname": host, **keywords}


def _whole(name: str, value: Any, *, least: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ImproperlyConfigured(f"rabbitmq: {name} is a whole number of at least {least}, not {value!r}.")
    return number
