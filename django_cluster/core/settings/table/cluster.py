"""What a cluster is called, and how it sends."""

from __future__ import annotations

from functools import partial

from django_cluster.core.settings.definition import define
from django_cluster.core.settings.values import (
    flag,
    flag_or_alias,
    log_level,
    mapping_of_mappings,
    name_parts,
    queue_name,
    text,
)

general = partial(define, "")

CLUSTER = (
    general(
        "name",
        queue_name(),
        "The namespace. Separates projects that share a broker, and salts every signature: all clusters and web "
        "processes of a namespace must have the same name.",
        parity="Has no environment variable: `Q_CLUSTER_NAME` picks the cluster to run.",
    ),
    general(
        "queue",
        queue_name(),
        "The queue that is worked on, and sent to when a call names no other.",
        default_words="the name",
        aliases=("cluster_name",),
        parity="May also be called `queue`.",
    ),
    general(
        "ALT_CLUSTERS",
        mapping_of_mappings("a dict of names and dicts of settings"),
        "Other clusters of this namespace: for each, the settings in which it differs. `qcluster -n long` (or "
        "`Q_CLUSTER_NAME=long`) works on the queue `long` with them. A name that is not listed runs with the root"
        " settings on a queue of that name.",
        field="",
        default_words="none",
        parity="A name that is not listed is no error, even where nothing is.",
    ),
    general(
        "sync",
        flag(),
        "Run every task at once in the process that sends it. For tests.",
        parity="A failure leaves a row too, before it is raised; the caller's connections stay open.",
    ),
    general(
        "on_commit",
        flag_or_alias(),
        "Tasks that are sent inside a transaction leave when it is committed, and never if it is rolled back. True "
        "looks at the database of the results; an alias looks at that database; False sends at once. A queue in the "
        "same database needs no waiting: its messages are part of the transaction.",
        parity="New. Django-Q sends at once.",
    ),
    general(
        "testing",
        flag(),
        "For tests on machines with few CPUs: workers are not bound to CPUs, whatever `cpu_affinity` says; the log"
        " says which they would have had.",
        parity="The admin shows the queue of every broker, with `testing` and without.",
    ),
    general(
        "label",
        text(),
        "What the admin calls the app, on its index and above its pages.",
        parity="Default in Django-Q: `Django Q`.",
    ),
    general(
        "log_level",
        log_level(),
        "The level of the logger `django_cluster` in `qcluster`, unless `LOGGING` configures that logger.",
        parity="The logger is `django_cluster`, not `django-q`; it gets a handler only in `qcluster`.",
    ),
    general(
        "masked_names",
        name_parts(),
        "Names of arguments, keys and fields whose values are hidden wherever arguments, results or errors are shown:"
        " in the admin, in `qmonitor`, in logs, in error reports. A part of a name is enough, whatever its case. They"
        " are added to those that Django hides (`DEFAULT_EXCEPTION_REPORTER_FILTER`).",
        default_words="none",
        parity="New.",
    ),
)
