"""Tables, and no behaviour beyond their own rows."""

from __future__ import annotations

from django_cluster.core.renamed_names import refuse
from django_cluster.models.acknowledged_messages import AcknowledgedMessages
from django_cluster.models.checkpoint import TaskCheckpoint
from django_cluster.models.group import GroupMember, TaskGroup
from django_cluster.models.heartbeat import Heartbeat
from django_cluster.models.large_payload import LargePayload
from django_cluster.models.operator_command import OperatorCommand
from django_cluster.models.pruned_group import PrunedGroup
from django_cluster.models.queued_task import QueuedTask
from django_cluster.models.rollup import Rollup
from django_cluster.models.schedule import Schedule
from django_cluster.models.task import Failure, Success, Task
from django_cluster.models.tracked_task import TrackedTask

__getattr__ = refuse(__name__, {"Instruction": "OperatorCommand"})

__all__ = [
    "AcknowledgedMessages",
    "Failure",
    "GroupMember",
    "Heartbeat",
    "LargePayload",
    "OperatorCommand",
    "PrunedGroup",
    "QueuedTask",
    "Rollup",
    "Schedule",
    "Success",
    "Task",
    "TaskCheckpoint",
    "TaskGroup",
    "TrackedTask",
]
