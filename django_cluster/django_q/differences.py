"""Differences between the meaning of ``Q_CLUSTER`` in Django-Q and here, for ``manage.py check --tag django_q``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django_cluster.core.settings import problems
from django_cluster.core.settings.brokers import SELECTORS
from django_cluster.core.settings.table import BY_KEY
from django_cluster.errors import Problem


def differences(mapping: Mapping[Any, Any]) -> Iterator[Problem]:
    """One problem for each key that is set and has another meaning in Django-Q."""
    for key in mapping:
        option = BY_KEY.get(key) if isinstance(key, str) else None
        if option is not None and option.difference:
            yield Problem(problems.MEANS_SOMETHING_ELSE, key, f"{key} is not quite Django-Q's. {option.difference}")


def silent_choice(mapping: Mapping[Any, Any]) -> Iterator[Problem]:
    """A problem if no broker is configured: the default differs from Django-Q's."""
    if not any(mapping.get(key) is not None for key in (*SELECTORS, "broker", "brokers")):
        sentence = "No broker is configured. Django-Q would use Redis on this machine; here it is the default database."
        yield Problem(problems.OTHER_DEFAULT_BROKER, "broker", sentence, "Set 'orm': 'default', or 'redis': {}.")
