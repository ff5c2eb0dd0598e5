"""``Q_CLUSTER`` as frozen values (``sections``), and how it is read.

``table`` lists every key, ``values`` what a value may be, ``brokers`` which broker is meant, ``parser`` puts it all
together, ``layers`` and ``origin`` say which place a value comes from, ``problems`` what can be wrong.
"""

from __future__ import annotations

from django_cluster.core.settings.sections import (
    DEFAULT_LABEL,
    BrokerSettings,
    DeliverySettings,
    ProcessSettings,
    QueueSettings,
    ResultSettings,
    ScheduleSettings,
    Settings,
    SigningSettings,
)

__all__ = [
    "DEFAULT_LABEL",
    "BrokerSettings",
    "DeliverySettings",
    "ProcessSettings",
    "QueueSettings",
    "ResultSettings",
    "ScheduleSettings",
    "Settings",
    "SigningSettings",
]
