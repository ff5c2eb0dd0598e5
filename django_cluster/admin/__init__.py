"""The admin's pages: what succeeded, what failed, what is scheduled, what waits, and who works on it.

Lists load no sealed bytes, open nothing and count no whole table. Only the page of one task opens its arguments
and its result, after their signature was verified, and says so in a sentence when they can no longer be read.
"""

from __future__ import annotations

from django_cluster.admin.clusters import ClusterStatusAdmin
from django_cluster.admin.finished_tasks import FailureAdmin, SuccessAdmin
from django_cluster.admin.queue import QueuedTaskAdmin
from django_cluster.admin.schedules import ScheduleAdmin

__all__ = ["ClusterStatusAdmin", "FailureAdmin", "QueuedTaskAdmin", "ScheduleAdmin", "SuccessAdmin"]
