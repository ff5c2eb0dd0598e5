"""Table of Django-Q's public names and their counterparts.

One line for each module of Django-Q. A name is imported when it is first accessed.
"""

from __future__ import annotations

from collections.abc import Mapping

TASKS = "django_cluster.tasks"
HERE = "django_cluster.django_q.shim"
STATUS = "django_cluster.django_q.status"
COMMANDS = "django_cluster.management.commands"


def _unchanged(home: str, *names: str) -> dict[str, str]:
    """Names that are the same in their new module."""
    return {name: f"{home}:{name}" for name in names}


MODULES: Mapping[str, Mapping[str, str]] = {
    "": _unchanged(f"{HERE}.utils", "VERSION", "__version__"),
    "apps": {"DjangoQConfig": "django_cluster.django_q.apps:DjangoQConfig"},
    "tasks": _unchanged(
        TASKS,
        *("async_task", "schedule", "result", "result_cached", "result_group", "result_group_cached"),
        *("fetch", "fetch_cached", "fetch_group", "fetch_group_cached", "count_group", "count_group_cached"),
        *("delete_group", "delete_group_cached", "delete_cached", "queue_size", "async_iter", "async_chain"),
        *("Iter", "Chain", "AsyncTask"),
    )
    | _unchanged(f"{HERE}.brokers", "get_broker")
    | _unchanged(f"{HERE}.models", "Task", "Schedule"),
    "models": _unchanged(f"{HERE}.models", "Task", "Success", "Failure", "Schedule", "OrmQ"),
    "brokers": _unchanged(f"{HERE}.brokers", "Broker", "get_broker"),
    "brokers.redis_broker": _unchanged(f"{HERE}.brokers", "Redis"),
    "brokers.orm": _unchanged(f"{HERE}.brokers", "ORM"),
    "brokers.aws_sqs": _unchanged(f"{HERE}.brokers", "Sqs"),
    "brokers.mongo": _unchanged(f"{HERE}.brokers", "Mongo"),
    "brokers.ironmq": _unchanged(f"{HERE}.brokers", "IronMQBroker"),
    "cluster": _unchanged(f"{HERE}.cluster", "Cluster", "Sentinel") | _unchanged(STATUS, "Stat", "Status"),
    "conf": _unchanged(f"{HERE}.conf", "Conf", "logger"),
    "status": _unchanged(STATUS, "Stat", "Status"),
    "monitor": _unchanged(STATUS, "Stat", "Status"),
    "management": {},
    "management.commands": {},
    "management.commands.qcluster": {"Command": "django_cluster.management.django_q_command:Command"}
    | _unchanged(f"{HERE}.cluster", "Cluster"),
    "management.commands.qmonitor": {"Command": f"{COMMANDS}.qmonitor:Command", "monitor": f"{HERE}.terminal:monitor"},
    "management.commands.qmemory": {"Command": f"{COMMANDS}.qmemory:Command", "memory": f"{HERE}.terminal:memory"},
    "management.commands.qinfo": {"Command": f"{COMMANDS}.qinfo:Command", "info": f"{HERE}.terminal:info"},
    "signals": _unchanged(
        f"{HERE}.signals",
        *("pre_enqueue", "post_spawn", "pre_execute", "post_execute_in_worker", "post_execute", "call_hook"),
    ),
    "signing": _unchanged(f"{HERE}.signing", "SignedPackage", "BadSignature"),
    "scheduler": _unchanged(f"{HERE}.utils", "scheduler"),
    "exceptions": {"TimeoutException": "django_cluster.errors:TaskTimeout"},
    "utils": _unchanged(
        f"{HERE}.utils", "add_months", "add_years", "localtime", "get_func_repr", "close_old_django_connections"
    ),
    "humanhash": _unchanged(
        f"{HERE}.humanhash", "uuid", "humanize", "HumanHasher", "DEFAULT_WORDLIST", "DEFAULT_HASHER"
    ),
    "monitor_terminal": _unchanged(f"{HERE}.terminal", "monitor", "info", "memory", "get_ids"),
    "management.commands.dumpdata": {"Command": "django_cluster.django_q.management.commands.dumpdata:Command"},
    "admin": {
        "TaskAdmin": "django_cluster.admin:SuccessAdmin",
        "FailAdmin": "django_cluster.admin:FailureAdmin",
        "ScheduleAdmin": "django_cluster.admin:ScheduleAdmin",
        "QueueAdmin": "django_cluster.admin:QueuedTaskAdmin",
    },
}
"""Module of Django-Q → its names → ``module:name`` here."""

INSIDE = "is internal to Django-Q's processes"

REMOVED_MODULES: Mapping[str, str] = {
    "pusher": f"{INSIDE}, which are built differently here. In tests, use django_cluster.testing.drain.",
    "worker": f"{INSIDE}, which are built differently here. In tests, use django_cluster.testing.drain.",
    "timeout": f"{INSIDE}; the limit of a task is its option 'timeout'.",
    "queues": f"{INSIDE}: no process shares a queue with another here.",
    "core_signing": f"{INSIDE}; see django_q.signing.",
    "brokers.disque": "was removed from Django-Q, and is a broker of django_cluster: see the setting 'disque_nodes'.",
}
"""Modules without a counterpart → the reason, as the end of a sentence."""
