"""The admin's pages: successful, failed, scheduled, queued and tracked tasks, clusters, and an overview.

Lists load no signed bytes, open no message and count no whole table. Only the page of one task opens its arguments and
its result, after their signature was verified; if that fails, it says why in their place.
"""

from __future__ import annotations

from django_cluster.admin.clusters import ClusterStatusAdmin
from django_cluster.admin.finished_tasks import FailureAdmin, SuccessAdmin
from django_cluster.admin.overview import OverviewAdmin
from django_cluster.admin.queue import QueuedTaskAdmin
from django_cluster.admin.schedules import ScheduleAdmin
from django_cluster.admin.tracked_tasks import TrackedTaskAdmin
from django_cluster.django_q import replaces_app

__all__ = [
    "ClusterStatusAdmin",
    "FailureAdmin",
    "OverviewAdmin",
    "QueuedTaskAdmin",
    "ScheduleAdmin",
    "SuccessAdmin",
    "TrackedTaskAdmin",
]

if replaces_app():
    from django_cluster.admin import django_q as _django_q  # noqa: F401  importing it registers its pages
