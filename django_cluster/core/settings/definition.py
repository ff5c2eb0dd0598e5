"""What is known of one key of ``Q_CLUSTER``: its value_type, its place, its meaning.

The keys themselves stand in ``table``. A default is not repeated there: it stands in the
section's dataclass. ``default_words`` is for those that are computed.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

from django_cluster.core.settings import (
    BrokerSettings,
    DeliverySettings,
    ProcessSettings,
    ResultSettings,
    ScheduleSettings,
    Settings,
    SigningSettings,
)
from django_cluster.core.settings.values import ValueType

SECTIONS: dict[str, type[Any]] = {
    "": Settings,
    "broker": BrokerSettings,
    "processes": ProcessSettings,
    "delivery": DeliverySettings,
    "results": ResultSettings,
    "schedule": ScheduleSettings,
    "signing": SigningSettings,
}

NOT_IN_ENVIRONMENT = frozenset({"name", "ALT_CLUSTERS"})
"""``Q_CLUSTER_NAME`` does not name the namespace: as in Django-Q, it picks the cluster to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDefinition:
    """One key of ``Q_CLUSTER``."""

    key: str
    value_type: ValueType
    section: str
    """A field of ``Settings``, or nothing for the cluster as a whole."""
    field: str
    """Where in its section the value is kept; nothing if several options make one value."""
    meaning: str
    parity: str = ""
    """How it differs from the option of the same name in Django-Q; nothing if it does not."""
    default_words: str = ""
    aliases: tuple[str, ...] = ()
    secret: bool = False
    """The value, or a part of it, may be a credential: it is never shown in a sentence."""
    more_variables: tuple[str, ...] = ()

    @property
    def default(self) -> object:
        """What holds when the key is not given; None also for those that are computed."""
        for each in fields(SECTIONS[self.section]):
            if each.name == self.field and each.default is not MISSING:
                return each.default
        return None

    @property
    def variables(self) -> tuple[str, ...]:
        """Its environment variables; the first that is set wins."""
        if self.key in NOT_IN_ENVIRONMENT:
            return ()
        return (f"Q_CLUSTER_{self.key.upper()}", *self.more_variables)

    def value_in(self, settings: Settings) -> object:
        """What holds in these settings; safe to print."""
        section = getattr(settings, self.section) if self.section else settings
        return getattr(section, self.field) if self.field else None


def define(
    section: str, key: str, value_type: ValueType, meaning: str, *, field: str | None = None, **more: Any
) -> SettingDefinition:
    """A line of the table; the field is usually called as the key is."""
    field = key if field is None else field
    return SettingDefinition(section=section, key=key, value_type=value_type, meaning=meaning, field=field, **more)
