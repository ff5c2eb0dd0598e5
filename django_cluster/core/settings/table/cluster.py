"""What a cluster is called, and how it sends."""

from __future__ import annotations

from functools import partial

from django_cluster.core.settings.definition import define
from django_cluster.core.settings.named_values import (
    flag_or_alias,
    log_level,
    mapping_of_mappings,
    module_names,
    queue_name,
)
from django_cluster.core.settings.values import choice, flag, name_parts, text

general = partial(define, "")

CLUSTER = (
    general(
        "name",
        queue_name(),
        "The namespace of the project. It separates projects that share a broker, and is part of every signature: all"
        " clusters and web processes of a project need the same `name`.",
        difference="Has no environment variable: `Q_CLUSTER_NAME` chooses the cluster to run.",
    ),
    general(
        "queue",
        queue_name(),
        "The queue that the cluster works on, and to which tasks are sent that name no other queue.",
        default_words="the value of `name`",
        aliases=("cluster_name",),
        difference="May also be called `queue`.",
    ),
    general(
        "ALT_CLUSTERS",
        mapping_of_mappings("a dict of names and dicts of settings"),
        "Further clusters of the project: the name of each queue, and the settings in which its cluster differs."
        " `qcluster -n long` (or `Q_CLUSTER_NAME=long`) starts the cluster of the queue `long`. A name that is not"
        " listed runs with the settings of `Q_CLUSTER` itself.",
        field="",
        default_words="none",
        difference="A name that is not listed is not an error.",
    ),
    general(
        "sync",
        flag(),
        "Run every task immediately, in the process that sends it. For tests.",
        difference="A failure is recorded before it is raised, and the connections of the caller stay open.",
    ),
    general(
        "on_commit",
        flag_or_alias(),
        "Whether tasks that are sent inside a transaction leave when it is committed, and never if it is rolled back."
        " `True` waits for the database of the results, an alias for that database; `False` sends immediately. A"
        " queue in the same database does not wait: its messages are part of the transaction.",
        new=True,
        django_q="tasks are sent immediately",
    ),
    general(
        "track_tasks",
        flag(),
        "Whether every task has a row from the moment at which it is sent, with its status (`TrackedTask`), unless its"
        " option `track` says otherwise. Costs one row for each task, and two more statements for each task"
        " or batch of quick tasks.",
        new=True,
        django_q="a task has a row when it has ended",
    ),
    general(
        "testing",
        flag(),
        "For tests on machines with few CPUs: workers are not bound to CPUs, whatever `cpu_affinity` says. The log"
        " shows the CPUs that each worker would have had.",
        difference="The admin shows the queue of every broker, with `testing` and without.",
    ),
    general(
        "label",
        text(),
        "The name of the app in the admin: on its index and above its pages.",
        django_q="the default is `Django Q`",
    ),
    general(
        "log_level",
        log_level(),
        "The level of the logger `django_cluster` in `qcluster`, unless `LOGGING` configures that logger (see"
        " [Logging](../how-to/logging.md)).",
        difference="The logger is `django_cluster`, not `django-q`; it gets a handler only in `qcluster`.",
    ),
    general(
        "log_format",
        choice("text", "json"),
        "How `qcluster` writes log lines: `text`, or `json` for one JSON object in each line (see"
        " [Logging](../how-to/logging.md)). It does not apply where `LOGGING` has a handler for the records.",
        new=True,
    ),
    general(
        "task_modules",
        module_names(),
        "Names of the modules of each installed app that declare tasks and schedules. They are imported when a cluster"
        " starts, and where registered tasks are listed or checked. An empty list imports none.",
        default_words="`['tasks']`",
        new=True,
    ),
    general(
        "masked_names",
        name_parts(),
        "Names of arguments, keys and fields whose values are masked wherever arguments, results or errors are shown:"
        " in the admin, in `qmonitor`, in logs, in error reports. A part of a name is enough, and its case does not"
        " matter. These names are added to those that Django masks (`DEFAULT_EXCEPTION_REPORTER_FILTER`).",
        default_words="none",
        new=True,
    ),
)
