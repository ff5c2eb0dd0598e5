"""The effective value of each setting, and its origin, for ``qinfo --config``. Credentials are masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from django_cluster.core.settings import Settings
from django_cluster.core.settings.brokers import SELECTORS
from django_cluster.core.settings.layers import Layer
from django_cluster.core.settings.parser import ParseContext, layers_of
from django_cluster.core.settings.table import describe

DEFAULT = "default"
"""The origin of a setting that is given nowhere."""


class EffectiveSetting(NamedTuple):
    """One setting."""

    key: str
    text: str
    """The value, as it may be printed."""
    origin: str
    """``setting``, ``setting ALT_CLUSTERS[…]``, ``environment <variable>`` or ``default``."""


def effective_settings_of(mapping: Any, context: ParseContext, settings: Settings) -> list[EffectiveSetting]:
    """Every setting of ``settings``, which was parsed from this mapping in this context."""
    layers = layers_of(mapping, context, [])
    rows = [
        EffectiveSetting(option.key, _shown(value), _origin(option.key, layers)) for option, value in describe(settings)
    ]
    names: Mapping[str, str] = {"queue": "the cluster that was asked for"} if context.cluster else {}
    return [row._replace(origin=names.get(row.key, row.origin)) for row in rows]


def _shown(value: object) -> str:
    return repr(value.value if isinstance(value, Enum) else value)


def _origin(key: str, layers: Sequence[Layer]) -> str:
    """The first layer with a value decides. A broker is chosen by any of several keys."""
    keys = ("broker", *SELECTORS) if key == "broker" else (key,)
    for layer in layers:
        for each in keys:
            if layer.values.get(each) is not None:
                return f"{layer.source} {layer.names[each]}"
    return DEFAULT
