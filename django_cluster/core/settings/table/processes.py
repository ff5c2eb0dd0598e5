"""The processes of a cluster."""

from __future__ import annotations

from functools import partial

from django_cluster.core.settings.definition import define
from django_cluster.core.settings.values import choice, flag, integer, integer_or_auto, reporters, seconds

general = partial(define, "")
processes = partial(define, "processes")

PROCESSES = (
    processes(
        "workers",
        integer_or_auto(),
        "Worker processes.",
        default_words="`'auto'`: the CPUs that this process may use",
        parity="Heeds CPU affinity and the limits of containers. 0 is refused; Django-Q took it as auto.",
    ),
    processes(
        "timeout",
        seconds(),
        "Seconds that a task may run; None = no limit. First an exception in the task, then the end of its "
        "worker; always recorded as a failure.",
        default_words="`None`",
        parity="A task that swallows the exception is killed, and recorded all the same.",
    ),
    processes("kill_grace", seconds(zero=True), "Seconds between the two.", parity="New. Django-Q: 3."),
    processes(
        "shutdown_timeout",
        seconds(zero=True),
        "Seconds for which a stop waits for running tasks. The whole of it takes at most four seconds more.",
        parity="New. Django-Q waits without limit.",
    ),
    processes(
        "recycle",
        integer(0),
        "Tasks after which a worker is replaced, roughly: workers do not leave all at once; 0 = never.",
        parity="Django-Q recycled after exactly so many.",
    ),
    processes(
        "max_rss",
        integer(1),
        "Kilobytes of resident memory above which a worker is replaced.",
        default_words="`None`: no limit",
        parity="Looks at the memory in use, not at its peak.",
    ),
    processes(
        "max_rss_kill",
        integer(1),
        "Kilobytes of resident memory above which a worker is killed in the middle of its task.",
        default_words="`None`: never",
        parity="New.",
    ),
    processes(
        "cpu_affinity",
        integer(0),
        "CPUs for each worker, dealt in turn; 0 = all.",
        parity="Holds for replaced workers too, and needs no psutil on Linux.",
    ),
    processes("daemonize_workers", flag(), "False allows tasks to start child processes.", field="daemonize"),
    processes(
        "guard_cycle",
        seconds(below=60),
        "The longest sleep of the guard. Deaths are noticed at once.",
        parity="May be long: neither deaths nor time limits wait for it.",
    ),
    processes(
        "queue_limit",
        integer(0),
        "The most tasks that one cluster holds in memory beyond those that run; 0 = as many as make about 20 ms of work"
        " for each worker.",
        field="prefetch",
        parity="Django-Q: the square of `workers`.",
    ),
    processes(
        "start_method",
        choice("fork", "forkserver", "spawn"),
        "How processes are started.",
        default_words="`fork` on Linux, `spawn` elsewhere",
        parity="New. Django-Q always forks.",
    ),
    processes("boot_timeout", seconds(), "Seconds within which a new process must be ready.", parity="New."),
    processes(
        "unresponsive_timeout",
        seconds(),
        "Seconds without a sign of life, while it runs no task, after which a process is taken to hang, killed and "
        "replaced. Not below the 15 seconds that a wait for a server may take.",
        default_words="twice `retry` and 5 seconds, at least 30",
        parity="New. Django-Q waits forever.",
    ),
    processes(
        "heartbeat_interval",
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
