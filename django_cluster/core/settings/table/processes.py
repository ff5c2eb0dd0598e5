"""The processes of a cluster."""

from __future__ import annotations

from functools import partial

from django_cluster.core.settings.definition import define
from django_cluster.core.settings.named_values import reporters
from django_cluster.core.settings.values import choice, flag, integer, integer_or_auto, seconds, text

general = partial(define, "")
processes = partial(define, "processes")

PROCESSES = (
    processes(
        "workers",
        integer_or_auto(),
        "Number of worker processes.",
        default_words="`'auto'`: the CPUs that this process may use",
        difference="`'auto'` respects CPU affinity and the limits of containers. 0 is refused; in Django-Q it means"
        " auto.",
    ),
    processes(
        "timeout",
        seconds(),
        "Seconds that a task may run; `None`: no limit. When the time is over, an exception is raised in the task, and"
        " `kill_grace` seconds later its worker is killed. Either is recorded as a failure with the status `timeout`.",
        default_words="`None`: no limit",
        difference="A task that swallows the exception is killed, and recorded all the same.",
    ),
    processes(
        "kill_grace",
        seconds(zero=True),
        "Seconds between the exception that announces the end of a time limit (`timeout`) and the kill of the worker.",
        new=True,
        django_q="3 seconds",
    ),
    processes(
        "shutdown_timeout",
        seconds(zero=True),
        "Seconds for which a stop waits for running tasks. The whole stop takes at most 4 seconds more.",
        new=True,
        django_q="a stop waits without limit",
    ),
    processes(
        "recycle",
        integer(0),
        "Number of tasks after which a worker is replaced; 0: never. The number varies a little from worker to"
        " worker, so that they are not all replaced at the same time.",
        difference="Django-Q replaces a worker after exactly this number.",
    ),
    processes(
        "async_concurrency",
        integer(1),
        "Number of `async def` tasks that each worker runs at the same time, on one event loop. A task without `async`"
        " occupies its worker alone, beside them.",
        new=True,
    ),
    processes(
        "loop_block_limit",
        seconds(),
        "Seconds for which an `async def` task may keep the event loop of its worker from running the other tasks,"
        " before it is logged with the place where it does so; `None`: it is not logged.",
        new=True,
    ),
    processes(
        "max_rss",
        integer(1),
        "Resident memory, in kilobytes, above which a worker is replaced between two tasks.",
        default_words="`None`: no limit",
        difference="The memory in use counts, not its peak.",
    ),
    processes(
        "max_rss_kill",
        integer(1),
        "Resident memory, in kilobytes, above which a worker is killed while it runs a task.",
        default_words="`None`: never",
        new=True,
    ),
    processes(
        "cpu_affinity",
        integer(0),
        "Number of CPUs to which each worker is bound, dealt in turn; 0: workers are not bound.",
        difference="Holds for replaced workers too, and needs no psutil on Linux.",
    ),
    processes(
        "daemonize_workers",
        flag(),
        "Whether workers are daemonic processes of `multiprocessing`. `False` allows tasks to start child processes.",
        field="daemonize",
    ),
    processes(
        "guard_cycle",
        seconds(below=60),
        "Maximum sleep of the sentinel, in seconds. The end of a process is noticed immediately, whatever the value.",
        difference="May be long: neither ends of processes nor time limits wait for it.",
    ),
    processes(
        "queue_limit",
        integer(0),
        "Maximum number of tasks that a cluster holds in memory beyond those that run; 0: about 20 ms of work for each"
        " worker.",
        field="prefetch",
        difference="The default in Django-Q is the square of `workers`.",
    ),
    processes(
        "start_method",
        choice("fork", "forkserver", "spawn"),
        "How `multiprocessing` starts the processes of the cluster.",
        default_words="`fork` on Linux, `spawn` elsewhere",
        new=True,
        django_q="always `fork`",
    ),
    processes(
        "boot_timeout",
        seconds(),
        "Seconds within which a new process must be ready. One that takes longer is killed and started again.",
        new=True,
    ),
    processes(
        "unresponsive_timeout",
        seconds(),
        "Seconds without progress, outside a task, after which a process is killed and replaced. Should be more than"
        " 15, the time for which a process may wait for a server.",
        default_words="twice `retry` and 5 seconds, at least 30",
        new=True,
        django_q="a process may hang forever",
    ),
    processes(
        "heartbeat_interval",
        seconds(zero=True),
        "Seconds between two heartbeats. With each, the cluster writes its state for `qmonitor`, `qinfo`, `qmemory` and"
        " the admin, and reads the commands of operators. 0: no heartbeats; the cluster is not shown and obeys no"
        " commands.",
        new=True,
        django_q="the state is written to the cache with each `guard_cycle`, for 3 seconds",
    ),
    processes(
        "post_mortem",
        flag(),
        "Whether a failed run is recorded with its last log lines, its queries, its processor time and memory, its host"
        " and versions, and its variables. Costs a successful task about a microsecond. Read [Failures that explain"
        " themselves](../how-to/post-mortem.md).",
        new=True,
    ),
    processes(
        "post_mortem_variables",
        flag(),
        "Whether the post-mortem of a failed run has the local variables of the project's own code. Credentials are"
        " masked, and so is what `@sensitive_variables` names. Has no effect without `post_mortem`.",
        new=True,
    ),
    processes(
        "revision",
        text(),
        "The revision of the project, such as a commit or a release, which the post-mortem of a failed run names.",
        default_words="what git has checked out where `qcluster` is started",
        new=True,
    ),
    general(
        "error_reporter",
        reporters(),
        "Error reporters: names of entry points or dotted paths, and the keyword arguments of each. They are told of"
        " each failed task.",
        field="reporters",
        default_words="none",
        secret=True,
        difference="Reporters are also told of workers that died. A name without a plugin is logged, not ignored.",
    ),
)
