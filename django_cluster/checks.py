"""Problems of ``Q_CLUSTER`` as Django system checks, before anything runs.

They look at settings only: no database, cache or broker is opened, unless ``--deploy`` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from django.apps import apps
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import router

from django_cluster import conf
from django_cluster.brokers import adapter_class, open_broker
from django_cluster.brokers.option_keys import UnknownOption
from django_cluster.cluster.bootstrap.host import can_measure_memory, can_pin
from django_cluster.core.settings import BrokerSettings, Settings, problems
from django_cluster.core.sqlite_options import is_shared_file, missing_options
from django_cluster.core.suggestions import closest_match
from django_cluster.django_q.differences import differences, silent_choice
from django_cluster.errors import Problem
from django_cluster.lifecycle.error_reporting import is_offered
from django_cluster.lifecycle.probing import probe
from django_cluster.models import QueuedTask
from django_cluster.reporters import SHIPPED

TAG = "django_cluster"
DIFFERENCES_TAG = "django_q"

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

PRIVATE_CACHES = (".LocMemCache", ".DummyCache")

STAND_IN = "a secret for the time of the check"
"""Used instead of a missing ``SECRET_KEY``: Django has its own check for it, and commands that need no key must
work."""


SQLITE_HINT = (
    'Set "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}: while a cluster writes, what others write would'
    ' sometimes fail with "database is locked".'
)


@register(TAG)
def check_settings(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Check ``Q_CLUSTER``; called by ``manage.py check``."""
    return validate_config()


@register(TAG)
def check_sqlite(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Check SQLite databases for options without which web processes fail while a cluster writes."""
    found: list[CheckMessage] = []
    for alias, database in conf.databases().items():
        if is_shared_file(database) and (missing := missing_options(database)):
            sentence = f"The database {alias!r} is SQLite, and its OPTIONS lack {' and '.join(map(repr, missing))}."
            found.append(Warning(sentence, hint=SQLITE_HINT, id=f"{TAG}.{problems.SQLITE_LOCKS}"))
    return found


@register(DIFFERENCES_TAG, deploy=True)
def check_differences(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """List differences from Django-Q, for projects that move; called by ``manage.py check --deploy --tag django_q``."""
    mapping = conf.configured()
    if not knows_django_q() or not isinstance(mapping, Mapping):
        return []
    return [_message(problem) for problem in differences(mapping)]


@register(TAG, deploy=True)
def check_servers(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Connect to all servers in parallel, for at most ten seconds; called by ``manage.py check --deploy``."""
    settings = conf.try_load_settings(secret=STAND_IN).settings
    return [] if settings is None else [_message(problem) for problem in dict.fromkeys(probe(settings))]


@register(Tags.security, deploy=True)
def check_functions(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Check that ``functions`` is set; called by ``manage.py check --deploy``."""
    settings = conf.try_load_settings(secret=STAND_IN).settings
    mapping = conf.configured()
    if settings is None or settings.signing.functions != ("any",) or "functions" in mapping:
        return []
    sentence = "functions is not set: everyone who holds SECRET_KEY can run any function that can be imported."
    hint = (
        'Set "functions": "registered", or a list of patterns such as ["orders.tasks.*"]; or "any", if that is meant.'
    )
    return [_message(Problem(problems.ANY_FUNCTION, "functions", sentence, hint))]


def validate_config() -> list[CheckMessage]:
    """All problems of the settings, for ``Q_CLUSTER`` itself and for each of ``ALT_CLUSTERS``."""
    found = dict.fromkeys(problem for cluster in _clusters() for problem in _problems(cluster))
    return [_message(problem) for problem in (*found, *_left_behind())]


def _clusters() -> list[str | None]:
    """The keys of ``ALT_CLUSTERS``, after None for ``Q_CLUSTER`` itself."""
    configured = conf.configured()
    alternatives = configured.get("ALT_CLUSTERS") if isinstance(configured, Mapping) else None
    names = alternatives if isinstance(alternatives, Mapping) else {}
    return [None, *(name for name in names if isinstance(name, str))]


def _problems(cluster: str | None) -> Iterator[Problem]:
    settings, found = conf.try_load_settings(cluster, secret=STAND_IN)
    yield from found
    if settings is not None:
        yield from _unknown_aliases(settings)
        yield from _shared_name(settings)
        yield from _absent_reporters(settings)
        yield from _private_cache(settings)
        yield from _without_effect(settings)
        for broker in dict.fromkeys([settings.broker.alias, *settings.brokers]):
            section = settings.brokers.get(broker, settings.broker)
            yield from _bad_class(section)
            yield from _tables_elsewhere(section)
            yield from _misspelt_keywords(section)
            yield from _unusable_options(section)
            yield from _shared_database(section)


def _left_behind() -> Iterator[Problem]:
    """Problems of projects that used Django-Q: what sends tasks to another queue than before."""
    if not knows_django_q():
        return
    if apps.is_installed("django_q"):
        yield Problem(problems.BOTH_INSTALLED, "INSTALLED_APPS", "django_q and django_cluster are both installed apps.")
    mapping = conf.configured()
    if isinstance(mapping, Mapping):
        yield from silent_choice(mapping)


def knows_django_q() -> bool:
    """Whether ``import django_q`` works: it is installed, or ``django_cluster.django_q`` replaces it."""
    return find_spec("django_q") is not None


KINDS = {"E": Error, "W": Warning, "I": Info}


def _message(problem: Problem) -> CheckMessage:
    kind = KINDS[problem.id[0]]
    return kind(f"Q_CLUSTER: {problem.sentence}", hint=problem.hint or None, id=f"{TAG}.{problem.id}")


def _unknown_aliases(settings: Settings) -> Iterator[Problem]:
    """Unknown aliases of databases and caches."""
    awaited = settings.on_commit if isinstance(settings.on_commit, str) else None
    aliases: list[tuple[str, str | None]] = [("results_db", settings.results.database), ("on_commit", awaited)]
    cached: list[tuple[str, str | None]] = [("cache", settings.results.cache)]
    for section in dict.fromkeys([settings.broker.alias, *settings.brokers]):
        options = settings.brokers.get(section, settings.broker).options
        place = f"brokers[{section!r}]." if section else ""
        aliases.append((f"{place}orm", options.get("alias")))
        cached.append((f"{place}django_redis", options.get("cache")))
    yield from _missing(aliases, conf.databases() or {"default": {}}, "DATABASES", problems.UNKNOWN_DATABASE)
    yield from _missing(cached, conf.caches(), "CACHES", problems.UNKNOWN_CACHE)


def _missing(
    named: Sequence[tuple[str, str | None]], known: Mapping[str, Any], where: str, problem: str
) -> Iterator[Problem]:
    for key, alias in named:
        if alias is not None and alias not in known:
            yield Problem(problem, key, f"{key} is {alias!r}, which is not in {where}.", _known(known))


def _known(aliases: Mapping[str, Any]) -> str:
    return f"Known: {', '.join(map(repr, aliases))}." if aliases else ""


def _absent_reporters(settings: Settings) -> Iterator[Problem]:
    for name in settings.reporters:
        if not is_offered(name):
            near = closest_match(name, SHIPPED)
            sentence = f"error_reporter names {name!r}, which no installed package offers."
            hint = f"Did you mean {near!r}?" if near else ""
            yield Problem(problems.ABSENT_REPORTER, "error_reporter", sentence, hint)


def _private_cache(settings: Settings) -> Iterator[Problem]:
    """A cache for results that processes do not share, such as Django's default: the results would be lost."""
    alias = settings.results.cache
    backend = str(conf.caches().get(alias, {}).get("BACKEND", ""))
    if settings.results.cached and not settings.sync and backend.endswith(PRIVATE_CACHES):
        sentence = (
            f"cached is set, and the cache {alias!r} is a {backend.rpartition('.')[2]}, which no two processes share."
        )
        yield Problem(problems.PRIVATE_CACHE, "cache", sentence, "Let cache name one that they share.")


def _without_effect(settings: Settings) -> Iterator[Problem]:
    """Limits that cannot be enforced on this system."""
    hint = "Install psutil: pip install 'django-cluster[proc]'."
    limits = [key for key in ("max_rss", "max_rss_kill") if getattr(settings.processes, key) is not None]
    if limits and not can_measure_memory():
        for key in limits:
            sentence = f"{key} has no effect here: without /proc and psutil, the memory of a worker cannot be measured."
            yield Problem(problems.NO_EFFECT_HERE, key, sentence, hint)
    if settings.processes.cpu_affinity and not can_pin():
        sentence = "cpu_affinity has no effect here: neither this system nor psutil can bind a process to CPUs."
        yield Problem(problems.NO_EFFECT_HERE, "cpu_affinity", sentence, hint)


def _bad_class(broker: BrokerSettings) -> Iterator[Problem]:
    """A ``broker_class`` that cannot be imported, or is no broker."""
    if not broker.class_path and "." not in broker.kind:
        return
    try:
        adapter_class(broker)
    except ImproperlyConfigured as error:
        yield Problem(problems.BAD_BROKER_CLASS, "broker_class", f"broker_class cannot be used: {error}")


def _tables_elsewhere(broker: BrokerSettings) -> Iterator[Problem]:
    """A queue in a database for which the routers of the project refuse its tables."""
    alias = broker.options.get("alias") if broker.kind == "orm" else None
    if alias in conf.databases() and not router.allow_migrate_model(alias, QueuedTask):
        sentence = (
            f"The queue is in the database {alias!r}, and the database routers do not let its tables be made there."
        )
        hint = "Put 'django_cluster.routers.ClusterRouter' first in DATABASE_ROUTERS."
        yield Problem(problems.TABLES_ELSEWHERE, "orm", sentence, hint)


def _misspelt_keywords(broker: BrokerSettings) -> Iterator[Problem]:
    """Keywords that the installed redis-py does not know: no process of a cluster could start."""
    if broker.kind != "redis":
        return
    with suppress(ImportError):  # a missing library is reported where it is used
        from django_cluster.brokers.redis_clients import unknown_keywords

        for name, near in unknown_keywords(broker.options).items():
            sentence = f"redis has the keyword {name!r}, which redis-py does not know."
            yield Problem(problems.UNKNOWN_KEY, "redis", sentence, f"Did you mean {near!r}?" if near else "")


def _unusable_options(broker: BrokerSettings) -> Iterator[Problem]:
    """Keys and values inside the options of a broker with which no process could open it. Connects to nothing."""
    if broker.kind in ("orm", "memory", "redis") or "." in broker.kind:
        return
    try:
        adapter_class(broker)
    except ImproperlyConfigured:
        return  # a missing library is reported where it is used
    place = f"brokers[{broker.alias!r}]." if broker.alias else ""
    key = {"disque": "disque_nodes"}.get(broker.kind, broker.kind)
    try:
        open_broker(broker)
    except UnknownOption as error:
        yield Problem(problems.UNKNOWN_KEY, key, place + str(error))
    except ImproperlyConfigured as error:
        yield Problem(problems.BAD_VALUE, key, place + str(error))


class Server(NamedTuple):
    """The address of a Redis queue or cache, to compare two of them."""

    host: str
    """Host, or path of a socket."""
    port: int
    database: int

    @property
    def is_local(self) -> bool:
        return self.host in LOCAL_HOSTS or self.host.startswith("/")


def _shared_name(settings: Settings) -> Iterator[Problem]:
    """The default namespace on a remote server: two projects with it would run each other's tasks."""
    if settings.name != "default" or settings.broker.kind != "redis":
        return
    if any(not server.is_local for server in _servers(settings.broker)):
        sentence = "name is 'default', and the broker is on another machine."
        yield Problem(problems.SHARED_NAME, "name", sentence, "Give the namespace a name of its own.")


def _shared_database(broker: BrokerSettings) -> Iterator[Problem]:
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
