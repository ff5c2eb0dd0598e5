"""Problems of ``Q_CLUSTER`` as Django system checks, before anything runs. No database, cache or broker is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage, register

from django_cluster import conf
from django_cluster.checks.brokers import problems_of_broker
from django_cluster.checks.django_q import problems_of_movers
from django_cluster.checks.messages import STAND_IN, TAG, message_of
from django_cluster.checks.redis_servers import shared_name
from django_cluster.cluster.bootstrap.host import can_measure_memory, can_pin
from django_cluster.core.settings import Settings, problems
from django_cluster.core.suggestions import closest_match
from django_cluster.errors import Problem
from django_cluster.lifecycle.error_reporting import is_offered
from django_cluster.reporters import SHIPPED

PRIVATE_CACHES = (".LocMemCache", ".DummyCache")


@register(TAG)
def check_settings(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Check ``Q_CLUSTER``; called by ``manage.py check``."""
    return validate_config()


def validate_config() -> list[CheckMessage]:
    """All problems of the settings, for ``Q_CLUSTER`` itself and for each of ``ALT_CLUSTERS``."""
    found = dict.fromkeys(problem for cluster in _clusters() for problem in _problems(cluster))
    return [message_of(problem) for problem in (*found, *problems_of_movers())]


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
        yield from shared_name(settings)
        yield from _absent_reporters(settings)
        yield from _private_cache(settings)
        yield from _without_effect(settings)
        for broker in dict.fromkeys([settings.broker.alias, *settings.brokers]):
            section = settings.brokers.get(broker, settings.broker)
            yield from problems_of_broker(section)


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
