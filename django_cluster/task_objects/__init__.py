"""Tasks as objects of the code: ``@task``, what it makes of a function, and the handle of a task that was sent."""

from __future__ import annotations

from django_cluster.core.task_callable import TaskContext
from django_cluster.core.task_status import TaskStatus
from django_cluster.task_objects.decorator import task
from django_cluster.task_objects.function import TaskFunction
from django_cluster.task_objects.handle import TaskHandle

__all__ = ["TaskContext", "TaskFunction", "TaskHandle", "TaskStatus", "task"]
