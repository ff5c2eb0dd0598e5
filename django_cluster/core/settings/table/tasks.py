"""How tasks travel, what becomes of failures, which rows are kept, and when schedules are looked at."""

from __future__ import annotations

from functools import partial

from django_cluster.core.settings.definition import define
from django_cluster.core.settings.values import (
    catch_up,
    choice,
    compression,
    flag,
    flag_or_seconds,
    functions,
    integer,
    number_or_path,
    retention_days,
    seconds,
    text,
    time_zone,
)

signing = partial(define, "signing")
delivery = partial(define, "delivery")
results = partial(define, "results")
schedule = partial(define, "schedule")

SIGNING = (
    signing(
        "serializer",
        choice("pickle", "json"),
        "How arguments and results are written. `json` forbids pickle altogether, reading included.",
        parity="New.",
    ),
    signing(
        "functions",
        functions(),
        "Which functions may be sent and run, as tasks, hooks and schedules: any that can be imported (`any`), those"
        " that the code marks as tasks (`registered`), or a list of dotted paths with `*`, such as `orders.tasks.*`,"
        " in which `registered` may stand too. Asked before anything is imported; see"
        " [Security](../explanation/security.md).",
        default_words="`'any'`",
        parity="New.",
    ),
    signing(
        "max_message_age",
        seconds(),
        "Seconds after which a message is rejected instead of run, from its sending or from the moment for"
        " which it was delayed. Later attempts and snoozes count from the same moment.",
        default_words="`None`: no limit",
        parity="New.",
    ),
    signing(
        "compress",
        compression(),
        "Compress packages: by zlib (True), or by zstd, which is faster and packs closer; it needs Python 3.14, or"
        " `pip install 'django-cluster[zstd]'`. Packages of both kinds are read whatever stands here, as long as the"
        " library is there: install it everywhere first.",
        parity="Only packages over `compress_threshold`.",
    ),
    signing("compress_threshold", integer(0), "Bytes; smaller packages are never compressed.", parity="New."),
    signing(
        "max_payload_size",
        integer(1),
        "Bytes of the largest task, its arguments and options, before it is compressed. A larger one is refused when"
        " it is sent, and rejected where it arrives.",
        parity="New.",
    ),
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
        integer(0),
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
        "max_worker_deaths",
        integer(0),
        "A task whose worker died under it so often is put aside; 0 = never.",
        parity="New.",
    ),
)

RESULTS = (
    results(
        "save_limit",
        integer(),
        "Successes to keep: 0 = all, negative = none. Failures are always kept, unless `save_limit_failures` says"
        " otherwise.",
        parity="Kept in bulk, now and then, so there may be more for some seconds.",
    ),
    results(
        "save_limit_failures",
        integer(0),
        "Failed tasks to keep, the newest ones; 0 = all. Tasks that will be tried again do not count, and stay.",
        parity="New. Django-Q keeps every failure.",
    ),
    results(
        "save_limit_per",
        choice(None, "group", "name", "func"),
        "Apply `save_limit` and `save_limit_failures` to each group, name or function.",
        parity="Another value is an error, not ignored.",
    ),
    results(
        "retention_days",
        retention_days(),
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
    results(
        "max_result_size",
        integer(1),
        "Bytes of the largest result of a task, as it is kept. A task that returns more fails, and is not tried again.",
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
        "max_catch_up",
        integer(1),
        "How many missed runs of one schedule are made up for at most, where `catch_up` says that all are: the newest. "
        "What is left out is logged once. None = all.",
        default_words="`None`: all",
        parity="New.",
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
