"""Values that a program lays over ``Q_CLUSTER`` while it runs, as Django-Q's users do by ``Conf.SYNC = True``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_cluster.core.settings.brokers import SELECTORS

PRECEDENCE = ("broker_class", "iron_mq", "sqs", "orm", "mongo", "django_redis", "redis")
"""The keys that choose a broker, in the order in which Django-Q asks for them."""
NAMES = frozenset({"name", "cluster_name"})
"""Keys that say which cluster it is, so that they have no place in an alternative cluster."""


def laid_over(written: Mapping[Any, Any], overlay: Mapping[str, Any]) -> dict[Any, Any]:
    """``Q_CLUSTER`` with other values, which hold for the alternative clusters, too.

    If one of them chooses a broker, or removes the choice by None, it is chosen as in Django-Q: by the first key of
    ``PRECEDENCE`` that is set, and Redis on this machine if there is none.
    """
    found = {**written, **overlay}
    if any(key in overlay for key in PRECEDENCE):
        found = _with_one_broker(found)
    alternatives = found.get("ALT_CLUSTERS")
    if isinstance(alternatives, Mapping):
        own = {key: value for key, value in overlay.items() if key not in NAMES}
        found["ALT_CLUSTERS"] = {
            name: {**each, **own} if isinstance(each, Mapping) else each for name, each in alternatives.items()
        }
    return found


def _with_one_broker(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    chosen = next((key for key in PRECEDENCE if mapping.get(key) or (key == "sqs" and mapping.get(key) == {})), None)
    others = {key: value for key, value in mapping.items() if key not in SELECTORS and key != "broker"}
    return {**others, **({chosen: mapping[chosen]} if chosen else {"redis": {}})}
