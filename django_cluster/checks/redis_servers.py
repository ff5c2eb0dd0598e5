"""Which Redis servers the settings name, and what else is on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from django_cluster import conf
from django_cluster.core.settings import BrokerSettings, Settings, problems
from django_cluster.errors import Problem

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Server(NamedTuple):
    """The address of a Redis queue or cache, to compare two of them."""

    host: str
    """Host, or path of a socket."""
    port: int
    database: int

    @property
    def is_local(self) -> bool:
        return self.host in LOCAL_HOSTS or self.host.startswith("/")


def shared_name(settings: Settings) -> Iterator[Problem]:
    """The default namespace on a remote server: two projects with it would run each other's tasks."""
    if settings.name != "default" or settings.broker.kind != "redis":
        return
    if any(not server.is_local for server in _servers(settings.broker)):
        sentence = "name is 'default', and the broker is on another machine."
        yield Problem(problems.SHARED_NAME, "name", sentence, "Give the namespace a name of its own.")


def shared_database(broker: BrokerSettings) -> Iterator[Problem]:
    """``cache.clear()`` empties the whole Redis database of the cache."""
    if broker.kind != "redis":
        return
    queue = _servers(broker)
    for alias, cache in conf.caches().items():
        if queue & _servers_of_cache(cache):
            sentence = f"The queue and the cache {alias!r} live in the same Redis database."
            hint = "Clearing the cache would delete the tasks: give the queue another database."
            yield Problem(problems.CACHE_SHARES_SERVER, "redis", sentence, hint)


def _servers(broker: BrokerSettings) -> set[Server]:
    """The servers of a broker; empty if the settings do not tell."""
    options = broker.options
    if "cache" in options:
        return _servers_of_cache(conf.caches().get(options["cache"], {}))
    keywords = options.get("kwargs", {})
    if "sentinels" in options:
        return set()  # only the Sentinels know the master
    if "nodes" in options:
        return {Server(host, port, 0) for host, port in options["nodes"]}
    if "url" in options:
        return _servers_of_url(options["url"])
    place = keywords.get("unix_socket_path") or keywords.get("host", "localhost")
    return _server(place, keywords.get("port", 6379), keywords.get("db", 0))


def _servers_of_cache(cache: Mapping[str, Any]) -> set[Server]:
    """The servers of a cache of Django or django-redis; empty for other caches."""
    if "redis" not in str(cache.get("BACKEND", "")).lower():
        return set()
    location = cache.get("LOCATION") or ()
    urls = location.replace(";", ",").split(",") if isinstance(location, str) else location
    database = cache.get("OPTIONS", {}).get("db")
    return {server for url in urls for server in _servers_of_url(str(url).strip(), database)}


def _servers_of_url(url: str, database: object = None) -> set[Server]:
    """The server of a URL, as redis-py reads it: the query overrides the path, and both override ``database``."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        return set()
    wanted = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme == "unix":
        return _server(parts.path, port, wanted or database or 0)
    return _server(parts.hostname or "localhost", port, wanted or parts.path.strip("/") or database or 0)


def _server(host: object, port: object, database: object) -> set[Server]:
    try:
        return {Server(str(host), int(str(port)), int(str(database)))}
    except ValueError:
        return set()
