"""The shapes of a Redis: one server, a master that Sentinels know, a Cluster.

The normal forms, beside ``{"url": …, "kwargs": …}`` of one server::

    {"sentinels": (("host", 26379), …), "master": "mymaster", "url": "redis://…", "kwargs": {…}}
    {"nodes": (("host", 6379), …), "url": "redis://…", "kwargs": {…}}

There the URL, if any, still carries what holds for every server: credentials, the database, options in its query.
Its own host means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django_cluster.core.settings.values import InvalidValue

HostPort = tuple[str, int]

SENTINEL_PORT, PORT = 26379, 6379

SCHEMES = frozenset({"redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"})
"""URLs of several servers: ``redis+sentinel://user:password@host:26379,host/master/0``,
``redis+cluster://host,host``."""

MASTER_KEYWORDS = ("master", "sentinel_master", "service_name")
CLUSTER_KEYWORDS = ("cluster", "nodes", "startup_nodes")
NUMBERS = {"port": int, "db": int, "socket_timeout": float, "socket_connect_timeout": float}
"""Keywords that redis-py takes as they are, and stumbles over when it connects; a number may be written as text."""

NONE_COUNTS = frozenset({"socket_timeout", "socket_connect_timeout", "ssl_cert_reqs"})
"""Keywords whose None is kept, because to redis-py it means "no time-out", "no certificate needed". Any other None is
ignored."""


def normalized(options: Mapping[str, Any]) -> dict[str, Any]:
    """``{"url": …, "kwargs": …}`` as it was written → its normal form; raises ``InvalidValue`` with the reason."""
    kwargs = dict(options.get("kwargs", {}))
    _check_values(kwargs)
    found = _of_url(options.get("url", "")) | _of_keywords(kwargs)
    if "sentinels" in found and "nodes" in found:
        raise InvalidValue("names Sentinels and a Cluster; choose one.")
    if "sentinels" in found and "master" not in found:
        raise InvalidValue("names Sentinels, but not their 'master'.")
    if "master" in found and "sentinels" not in found:
        raise InvalidValue("names a 'master', but no 'sentinels' that know it.")
    if "nodes" in found and int(kwargs.get("db") or 0):
        raise InvalidValue("asks for a database of a Redis Cluster, which has only number 0.")
    rest = {name: value for name, value in options.items() if name not in ("url", "kwargs")}
    return {**rest, **found, **({"kwargs": kwargs} if kwargs else {})}


def _check_values(kwargs: Mapping[str, Any]) -> None:
    for name, kind in NUMBERS.items():
        try:
            kind(kwargs.get(name) or 0)
        except (TypeError, ValueError):
            raise InvalidValue(f"has a {name} that is no number: {kwargs[name]!r}.") from None
    if not isinstance(kwargs.get("host") or "", str):
        raise InvalidValue("has a host that is no text.")


def _of_url(url: str) -> dict[str, Any]:
    if not url:
        return {}
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        return {"url": url}
    scheme, _, shape = parts.scheme.lower().partition("+")
    user, at, hosts = parts.netloc.rpartition("@")
    default = SENTINEL_PORT if shape == "sentinel" else PORT
    places = tuple(_place(host, default) for host in hosts.split(","))
    steps = [step for step in parts.path.split("/") if step]
    if shape == "cluster":
        if steps not in ([], ["0"]):
            raise InvalidValue("asks for a database of a Redis Cluster, which has only number 0.")
        return {"nodes": places, "url": urlunsplit((scheme, f"{user}{at}{_first(places)}", "", parts.query, ""))}
    if not 1 <= len(steps) <= 2:
        raise InvalidValue("is not of the form redis+sentinel://host:26379,host:26379/master/0.")
    database = steps[1] if len(steps) == 2 else ""
    plain = urlunsplit((scheme, f"{user}{at}{_first(places)}", database, parts.query, ""))
    return {"sentinels": places, "master": steps[0], "url": plain}


def _of_keywords(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the keywords say of a shape; it is taken out of them."""
    found: dict[str, Any] = {}
    if sentinels := kwargs.pop("sentinels", None):
        found["sentinels"] = _places(sentinels, SENTINEL_PORT)
    for name in MASTER_KEYWORDS:
        if master := kwargs.pop(name, None):
            found["master"] = str(master)
    asked = {name: kwargs.pop(name) for name in CLUSTER_KEYWORDS if name in kwargs}
    cluster = asked.get("cluster")
    named = cluster if isinstance(cluster, (str, list, tuple, Mapping)) else None
    nodes = asked.get("nodes") or asked.get("startup_nodes") or named
    if nodes:
        found["nodes"] = _places(nodes, PORT)
    elif cluster:
        found["nodes"] = ((str(kwargs.pop("host", "localhost")), int(kwargs.pop("port", PORT))),)
    return found


def _places(given: Any, default: int) -> tuple[HostPort, ...]:
    """A list of ``"host:port"``, ``("host", port)``, ``{"host": …, "port": …}`` or redis-py's ``ClusterNode``, or one
    of the first and third alone."""
    if isinstance(given, str):
        given = given.split(",")
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise InvalidValue("has to be a list of 'host:port'.")
    return tuple(_place(each, default) for each in given)


def _place(given: Any, default: int) -> HostPort:
    if isinstance(given, Mapping):
        given = (given.get("host"), given.get("port", default))
    if hasattr(given, "host") and hasattr(given, "port"):
        given = (given.host, given.port)
    if isinstance(given, str):
        host, colon, port = given.strip().rpartition(":") if _has_port(given) else (given.strip(), "", "")
        given = (host.strip("[]"), port if colon else default)
    try:
        host, port = given
        place = str(host or ""), int(port)
    except (TypeError, ValueError):
        raise InvalidValue("has an address that is no 'host:port'.") from None
    if not place[0]:
        raise InvalidValue("has an address without a host.")
    return place


def _has_port(text: str) -> bool:
    """Whether the last colon precedes a port, and is not inside of ``[::1]``."""
    return ":" in text.rpartition("]")[2]


def _first(places: tuple[HostPort, ...]) -> str:
    host, port = places[0]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
