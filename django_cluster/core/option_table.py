"""Every key of ``Q_CLUSTER``, once: parsing, the reference and ``qinfo --config`` all grow from this table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django_cluster.core.broker_choice import KINDS, SELECTORS
from django_cluster.core.options import Option, option
from django_cluster.core.settings import Settings
from django_cluster.core.values import (
    catch_up,
    choice,
    compression,
    flag,
    flag_or_alias,
    flag_or_bytes,
    flag_or_seconds,
    keep_days,
    log_level,
    mapping_of_mappings,
    number_or_path,
    queue_name,
    reporters,
    seconds,
    text,
    time_zone,
    whole,
    whole_or_auto,
)

general = partial(option, "")
broker = partial(option, "broker")
signing = partial(option, "signing")
delivery = partial(option, "delivery")
results = partial(option, "results")
schedule = partial(option, "schedule")
crew = partial(option, "crew")


def selector(key: str, meaning: str, **more: Any) -> Option:
    """One of the settings that choose a broker by being there."""
    return broker(key, SELECTORS[key], meaning, field="", **more)


CLUSTER = (
    general(
        "name",
        queue_name(),
        "The site. Separates projects that share a broker, and salts every signature: all clusters and web "
        "processes of a site must have the same name.",
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
        "Other clusters of this site: for each, the settings in which it differs. `qcluster -n long` (or "
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
    general("testing", flag(), "Show what only tests and developers want to see."),
    general("label", text(), "The name of the app in the admin.", parity="Default in Django-Q: `Django Q`."),
    general(
        "log_level",
        log_level(),
        "The level of the logger `django_cluster` in `qcluster`, unless `LOGGING` configures that logger.",
        parity="The logger is `django_cluster`, not `django-q`; it gets a handler only in `qcluster`.",
    ),
)

BROKER = (
    broker(
        "broker",
        text(),
        "Which broker, if that is not clear from the settings below: a name in `brokers`, or a kind, because two are "
        f"there, or none. The kinds: {', '.join(KINDS)}. `memory` lives in one process: for tests.",
        field="",
        parity="New.",
    ),
    selector(
        "broker_url",
        "The broker in one line: `redis://…`, `rediss://…`, `unix://…`, `orm:default`, `amqp://…`, `mongodb://…`,"
        " `sqs://…`.",
        secret=True,
        parity="New.",
    ),
    selector(
        "orm",
        "Queue in this database of `DATABASES`.",
        default_words="`default`, if no broker is configured",
        parity="Default in Django-Q: Redis on this machine.",
    ),
    selector(
        "redis",
        "Redis: redis-py's keywords, or a URL; one server, Sentinels or a Cluster (see [](../how-to/redis.md)). The"
        " dict may hold a `url` and further keywords. `charset` and `errors` are understood as `encoding` and"
        " `encoding_errors`.",
        secret=True,
        more_variables=("Q_CLUSTER_REDIS_URL",),
        parity="What a dead cluster had taken is run by another. Django-Q's lists: see `qimport --redis`.",
    ),
    selector(
        "django_redis",
        "The Redis server of this cache of `CACHES`.",
        parity="Django's own Redis cache serves as well as django-redis.",
    ),
    selector(
        "broker_class",
        "Your own broker.",
        parity="A subclass of `django_cluster.brokers.base.Broker`: brokers written for Django-Q do not fit.",
    ),
    selector(
        "rabbitmq",
        "A RabbitMQ server: a URL, or a dict as [](../how-to/rabbitmq.md) lists it.",
        secret=True,
        parity="New.",
    ),
    selector(
        "mongo",
        "A MongoDB server: keywords of `MongoClient`, or a `mongodb://` URL (see [](../how-to/mongodb.md)).",
        secret=True,
        parity="The collection is another, so Django-Q's messages are not read.",
    ),
    broker(
        "mongo_db", text(), "The MongoDB database.", field="", default_words="the database of the URL, else `django-q`"
    ),
    selector(
        "sqs",
        "Amazon SQS; its keys are listed in [](../how-to/sqs.md). An empty dict leaves all to boto3.",
        secret=True,
        parity="The messages are others: let Django-Q empty its queue, or use another name.",
    ),
    selector(
        "iron_mq",
        "IronMQ; its keys are listed in [](../how-to/ironmq.md). An empty dict leaves all to Iron's environment"
        " variables.",
        secret=True,
        parity="The messages are others: let Django-Q empty its queue, or use another name.",
    ),
    selector(
        "disque_nodes",
        "Nodes of Disque, which is no longer developed (see [](../how-to/disque.md)). One of them is used, chosen at"
        " random, and another when it goes away. A text with commas is understood too.",
        secret=True,
        parity="Removed from Django-Q.",
    ),
    broker("disque_auth", text(), "The password of the nodes of Disque.", field="", secret=True),
    general(
        "brokers",
        mapping_of_mappings("a dict of names and dicts with the settings of one broker each"),
        "Brokers by name. A task chooses one with `broker='name'`, a cluster with the setting `broker`, or with "
        "`qcluster --broker name`. The one called `default`, if there is one, is the broker of the cluster, unless "
        "another is chosen.",
        default_words="none",
        secret=True,
        parity="New.",
    ),
    broker(
        "retry",
        seconds(),
        "The lease: how long a message is lent before others may have it. Leases are renewed while a task runs or"
        " waits inside the cluster, so this is how long a task stays away after its whole cluster has died.",
        field="lease",
        parity="Need not be longer than `timeout`, nor than the longest task.",
    ),
    broker(
        "bulk",
        whole(1),
        "The most messages to lease in one call.",
        parity="Django-Q: 1, and not on Redis. No more is leased than workers ask for, so large is harmless.",
    ),
    broker(
        "poll",
        seconds(),
        "Seconds between two looks at a queue that cannot wake us.",
        parity="An idle cluster waits longer and longer, up to a second, or is woken.",
    ),
    broker(
        "claim_check",
        flag_or_bytes(),
        "Keep payloads that are too large for the broker in the database, and give it a ticket for each (see"
        " [](../how-to/sqs.md)). A number of bytes keeps all that are larger. False refuses what the broker cannot"
        " take. Has no effect with `orm`.",
        parity="New.",
    ),
)

SIGNING = (
    signing(
        "serializer",
        choice("pickle", "json"),
        "How arguments and results are written. `json` forbids pickle altogether, reading included.",
        parity="New.",
    ),
    signing("compress", compression(), "Compress packages (zlib).", parity="Only packages over `compress_threshold`."),
    signing("compress_threshold", whole(0), "Bytes; smaller packages are never compressed.", parity="New."),
)

DELIVERY = (
    delivery(
        "ack_failures",
        flag(),
        "A failed run is final.",
        parity="Not for a run that died with its worker: that one is tried again.",
    ),
    delivery(
        "max_attempts",
        whole(0),
        "Runs in total, the first included; 0 = no limit.",
        parity="Counted when a message is lent, so a run that kills its worker counts.",
    ),
    delivery(
        "retry_delay",
        seconds(zero=True),
        "Seconds before a failed task runs again.",
        default_words="`retry`",
        parity="New.",
    ),
    delivery(
        "retry_backoff",
        number_or_path(1, 100),
        "The factor by which each further delay grows, or the path of a function: failed run (1, 2, …) → seconds.",
        parity="New. 1 is Django-Q's behaviour.",
    ),
    delivery("retry_max_delay", seconds(), "Seconds that no delay exceeds, unless the first is longer.", parity="New."),
    delivery(
        "retry_jitter",
        flag(),
        "Shorten each delay by a random part, so that tasks that failed together do not come back together.",
        parity="New.",
    ),
    delivery(
        "poison_limit", whole(0), "A task whose worker died under it so often is put aside; 0 = never.", parity="New."
    ),
)

RESULTS = (
    results(
        "save_limit",
        whole(),
        "Successes to keep: 0 = all, negative = none. Failures are always kept.",
        parity="Kept in bulk, now and then, so there may be more for some seconds.",
    ),
    results(
        "save_limit_per",
        choice(None, "group", "name", "func"),
        "Apply `save_limit` to each group, name or function.",
        parity="Another value is an error, not ignored.",
    ),
    results(
        "keep_days",
        keep_days(),
        "Days for which rows are kept: for all, or by kind, which is `success`, `failed` (all others) or a status such"
        " as `dead`; None = for ever. `save_limit` holds as well.",
        default_words="`None`: for ever",
        parity="New.",
    ),
    results(
        "cached",
        flag_or_seconds(),
        "Write results to the cache instead of the database: for ever (True), or for so many seconds.",
        parity="A failed task always leaves a row.",
    ),
    results(
        "cache", text(), "The cache of `CACHES` for such results.", parity="Not needed to see the state of clusters."
    ),
    results(
        "results_db",
        text(),
        "The database of `DATABASES` for tasks and schedules.",
        field="database",
        default_words="what the database router says",
        parity="New.",
    ),
)

SCHEDULE = (
    schedule(
        "scheduler",
        flag(),
        "Whether this cluster looks at schedules.",
        field="enabled",
        parity="Due tasks are sent within a second, by a process of their own.",
    ),
    schedule(
        "catch_up",
        catch_up(),
        "What becomes of the runs that were missed while no cluster ran: all are made up for (True), one for them all "
        "(False), or none. A schedule may say otherwise for itself.",
        default_words="`True`",
        parity="The words are new, and a schedule of the type cron catches up too.",
    ),
    schedule(
        "schedule_interval",
        seconds(),
        "Seconds between two looks at the schedules.",
        field="interval",
        parity="New. Django-Q looks every 30 seconds.",
    ),
    schedule(
        "time_zone",
        time_zone(),
        "The zone in which schedules are reckoned. Has no effect without `USE_TZ`.",
        default_words="`TIME_ZONE`",
        parity="An unknown zone is an error.",
    ),
)

CREW = (
    crew(
        "workers",
        whole_or_auto(),
        "Worker processes.",
        default_words="`'auto'`: the CPUs that this process may use",
        parity="Heeds CPU affinity and the limits of containers. 0 is refused; Django-Q took it as auto.",
    ),
    crew(
        "timeout",
        seconds(),
        "Seconds that a task may run; None = no limit. First an exception in the task, then the end of its "
        "worker; always recorded as a failure.",
        default_words="`None`",
        parity="A task that swallows the exception is killed, and recorded all the same.",
    ),
    crew("timeout_grace", seconds(zero=True), "Seconds between the two.", parity="New. Django-Q: 3."),
    crew(
        "shutdown_timeout",
        seconds(zero=True),
        "Seconds for which a stop waits for running tasks.",
        parity="New. Django-Q waits without limit.",
    ),
    crew(
        "recycle",
        whole(0),
        "Tasks after which a worker is replaced, roughly: workers do not leave all at once; 0 = never.",
        parity="Django-Q recycled after exactly so many.",
    ),
    crew(
        "max_rss",
        whole(1),
        "Kilobytes of resident memory above which a worker is replaced.",
        default_words="`None`: no limit",
        parity="Looks at the memory in use, not at its peak.",
    ),
    crew(
        "max_rss_kill",
        whole(1),
        "Kilobytes of resident memory above which a worker is killed in the middle of its task.",
        default_words="`None`: never",
        parity="New.",
    ),
    crew(
        "cpu_affinity",
        whole(0),
        "CPUs for each worker, dealt in turn; 0 = all.",
        parity="Holds for replaced workers too, and needs no psutil on Linux.",
    ),
    crew("daemonize_workers", flag(), "False allows tasks to start child processes.", field="daemonize"),
    crew(
        "guard_cycle",
        seconds(below=60),
        "The longest sleep of the guard. Deaths are noticed at once.",
        parity="May be long: neither deaths nor time limits wait for it.",
    ),
    crew(
        "queue_limit",
        whole(0),
        "Jobs to hold in memory beyond those that workers have asked for.",
        field="prefetch",
        parity="Django-Q: the square of `workers`.",
    ),
    crew(
        "start_method",
        choice("fork", "forkserver", "spawn"),
        "How processes are started.",
        default_words="`fork` on Linux, `spawn` elsewhere",
        parity="New. Django-Q always forks.",
    ),
    crew("boot_timeout", seconds(), "Seconds within which a new process must be ready.", parity="New."),
    crew(
        "heartbeat",
        seconds(zero=True),
        "Seconds between two signs of life: what a cluster writes of itself for `qmonitor`, `qinfo`, `qmemory` and "
        "the admin, and reads of what operators want. 0 = never; then it is not seen and cannot be told anything.",
        parity="New. Django-Q writes to the cache with each `guard_cycle`, for three seconds.",
    ),
    general(
        "error_reporter",
        reporters(),
        "Services that hear of failures: names of entry points or dotted paths, and their keyword arguments.",
        field="reporters",
        default_words="none",
        secret=True,
        parity="Reporters also hear of workers that died. Names without a plugin are logged, not ignored.",
    ),
)

OPTIONS: tuple[Option, ...] = (*CLUSTER, *BROKER, *SIGNING, *DELIVERY, *RESULTS, *SCHEDULE, *CREW)

BY_KEY = {name: each for each in OPTIONS for name in (each.key, *each.aliases)}
"""Every name that may stand in ``Q_CLUSTER``."""


def describe(settings: Settings) -> Sequence[tuple[Option, object]]:
    """Each option and what holds for it; safe to print. The broker stands under ``broker``, as kind and options."""
    rows: list[tuple[Option, object]] = []
    for each in OPTIONS:
        if each.key == "broker":
            rows.append((each, {settings.broker.kind: settings.broker.options}))
        elif each.field:
            rows.append((each, each.value_in(settings)))
    return rows
