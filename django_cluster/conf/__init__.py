"""Reads Django's settings and the environment. Only the upper layers import it; the others are handed sections."""

from __future__ import annotations

from django_cluster.conf.django_settings import (
    as_written,
    caches,
    configures_logging,
    databases,
    debugging,
    written_setting,
)
from django_cluster.conf.loading import (
    CLUSTER_VARIABLE,
    ClusterImproperlyConfigured,
    broker_section,
    configured,
    effective_settings,
    forget_settings,
    known_queues,
    lay_over,
    load_cluster,
    load_settings,
    queues_of,
    try_load_settings,
)
from django_cluster.conf.redaction import (
    project_redactor,
)

__all__ = [
    "CLUSTER_VARIABLE",
    "ClusterImproperlyConfigured",
    "as_written",
    "broker_section",
    "caches",
    "configured",
    "configures_logging",
    "databases",
    "debugging",
    "effective_settings",
    "forget_settings",
    "known_queues",
    "lay_over",
    "load_cluster",
    "load_settings",
    "project_redactor",
    "queues_of",
    "try_load_settings",
    "written_setting",
]
