"""How tasks are packed, what follows failures, which results are kept, and when schedules run."""

from __future__ import annotations

from functools import partial

from django_cluster.core.settings.definition import define
from django_cluster.core.settings.named_values import (
    catch_up,
    class_paths,
    compression,
    days_or_none,
    functions,
    retention_days,
    time_zone,
)
from django_cluster.core.settings.values import (
    choice,
    flag,
    flag_or_seconds,
    integer,
    number,
    number_or_path,
    seconds,
    text,
)

signing = partial(define, "signing")
delivery = partial(define, "delivery")
results = partial(define, "results")
schedule = partial(define, "schedule")

SIGNING = (
    signing(
        "serializer",
        choice("pickle", "json"),
        "How arguments and results are serialized. `json` forbids pickle altogether, for reading too.",
        new=True,
    ),
    signing(
        "functions",
        functions(),
        "Which functions may be sent and run, as tasks, hooks and schedules: all that can be imported (`any`), those"
        " that the code marks as tasks (`registered`), or a list of dotted paths with `*`, such as `orders.tasks.*`,"
        " in which `registered` may also be an element. Checked before anything is imported; see"
        " [Security](../explanation/security.md).",
        default_words="`'any'`",
        new=True,
    ),
    signing(
        "middleware",
        class_paths(),
        "Dotted paths of classes that are called around the sending and the running of every task, subclasses of"
        " `TaskMiddleware`; the first is the outermost. Read [Middleware](../how-to/middleware.md).",
        default_words="`[]`: none",
        new=True,
    ),
    signing(
        "max_message_age",
        seconds(),
        "Seconds after which a message is rejected instead of run. They are counted from the time of sending, or from"
        " the time to which the task was delayed, also for later attempts.",
        default_words="`None`: no limit",
        new=True,
    ),
    signing(
        "compress",
        compression(),
        "Compress packages: `True` by zlib, `'zstd'` by zstd, which is faster and compresses better, and needs Python"
        " 3.14 or `pip install 'django-cluster[zstd]'`. Both are always read, provided that the library is installed:"
        " install it everywhere before it is used.",
        difference="Only packages of more than `compress_threshold` bytes are compressed.",
    ),
    signing(
        "compress_threshold",
        integer(0),
        "Size of a package, in bytes, up to which it is not compressed. Has no effect without `compress`.",
        new=True,
    ),
    signing(
        "max_payload_size",
        integer(1),
        "Maximum size of a task with its arguments and options, in bytes, before it is compressed. A larger task is"
        " refused when it is sent, and rejected where it arrives.",
        new=True,
    ),
)

DELIVERY = (
    delivery(
        "ack_failures",
        flag(),
        "Whether a failed task is acknowledged and never retried.",
        difference="Does not hold for a task whose worker died: that one is retried.",
    ),
    delivery(
        "max_attempts",
        integer(0),
        "Maximum number of runs of a task, the first included; 0: no limit.",
        difference="Runs are counted when a message is leased, so that a run that kills its worker counts.",
    ),
    delivery(
        "retry_delay",
        seconds(zero=True),
        "Seconds before the first retry of a failed task.",
        default_words="the value of `retry`",
        new=True,
    ),
    delivery(
        "retry_backoff",
        number_or_path(1, 100),
        "Factor by which the delay grows with each further retry of a failed task; or the dotted path of a function"
        " that is called with the number of the failed attempt (1, 2, …) and returns the delay in seconds.",
        new=True,
        django_q="the delay is always the same, as with 1",
    ),
    delivery(
        "retry_max_delay",
        seconds(),
        "Maximum delay of a retry, in seconds, unless `retry_delay` is longer.",
        new=True,
    ),
    delivery(
        "retry_jitter",
        flag(),
        "Whether the delay of each retry is shortened by a random part of up to a quarter, so that tasks that failed"
        " together do not return together.",
        new=True,
    ),
    delivery(
        "max_worker_deaths",
        integer(0),
        "Number of workers that may die while they run a task; then the task gets the status `dead` and is not run"
        " again. 0: no limit.",
        new=True,
    ),
)

RESULTS = (
    results(
        "save_limit",
        integer(),
        "Number of successful tasks to keep; 0: all, a negative number: none. Failures are always kept, unless"
        " `save_limit_failures` limits them.",
        difference="Applied in bulk every few seconds, so that for a moment more rows may exist.",
    ),
    results(
        "save_limit_failures",
        integer(0),
        "Number of failed tasks to keep, the newest ones; 0: all. Tasks that will be retried do not count, and are"
        " kept.",
        new=True,
        django_q="every failure is kept",
    ),
    results(
        "save_limit_per",
        choice(None, "group", "name", "func"),
        "Apply `save_limit` and `save_limit_failures` to each group, name or function instead of to all tasks.",
        difference="Another value is an error, not ignored.",
    ),
    results(
        "retention_days",
        retention_days(),
        "Days for which rows of finished tasks are kept: one number for all, or a dict by kind. A kind is `success`,"
        " `failed` (all that the dict does not name) or a status such as `dead`; `None` keeps rows forever."
        " `save_limit` holds as well.",
        default_words="`None`: forever",
        new=True,
    ),
    results(
        "tracked_retention_days",
        days_or_none(),
        "Days for which the row of a tracked task is kept after its end, such as that of a task of Django's Tasks"
        " framework; `None`: forever. No other limit deletes these rows.",
        new=True,
    ),
    results(
        "cached",
        flag_or_seconds(),
        "Write results to the cache instead of the database: `True` without expiry, or a number of seconds.",
        difference="A failed task always leaves a row.",
    ),
    results(
        "cache",
        text(),
        "The cache of `CACHES` for results that are written to a cache (`cached`).",
        difference="Not needed to see the state of clusters.",
    ),
    results(
        "results_db",
        text(),
        "The database of `DATABASES` for results and schedules.",
        field="database",
        default_words="what the database router says",
        new=True,
    ),
    results(
        "max_result_size",
        integer(1),
        "Maximum size of the result of a task, in bytes, as it is stored. A task that returns more fails, and is not"
        " retried.",
        new=True,
    ),
    results(
        "history",
        flag(),
        "Whether clusters count, minute by minute and for each queue and function, how tasks end and how long they wait"
        " and run: what the overview of the admin shows. The counts are kept in the database of the results, also of"
        " tasks that leave no row.",
        new=True,
    ),
    results(
        "history_days",
        number(1, 36_500),
        "Days for which these counts are kept. Minutes become hours after two hours, and days after 28 days.",
        new=True,
    ),
)

SCHEDULE = (
    schedule(
        "scheduler",
        flag(),
        "Whether this cluster runs schedules.",
        field="enabled",
        difference="Due tasks are sent within a second, by a process of their own.",
    ),
    schedule(
        "catch_up",
        catch_up(),
        "What happens to runs that a schedule missed while no cluster ran: all are made up for (`True`), one run"
        " stands for all (`False`), or they are skipped (`'skip'`). A schedule may have its own value.",
        default_words="`True`",
        difference="The words are new, and a schedule of the type cron catches up too.",
    ),
    schedule(
        "max_catch_up",
        integer(1),
        "Maximum number of missed runs of one schedule that are made up for, the newest ones, where `catch_up` makes"
        " up for all. What is skipped is logged. `None`: no limit.",
        default_words="`None`: no limit",
        new=True,
    ),
    schedule(
        "schedule_interval",
        seconds(),
        "Seconds between two queries for due schedules.",
        field="interval",
        new=True,
        django_q="every 30 seconds",
    ),
    schedule(
        "time_zone",
        time_zone(),
        "The time zone in which the times of schedules are calculated. Has no effect without `USE_TZ`.",
        default_words="`TIME_ZONE`",
        difference="An unknown zone is an error.",
    ),
)
