"""What is known of one key of ``Q_CLUSTER``: the type of its value, its section, its meaning.

The keys are listed in ``table``. Defaults are not repeated there: they are those of the dataclass of the section.
``default_words`` describes a default that is calculated.
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
"""Keys without an environment variable. ``Q_CLUSTER_NAME`` chooses the cluster to run, as in Django-Q."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDefinition:
    """One key of ``Q_CLUSTER``."""

    key: str
    value_type: ValueType
    section: str
    """A field of ``Settings``, or nothing for the cluster as a whole."""
    field: str
    """The field of the section that holds the value; empty if several keys make one value."""
    meaning: str
    """What the setting does, in sentences that can be read alone, with its unit."""
    new: bool = False
    """Whether Django-Q has no key of this name."""
    django_q: str = ""
    """What Django-Q does instead of a new setting, or the default that a key has there; a clause without a full
    stop."""
    difference: str = ""
    """How the key differs from the key of the same name in Django-Q; empty if it does not."""
    default_words: str = ""
    """Markdown that describes a default which is calculated."""
    aliases: tuple[str, ...] = ()
    """Further names of the key."""
    secret: bool = False
    """Whether the value, or a part of it, may be a credential, which is never shown in a sentence."""
    more_variables: tuple[str, ...] = ()
    """Further environment variables of the key."""

    @property
    def default(self) -> object:
        """The value without the key in ``Q_CLUSTER``; None also for defaults that are calculated."""
        for each in fields(SECTIONS[self.section]):
            if each.name == self.field and each.default is not MISSING:
                return each.default
        return None

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables of the key; the first that is set wins."""
        if self.key in NOT_IN_ENVIRONMENT:
            return ()
        return (f"Q_CLUSTER_{self.key.upper()}", *self.more_variables)

    def value_in(self, settings: Settings) -> object:
        """The value in these settings, safe to print."""
        section = getattr(settings, self.section) if self.section else settings
        return getattr(section, self.field) if self.field else None


def define(
    section: str, key: str, value_type: ValueType, meaning: str, *, field: str | None = None, **more: Any
) -> SettingDefinition:
    """A row of the table. By default, the field has the name of the key."""
    field = key if field is None else field
    return SettingDefinition(section=section, key=key, value_type=value_type, meaning=meaning, field=field, **more)
