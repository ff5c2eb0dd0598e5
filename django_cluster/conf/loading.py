"""Django's settings and the environment → ``Settings``, for a cluster, a queue or a broker.

Nothing is read when this module is imported. Settings are read at their first use, and again after Django signals that
one of them has changed (``override_settings``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_cluster.conf.django_settings import as_written, parse_context, written_by_the_project
from django_cluster.conf.task_backends import framework_queues
from django_cluster.core.masking import MaskedMapping
from django_cluster.core.settings import BrokerSettings, QueueSettings, Settings
from django_cluster.core.settings.brokers import DEFAULT_NAME, SELECTORS
from django_cluster.core.settings.origin import EffectiveSetting, effective_settings_of
from django_cluster.core.settings.overlay import laid_over
from django_cluster.core.settings.parser import ParseResult, try_parse
from django_cluster.core.settings.queue_weights import QueueWeight, exclude, parse_queue_weights
from django_cluster.core.settings.test_queues import export_suffix, sections_of, suffix, with_test_queues
from django_cluster.core.settings.values import InvalidValue
from django_cluster.errors import InvalidSettings

CLUSTER_VARIABLE = "Q_CLUSTER_NAME"
"""The environment variable that chooses the cluster unless the command line does."""

SETTINGS_READ = frozenset(
    {"Q_CLUSTER", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "TIME_ZONE", "USE_TZ", "CACHES", "DATABASES"}
)


class ClusterImproperlyConfigured(InvalidSettings, ImproperlyConfigured):
    """``Q_CLUSTER`` cannot be used. Both an ``ImproperlyConfigured`` and an ``InvalidSettings``."""


def load_settings(cluster: str | None = None) -> Settings:
    """The settings of a cluster: of ``cluster``, else of ``Q_CLUSTER_NAME``, else of ``Q_CLUSTER`` itself.

    Raises ``ClusterImproperlyConfigured`` with all problems.
    """
    return _load(cluster or _first_of(os.environ.get(CLUSTER_VARIABLE, "")))


def load_cluster(names: Sequence[str] = (), broker: str = "", excluded: Sequence[str] = ()) -> Settings:
    """The settings of a cluster that works on these queues (``a``, ``a,b``, ``a:5,b``; see
    ``core/settings/queue_weights.py``).

    Without names, ``Q_CLUSTER_NAME`` names them; without that, they are the queue of the settings and those that
    ``TASKS`` declares for backends of this package. ``broker``: a name in ``brokers``, instead of the broker of the
    settings. ``excluded``: queues to leave out, by name or pattern; of all that the settings name, where no names are
    given. Of several queues each has the broker, the time limit and the retries that its own settings say; all else is
    that of the root. Raises ``ClusterImproperlyConfigured``, and ``ValueError`` for names that make no sense.
    """
    chosen = [name for name in names or [os.environ.get(CLUSTER_VARIABLE, "")] if name]
    weights = _queue_weights(chosen or ["*"] if excluded else chosen)
    if excluded:
        weights = exclude(weights, excluded, known_queues())
    if not weights and (declared := framework_queues()):
        weights = [QueueWeight(name) for name in dict.fromkeys([_load(None).queue, *declared])]
    if len(weights) < 2:
        return _through(_load(weights[0].queue if weights else None), broker)
    each = [_through(_load(weight.queue), broker) for weight in weights]
    parts = tuple(
        QueueSettings(
            queue=weight.queue,
            weight=weight.weight,
            broker=own.broker,
            delivery=own.delivery,
            timeout=own.processes.timeout,
        )
        for weight, own in zip(weights, each, strict=True)
    )
    return replace(_load(None), queue_settings=parts)


def broker_section(name: str, queue: str | None = None) -> BrokerSettings:
    """The broker with a name of ``brokers``, with the name ``default`` (that of the settings), or with a URL.

    Raises ``ValueError`` for what is none of them. ``queue``: which one there; None = that of the settings.
    """
    settings = load_settings(queue)
    if name in settings.brokers:
        return replace(settings.brokers[name], queue=settings.queue)
    if name == DEFAULT_NAME:
        return settings.broker
    if ":" not in name:
        known = ", ".join(map(repr, dict.fromkeys((*settings.brokers, DEFAULT_NAME))))
        raise ValueError(f"There is no broker named {name!r}; known: {known}, or write a URL.")
    try:
        choice = SELECTORS["broker_url"].convert(name)
    except InvalidValue as error:
        raise ValueError(f"The URL {str(error) or 'cannot be read.'}") from error
    return replace(settings.broker, kind=choice.kind, class_path="", options=MaskedMapping(choice.options), alias="")


def _through(settings: Settings, broker: str) -> Settings:
    """The settings with the broker of this name."""
    if not broker:
        return settings
    if broker not in settings.brokers:
        known = ", ".join(map(repr, settings.brokers)) or "none"
        raise ValueError(f"There is no broker named {broker!r} in brokers; known: {known}.")
    return replace(settings, broker=replace(settings.brokers[broker], queue=settings.queue))


def known_queues() -> list[str]:
    """The names of all queues of the settings: ``queue``, the keys of ``ALT_CLUSTERS``, and what ``TASKS`` declares."""
    written = configured()
    alternatives = written.get("ALT_CLUSTERS") if isinstance(written, Mapping) else None
    others = [name for name in alternatives if isinstance(name, str)] if isinstance(alternatives, Mapping) else []
    return list(dict.fromkeys([_load(None).queue, *others, *framework_queues()]))


def queues_of(names: Sequence[str]) -> list[str]:
    """The queues of ``a``, ``a,b`` or ``'*'``, as ``qcluster -n`` reads them; without names, all known queues.

    Raises ``ValueError`` for names that make no sense.
    """
    return [weight.queue for weight in _queue_weights(names)] or known_queues()


def _queue_weights(names: Sequence[str]) -> list[QueueWeight]:
    return parse_queue_weights(names, known_queues())


def _first_of(name: str) -> str | None:
    """The first of several queues: a process whose variable names several sends to this one."""
    weights = _queue_weights([name]) if "," in name or "*" in name else []
    return weights[0].queue if weights else name or None


def forget_settings() -> None:
    """Forget the settings that were read, so that they are read again."""
    _loaded.cache_clear()


def try_load_settings(cluster: str | None = None, *, secret: str | None = None) -> ParseResult:
    """Read the settings again, with all errors and warnings; ``secret`` replaces ``SECRET_KEY``."""
    return try_parse(configured(), parse_context(cluster, secret))


def effective_settings(cluster: str | None = None) -> list[EffectiveSetting]:
    """The effective value of each setting of this cluster, safe to print, and its origin.

    Raises ``ClusterImproperlyConfigured`` with all problems.
    """
    cluster = cluster or os.environ.get(CLUSTER_VARIABLE) or None
    return effective_settings_of(configured(), parse_context(cluster), load_settings(cluster))


def configured() -> Any:
    """``Q_CLUSTER`` as it is written, with what ``lay_over`` says; an empty dict if it is not."""
    found = as_written()
    return laid_over(found, _overlay) if _overlay and isinstance(found, Mapping) else found


def lay_over(values: Mapping[str, Any]) -> None:
    """Lay these values over ``Q_CLUSTER`` in this process, in place of those of an earlier call.

    For programs that were written for Django-Q; others use ``override_settings``.
    """
    _overlay.clear()
    _overlay.update(values)
    forget_settings()


_overlay: dict[str, Any] = {}
"""Keys of ``Q_CLUSTER`` and the values that hold instead of those that are written."""


def _load(cluster: str | None) -> Settings:
    return _loaded(cluster, suffix())


@cache
def _loaded(cluster: str | None, test_suffix: str) -> Settings:
    """``test_suffix``: what is added to the names of queues on servers while tests run;
    ``core/settings/test_queues.py``."""
    found = try_load_settings(cluster)
    if found.settings is None:
        raise ClusterImproperlyConfigured([problem for problem in found.problems if problem.is_error])
    if not test_suffix:
        return found.settings
    real = try_parse(written_by_the_project(), parse_context(cluster)).settings
    renamed = with_test_queues(found.settings, sections_of(real) if real else [], test_suffix)
    if renamed != found.settings:
        export_suffix(test_suffix)
    return renamed


def _forget_changed(*, setting: str, **_: object) -> None:
    if setting in SETTINGS_READ:
        forget_settings()


setting_changed.connect(_forget_changed, dispatch_uid="django_cluster.conf")
