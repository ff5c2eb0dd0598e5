"""Table of Django-Q's public names and their counterparts.

One line for each module of Django-Q. A name is imported when it is first accessed.
"""

from __future__ import annotations

from collections.abc import Mapping

TASKS = "django_cluster.tasks"
MODELS = "django_cluster.models"
HERE = "django_cluster.django_q.shim"


def _unchanged(home: str, *names: str) -> dict[str, str]:
    """Names that are the same in their new module."""
    return {name: f"{home}:{name}" for name in names}


MODULES: Mapping[str, Mapping[str, str]] = {
    "": _unchanged(f"{HERE}.utils", "VERSION", "__version__"),
    "apps": {"DjangoQConfig": "django_cluster.apps:DjangoClusterConfig"},
    "tasks": _unchanged(
        TASKS,
        *("async_task", "schedule", "result", "result_cached", "result_group", "result_group_cached"),
        *("fetch", "fetch_cached", "fetch_group", "fetch_group_cached", "count_group", "count_group_cached"),
        *("delete_group", "delete_group_cached", "delete_cached", "queue_size", "async_iter", "async_chain"),
        *("Iter", "Chain", "AsyncTask"),
    )
    | _unchanged(f"{HERE}.brokers", "get_broker")
    | _unchanged(MODELS, "Task", "Schedule"),
    "models": _unchanged(MODELS, "Task", "Success", "Failure", "Schedule") | {"OrmQ": f"{MODELS}:QueuedTask"},
    "brokers": _unchanged(f"{HERE}.brokers", "Broker", "get_broker"),
    "brokers.redis_broker": {"Redis": "django_cluster.brokers.redis:RedisBroker"},
    "brokers.orm": {"ORM": "django_cluster.brokers.orm:OrmBroker"},
    "brokers.aws_sqs": {"Sqs": "django_cluster.brokers.sqs:SqsBroker"},
    "brokers.mongo": {"Mongo": "django_cluster.brokers.mongo:MongoBroker"},
    "brokers.ironmq": {"IronMQBroker": "django_cluster.brokers.ironmq:IronMQBroker"},
    "cluster": _unchanged(f"{HERE}.cluster", "Cluster"),
    "conf": _unchanged(f"{HERE}.conf", "Conf", "logger"),
    "status": _unchanged("django_cluster.django_q.status", "Stat", "Status"),
    "signals": _unchanged(
        f"{HERE}.signals",
        *("pre_enqueue", "post_spawn", "pre_execute", "post_execute_in_worker", "post_execute", "call_hook"),
    ),
    "signing": _unchanged(f"{HERE}.signing", "SignedPackage", "BadSignature"),
    "scheduler": _unchanged(f"{HERE}.utils", "scheduler"),
    "exceptions": {"TimeoutException": "django_cluster.errors:TaskTimeout"},
    "utils": _unchanged(f"{HERE}.utils", "add_months", "add_years", "localtime", "get_func_repr"),
    "humanhash": _unchanged(f"{HERE}.utils", "uuid", "humanize"),
    "monitor_terminal": _unchanged(f"{HERE}.terminal", "monitor", "info", "memory", "get_ids"),
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
    "monitor": f"{INSIDE}, which are built differently here. In tests, use django_cluster.testing.drain.",
    "queues": f"{INSIDE}: no process shares a queue with another here.",
    "timeout": f"{INSIDE}; the limit of a task is its option 'timeout'.",
    "core_signing": f"{INSIDE}; see django_q.signing.",
    "brokers.disque": "was removed from Django-Q, and is a broker of django_cluster: see the setting 'disque_nodes'.",
}
"""Modules without a counterpart → the reason, as the end of a sentence."""
