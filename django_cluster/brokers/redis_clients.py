"""The redis-py client for each topology of Redis, and its timeouts.

Options of the user take precedence. Without them every wait has an end.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

from redis import ConnectionPool, Redis
from redis import cluster as cluster_module
from redis import exceptions as errors
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from django_cluster.core.masking import plain
from django_cluster.core.suggestions import closest_match
from django_cluster.errors import BrokerRefused

try:
    from redis.driver_info import DriverInfo
except ImportError:  # redis-py before 7.1
    LIBRARY: Mapping[str, Any] = {}
else:
    LIBRARY = {"driver_info": DriverInfo()}
"""What redis-py tells the server of itself. It would look it up for each connection, in the metadata of its package:
that takes milliseconds, and 1.4 MB in each process."""

SENTINEL_PATIENCE = 1.0
"""Seconds for which one Sentinel is waited for before the next is asked."""

OWN_KEYWORDS = ("cluster", "master", "sentinels", "url")
"""Keys of our own beside redis-py's keyword arguments."""

READ_SIZE = 1 << 17
"""Bytes in one read. With redis-py's own 32 KB, a large message takes a poll and a read for each of them."""


def defaults() -> dict[str, Any]:
    """Defaults for options that the user has not set.

    A server that is away or frozen is noticed within ten seconds. Only a broken connection is tried again,
    not one that stays silent: after a timeout it is unknown what the server has done.
    """
    return {
        "socket_connect_timeout": 3.0,
        "socket_timeout": 5.0,
        "health_check_interval": 30,
        "socket_read_size": READ_SIZE,
        "retry": _retry(2),
    }


def keepalive() -> dict[str, Any]:
    """What the kernel is told of a TCP connection: one that the network has forgotten ends, also where the user lets
    calls wait without a limit."""
    said = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
    known = {getattr(socket, name): value for name, value in said.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": known}


def checked_host(keywords: Mapping[str, Any], *, tls: bool) -> dict[str, Any]:
    """What makes TLS refuse the certificate of another host, unless the user says otherwise or wants no certificate.

    redis-py before version 6 checks only who has signed the certificate.
    """
    wanted = keywords.get("ssl_cert_reqs", "required")
    trusting = wanted in (None, ssl.CERT_NONE) or str(wanted).lower() == "none"
    return {"ssl_check_hostname": True} if tls and not trusting and "ssl_check_hostname" not in keywords else {}


def _uses_tls(url: str, keywords: Mapping[str, Any]) -> bool:
    return url.lower().startswith("rediss:") or bool(keywords.get("ssl"))


def _name_of_library(url: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
    """``LIBRARY``, unless the user gives another name."""
    return {} if "lib_" in url or "lib_name" in said or "lib_version" in said else LIBRARY


def _retry(times: int, kind: type[Retry] = Retry) -> Retry:
    return kind(ExponentialBackoff(cap=0.2, base=0.02), times, supported_errors=(errors.ConnectionError,))


def _without(kinds: Iterable[type[Exception]], *unwanted: type[Exception]) -> tuple[type[Exception], ...]:
    return tuple(each for each in kinds if not issubclass(each, unwanted))


class ConnectionRetry(Retry):
    """Never retries after a timeout, when it is unknown what the node has done. Cluster transactions would ask for
    it."""

    def update_supported_errors(self, specified_errors: Iterable[type[Exception]]) -> None:
        super().update_supported_errors(_without(specified_errors, errors.TimeoutError))


class DirectCluster(RedisCluster):
    """redis-py's own asks a silent node four times. How long to try a Cluster that is down is decided by
    ``RedisClusterConnection``."""

    ERRORS_ALLOW_RETRY = _without(  # type: ignore[assignment]
        RedisCluster.ERRORS_ALLOW_RETRY, errors.TimeoutError, errors.ClusterDownError
    )


def build_client(options: Mapping[str, Any]) -> Redis:
    """A client of one server: of the one that is named, or of the master that the Sentinels know now.

    ``options`` in one of the normal forms of ``core.redis_shapes``, ``{"cache": alias}``, or ``{}`` (this machine).
    """
    if "cache" in options:
        return _like_cache(options["cache"])
    url, said = options.get("url", ""), plain(options.get("kwargs", {}))
    keywords = {**defaults(), **_name_of_library(url, said), **said, "decode_responses": False}
    if not url.startswith("unix:") and not keywords.get("unix_socket_path"):
        keywords = {**keepalive(), **keywords}
    whole = {**of_url(url), **keywords}
    keywords |= checked_host(whole, tls=_uses_tls(url, whole))
    if "sentinels" in options:
        return _of_sentinels(options["sentinels"], options["master"], {**of_url(url), **keywords})
    if not url:
        keywords, later = _parted(keywords)
    client: Redis = Redis.from_url(url, **keywords) if url else Redis(**keywords)
    pool = client.connection_pool
    pool.connection_kwargs["decode_responses"] = False  # whatever the URL says
    if not url:
        pool.connection_kwargs |= later
    pool.connection_class(**pool.connection_kwargs)  # says now what it does not know; it connects later
    return client


def _parted(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords for the client, and those of ours that redis-py before version 6 knows for connections only."""
    ours = defaults().keys() - signature(Redis).parameters.keys()
    return {name: each for name, each in keywords.items() if name not in ours}, {name: keywords[name] for name in ours}


def unknown_keywords(options: Mapping[str, Any]) -> dict[str, str]:
    """What redis-py would refuse of the keywords, or drop without a word, each with the nearest name that it knows.

    Beside a URL, and to the nodes of other shapes, keywords go by other ways, on which more of them are known.
    """
    known = set(signature(Redis).parameters)
    if options.keys() - {"kwargs"}:
        for each in (AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection, ConnectionPool):
            known |= signature(each).parameters.keys()
    if "sentinels" in options:
        known |= signature(Sentinel).parameters.keys() | signature(SentinelConnectionPool).parameters.keys()
        known |= {"sentinel_username", "sentinel_password"}
    if "nodes" in options:
        known |= signature(RedisCluster).parameters.keys() | set(cluster_module.REDIS_ALLOWED_KEYS)
    names = sorted(known - {"self", "args", "kwargs", "connection_kwargs"})
    meant = sorted({*names, *OWN_KEYWORDS})
    return {name: closest_match(name, meant) for name in options.get("kwargs", {}) if name not in names}


def build_cluster(options: Mapping[str, Any]) -> DirectCluster:
    """A client of all nodes of a Redis Cluster. Connects to one of them, which names the others."""
    # "retry" is another thing to this client: how often it looks for the right node.
    ours = {**defaults(), "retry": _retry(3, ConnectionRetry), **keepalive()}
    url, said = options.get("url", ""), plain(options.get("kwargs", {}))
    keywords = {**of_url(url), **ours, **_name_of_library(url, said), **said, "decode_responses": False}
    keywords.pop("db", None)
    if checked := checked_host(keywords, tls=_uses_tls(url, keywords)):
        keywords |= checked
        _keep_in_clusters("ssl_check_hostname")
    nodes = [ClusterNode(host, port) for host, port in options["nodes"]]  # type: ignore[no-untyped-call]
    return DirectCluster(startup_nodes=nodes, **keywords)


def _keep_in_clusters(keyword: str) -> None:
    """redis-py before version 6 would drop this keyword on the way to the nodes, without a word."""
    if keyword not in cluster_module.REDIS_ALLOWED_KEYS:
        allowed: tuple[str, ...] = (*cluster_module.REDIS_ALLOWED_KEYS, keyword)
        cluster_module.REDIS_ALLOWED_KEYS = allowed  # type: ignore[assignment]  # of one length, to type checkers


def of_url(url: str) -> dict[str, Any]:
    """Options in a URL, without the address, as keyword arguments."""
    said: dict[str, Any] = dict(parse_url(url)) if url else {}  # type: ignore[no-untyped-call]
    said.pop("host", None)
    said.pop("port", None)
    if said.pop("connection_class", None) is SSLConnection:
        said["ssl"] = True
    return said


def _of_sentinels(sentinels: Any, master: str, keywords: dict[str, Any]) -> Redis:
    """Sentinels have passwords of their own, and are to answer sooner than a server."""
    own = {
        "socket_timeout": SENTINEL_PATIENCE,
        "socket_connect_timeout": SENTINEL_PATIENCE,
        "retry": _retry(0),  # there is another to ask
        **{name: value for name, value in keywords.items() if name.startswith("ssl") or name in LIBRARY},
        **keywords.pop("sentinel_kwargs", {}),
    }
    for name in ("username", "password"):
        if (value := keywords.pop(f"sentinel_{name}", None)) is not None:
            own[name] = value
    all_of_them = Sentinel(list(sentinels), sentinel_kwargs=own, **keywords)  # type: ignore[no-untyped-call]
    client: Redis = all_of_them.master_for(master)  # type: ignore[no-untyped-call]
    return client


def _like_cache(alias: str) -> Redis:
    """A client of our own to the server of a Django cache, because our time-outs are not those of a cache."""
    from django.core.cache import caches

    cache: Any = caches[alias]
    # Both libraries of caches have this method: Django's own under "_cache", django-redis under "client".
    inner: Any = getattr(cache, "_cache", None) or getattr(cache, "client", None)
    if not hasattr(inner, "get_client"):
        raise BrokerRefused(f"The cache {alias!r} is not a Redis cache.")
    pool = inner.get_client(write=True).connection_pool
    if type(pool).__name__ not in ("ConnectionPool", "BlockingConnectionPool"):
        return Redis(connection_pool=pool)  # it knows more than an address, a sentinel's pool for example
    said = pool.connection_kwargs
    tcp = {} if issubclass(pool.connection_class, UnixDomainSocketConnection) else keepalive()
    keywords = {**defaults(), **tcp, **_name_of_library("", said), **said, "decode_responses": False}
    keywords |= checked_host(keywords, tls=issubclass(pool.connection_class, SSLConnection))
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **keywords))
