"""Tasks that no worker could run as they are declared, as Django system checks."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning, register

from django_cluster.checks.messages import TAG
from django_cluster.core.settings import problems
from django_cluster.schedules.declarations import discover, task_problems


@register(TAG)
def check_tasks(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """What ``manage.py check`` says of the tasks in modules that are imported already."""
    return [Warning(sentence, id=f"{TAG}.{problems.MISPLACED_TASK}") for sentence in task_problems()]


@register(TAG, deploy=True)
def check_all_tasks(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """What ``manage.py check --deploy`` says besides: it imports the task modules of all apps."""
    before = set(task_problems())
    discover()
    found = [sentence for sentence in task_problems() if sentence not in before]
    return [Warning(sentence, id=f"{TAG}.{problems.MISPLACED_TASK}") for sentence in found]
