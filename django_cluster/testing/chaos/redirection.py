"""Redirect the settings of broker and databases to the proxy.

Possible for the address of one server without TLS. Redis Sentinels and Clusters return addresses of their own, and
with TLS the certificate belongs to the host name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.db import connections

from django_cluster.core.settings import BrokerSettings
from django_cluster.testing.chaos.proxy import UpstreamAddress

HERE = "127.0.0.1"
DEFAULT_PORTS = {"redis": 6379, "rabbitmq": 5672, "mongo": 27017, "http": 80, "postgresql": 5432, "mysql": 3306}
PLAIN = {"redis": "redis", "amqp": "rabbitmq", "mongodb": "mongo", "http": "http"}
"""URL schemes without TLS and without discovery → the service."""
URLS = {"redis": "url", "rabbitmq": "url", "sqs": "endpoint_url"}
"""Kind of broker → the option that holds its URL."""
ELSEWHERE = {"redis": ("sentinels", "nodes", "cache"), "rabbitmq": ("ssl",)}
"""Kind of broker → options with which its address cannot be replaced."""


def server_of(section: BrokerSettings) -> UpstreamAddress | None:
    """The address of the server of this broker; None if it cannot be redirected."""
    kind, options = section.kind, section.options
    if any(options.get(key) for key in ELSEWHERE.get(kind, ())):
        return None
    if kind == "disque":
        nodes = options.get("nodes", ())
        host, _, port = nodes[0].rpartition(":") if len(nodes) == 1 else ("", "", "0")
        return UpstreamAddress(host, int(port)) if host else None
    if kind == "iron_mq":
        plain = options.get("protocol") == "http" and "host" in options
        return UpstreamAddress(str(options["host"]), int(options.get("port", 80))) if plain else None
    if kind == "mongo":
        return _of_mongo(options.get("kwargs", {}))
    if kind not in URLS:
        return None
    if url := options.get(URLS[kind]):
        return _of_url(url)
    keywords = options.get("kwargs", {}) if kind == "redis" else options
    if kind == "sqs" or keywords.get("ssl") or keywords.get("unix_socket_path"):
        return None
    return UpstreamAddress(str(keywords.get("host") or HERE), int(keywords.get("port") or DEFAULT_PORTS[kind]))


def _of_mongo(keywords: Mapping[str, Any]) -> UpstreamAddress | None:
    host = keywords.get("host") or HERE
    if not isinstance(host, str) or keywords.get("tls") or keywords.get("replicaSet"):
        return None
    return (
        _of_url(host) if "://" in host else UpstreamAddress(host, int(keywords.get("port") or DEFAULT_PORTS["mongo"]))
    )


def _of_url(url: Any) -> UpstreamAddress | None:
    """The address in a URL; None for several hosts, for TLS, and for discovery."""
    if not isinstance(url, str) or "," in url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in PLAIN:
        return None
    return UpstreamAddress(parts.hostname or HERE, parts.port or DEFAULT_PORTS[PLAIN[parts.scheme]])


def redirected(section: BrokerSettings, port: int) -> BrokerSettings:
    """The settings of a broker, with its server at ``port`` of 127.0.0.1."""
    kind, options = section.kind, dict(section.options)
    key = URLS.get(kind, "")
    here = {"host": HERE, "port": port}
    if options.get(key):
        options[key] = _moved(options[key], port)
    elif kind == "disque":
        options["nodes"] = (f"{HERE}:{port}",)
    elif kind == "mongo" and "://" in str(options.get("kwargs", {}).get("host", "")):
        options["kwargs"] = {**options["kwargs"], "host": _moved(options["kwargs"]["host"], port)}
    elif kind in ("mongo", "redis"):
        options["kwargs"] = {**options.get("kwargs", {}), **here}
    else:
        options.update(here)
    return replace(section, options=options)


def _moved(url: str, port: int) -> str:
    parts: SplitResult = urlsplit(url)
    account, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{account}{at}{HERE}:{port}").geturl()


def server_of_database(alias: str) -> UpstreamAddress | None:
    """The address of the server of a database; None for SQLite and for unknown vendors."""
    entry, vendor = connections.databases[alias], connections[alias].vendor
    if vendor not in ("postgresql", "mysql"):
        return None
    host, port = str(entry.get("HOST") or ""), int(entry.get("PORT") or DEFAULT_PORTS[vendor])
    if not host.startswith("/"):
        return UpstreamAddress(host or HERE, port)
    return UpstreamAddress("", 0, path=host if vendor == "mysql" else f"{host}/.s.PGSQL.{port}")


@contextmanager
def databases_redirected(ports: Mapping[str, int]) -> Iterator[None]:
    """Redirect these database aliases to ports of 127.0.0.1, in the block and in processes forked in it."""
    before = {alias: {key: connections.databases[alias].get(key, "") for key in ("HOST", "PORT")} for alias in ports}
    try:
        for alias, port in ports.items():
            connections.databases[alias].update(HOST=HERE, PORT=str(port))
        yield
    finally:
        for alias, entry in before.items():
            connections.databases[alias].update(entry)
