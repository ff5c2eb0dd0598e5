"""Which broker the settings choose, and its options in one normal form.

The normal forms, for the authors of adapters (``BrokerSettings.kind`` → ``BrokerSettings.options``)::

    orm         {"alias": "default"}
    redis       {"url": "redis://…"}  or  {"kwargs": {"host": …}}  or both  or  {"cache": alias}  or  {};
                Sentinels and Clusters: see ``redis_topology``
    memory      {}
    my.Broker   {}                                  the dotted path of broker_class; beside the options of another
                                                    kind it is ``class_path``, and the rest as for that kind
    rabbitmq    {"url": "amqp://…"}  or the dict as written
    mongo       {"kwargs": {"host": …}, "database": name}     the database only if it is named
    sqs         the dict as written                 (from a URL: {"url": "sqs://…"})
    iron_mq     the dict as written
    disque      {"nodes": ("host:port", …), "password": …}    the password only if there is one

``redis`` without options means the server on this machine. Keywords whose value is None are left out, so
that the adapter's own defaults hold, except time-outs and certificates, whose None means none; ``charset`` and
``errors``, which redis-py no longer knows, have been renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django_cluster.core.reprs import repr_of
from django_cluster.core.settings import problems, redis_topology
from django_cluster.core.settings.named_values import dotted_path
from django_cluster.core.settings.values import InvalidValue, ValueType, as_text, text
from django_cluster.core.suggestions import closest_match
from django_cluster.errors import Problem

KINDS = ("orm", "redis", "memory", "rabbitmq", "mongo", "sqs", "iron_mq", "disque")

SCHEMES = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "redis",
    "rediss+sentinel": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
    "orm": "orm",
    "memory": "memory",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "mongodb": "mongo",
    "mongodb+srv": "mongo",
    "sqs": "sqs",
}
"""The kind that each scheme of ``broker_url`` means."""

RENAMED_KEYWORDS = {"charset": "encoding", "errors": "encoding_errors"}
"""Keywords of Django-Q's documentation → their names in redis-py."""

DEFAULT_NAME = "default"
"""The name in ``brokers`` of the broker of the cluster, unless the setting ``broker`` names another."""


class BrokerChoice(NamedTuple):
    """The broker that the settings choose."""

    kind: str
    options: Mapping[str, Any]
    alias: str = ""
    """The name in ``brokers`` by which the broker was chosen; empty if it was chosen by other settings."""
    class_path: str = ""
    """``broker_class``, if options of a kind are set beside it."""

    def __repr__(self) -> str:
        return repr_of(self, "kind", "alias")


def scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()


def with_defaults(kind: str) -> BrokerChoice:
    """A kind of broker without options."""
    return BrokerChoice(kind, {"alias": "default"} if kind == "orm" else {})


def _url(value: Any, kind: str | None = None) -> BrokerChoice:
    """A URL with a known scheme; ``kind`` limits the schemes to those of one broker."""
    if not isinstance(value, str) or not value:
        raise InvalidValue
    known = [scheme for scheme, each in SCHEMES.items() if kind in (None, each)]
    scheme = scheme_of(value)
    if scheme not in known:
        raise InvalidValue(f"has an unknown scheme{did_you_mean(scheme, known)}; known are {', '.join(known)}.")
    if scheme in redis_topology.SCHEMES:
        return BrokerChoice("redis", redis_topology.normalized({"url": value}))
    try:
        urlsplit(value).port  # noqa: B018  reading it checks it
    except ValueError:
        raise InvalidValue("is a URL that cannot be read.") from None
    return _of_url(SCHEMES[scheme], value)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A parenthesis with the closest known name; empty if none is close."""
    near = closest_match(name, known)
    return f" (did you mean {near!r}?)" if near else ""


def _of_url(kind: str, url: str) -> BrokerChoice:
    if kind == "orm":
        return BrokerChoice(kind, {"alias": url.partition(":")[2].strip("/") or "default"})
    if kind == "memory":
        return BrokerChoice(kind, {})
    return BrokerChoice(kind, {"kwargs": {"host": url}} if kind == "mongo" else {"url": url})


def _redis(value: Any) -> BrokerChoice:
    if isinstance(value, str):
        return _url(value, "redis")
    written = {RENAMED_KEYWORDS.get(key, key): each for key, each in _keywords(value).items()}
    keywords = {key: each for key, each in written.items() if each is not None or key in redis_topology.NONE_COUNTS}
    options: dict[str, Any] = {}
    if "url" in keywords:
        options["url"] = keywords.pop("url")
        _url(options["url"], "redis")  # whether it is one
    return BrokerChoice("redis", redis_topology.normalized({**options, "kwargs": keywords}))


def _keywords(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidValue
    return dict(value)


def _mongo(value: Any) -> BrokerChoice:
    return _url(value, "mongo") if isinstance(value, str) else BrokerChoice("mongo", {"kwargs": _keywords(value)})


def _rabbitmq(value: Any) -> BrokerChoice:
    return _url(value, "rabbitmq") if isinstance(value, str) else BrokerChoice("rabbitmq", _keywords(value))


def _disque(value: Any) -> BrokerChoice:
    nodes = value.split(",") if isinstance(value, str) else value
    if not isinstance(nodes, (list, tuple)) or not nodes:
        raise InvalidValue
    if not all(isinstance(node, str) and node.strip() for node in nodes):
        raise InvalidValue
    return BrokerChoice("disque", {"nodes": tuple(node.strip() for node in nodes)})


def _alias(words: str, choose: Callable[[str], BrokerChoice]) -> ValueType:
    return ValueType(words, lambda value: choose(text().convert(value)), as_text)


SELECTORS: Mapping[str, ValueType] = {
    "orm": _alias("the alias of a database", lambda alias: BrokerChoice("orm", {"alias": alias})),
    "redis": ValueType("a dict of redis-py keywords, or a URL", _redis),
    "django_redis": _alias("the alias of a Redis cache", lambda alias: BrokerChoice("redis", {"cache": alias})),
    "broker_url": ValueType("a URL", _url, as_text),
    "broker_class": ValueType(
        dotted_path().words, lambda value: BrokerChoice(dotted_path().convert(value), {}), as_text
    ),
    "rabbitmq": ValueType("a dict, or an amqp URL", _rabbitmq),
    "mongo": ValueType("a dict of MongoClient keywords, or a mongodb URL", _mongo),
    "sqs": ValueType("a dict of boto3 keywords", lambda value: BrokerChoice("sqs", _keywords(value))),
    "iron_mq": ValueType("a dict of connection keywords", lambda value: BrokerChoice("iron_mq", _keywords(value))),
    "disque_nodes": ValueType("a list of 'host:port'", _disque),
}
"""The settings that choose a broker by their presence → the type of their value."""


def choose(
    layers: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    found: list[Problem],
    named: Mapping[str, BrokerChoice] = MappingProxyType({}),
    *,
    path: str = "broker",
) -> BrokerChoice:
    """The broker that the settings mean; without any, the default database.

    ``named``: those of ``brokers``, any of which ``broker`` may name. ``path``: where ``broker`` is written.

    The first layer with a setting of a broker decides: a ``redis`` in the environment is no second broker beside
    an ``orm`` in ``Q_CLUSTER``. ``values``: the converted values of all layers.
    """
    deciding = next((layer for layer in layers if _mentioned(layer) or layer.get("broker") is not None), {})
    if (alias := _alias_in(deciding, named)) is not None:
        return named[alias]
    keys = _mentioned(deciding) or list(SELECTORS)
    choices = {key: values[key] for key in keys if key in values}
    kind = values.get("broker")
    if kind is not None and kind not in KINDS:
        found += _of_no_kind(kind, named, _mentioned(deciding), path)
        kind = None
    own = choices.pop("broker_class", None) if set(choices) - {"broker_class"} else None
    fitting = {key: each for key, each in choices.items() if kind in (None, each.kind)}
    if len(fitting) > 1:
        found.append(_two_brokers(list(fitting)))
    elif choices and not fitting and _mentioned(deciding):
        sentence = f"broker is {kind!r}, but {_listed(list(choices))} configured."
        found.append(Problem(problems.OTHER_BROKER, "broker", sentence))
    choice = next(iter(fitting.values()), None) or with_defaults(kind or "orm")
    options = {**choice.options, **_companions(choice.kind, values)}
    return BrokerChoice(choice.kind, options, class_path=own.kind if own is not None else "")


def _of_no_kind(word: str, named: Mapping[str, BrokerChoice], mentioned: list[str], path: str) -> Iterator[Problem]:
    """Problems of a setting ``broker`` that is not the name of a kind."""
    if word not in named:
        known = [*KINDS, *named]
        sentence = f"{path} is {word!r}, neither a kind nor a name in brokers{did_you_mean(word, known)}."
        yield Problem(problems.BAD_VALUE, "broker", sentence, f"Known: {', '.join(known)}.")
    elif mentioned:  # an upper layer names it, and a lower one decides
        yield _two_brokers([*mentioned, f"brokers[{word!r}]"])


def _alias_in(deciding: Mapping[str, Any], named: Mapping[str, BrokerChoice]) -> str | None:
    """The name in ``brokers`` that the layer chooses; without any setting of a broker, ``default``."""
    if _mentioned(deciding):
        return None
    alias = deciding.get("broker") or DEFAULT_NAME
    return alias if isinstance(alias, str) and alias in named else None


def _mentioned(layer: Mapping[str, Any]) -> list[str]:
    return [key for key in SELECTORS if layer.get(key) is not None]


def _two_brokers(keys: list[str]) -> Problem:
    hint = "Remove all but one, or say which kind is meant with 'broker'."
    return Problem(problems.TWO_BROKERS, keys[0], f"More than one broker is configured: {', '.join(keys)}.", hint)


def _listed(keys: list[str]) -> str:
    return f"{', '.join(keys)} {'is' if len(keys) == 1 else 'are'}"


def _companions(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a broker that have a key of their own."""
    keys = {"mongo": {"mongo_db": "database"}, "disque": {"disque_auth": "password"}}.get(kind, {})
    return {option: values[key] for key, option in keys.items() if key in values}
