"""Processes of a cluster: their ends, their restarts, what they share."""

from __future__ import annotations

from logging import DEBUG, ERROR, INFO, WARNING

from django_cluster.core.events.event import Event

PROCESS = ("process_name", "pid")

PROCESS_EXITED = Event(
    key="process_exited",
    level=DEBUG,
    message="%(process_name)s (pid %(pid)d) exited",
    fields=PROCESS,
    meaning="A process ended because it was told to.",
)
WORKER_KILLED = Event(
    key="worker_killed",
    level=WARNING,
    message="%(process_name)s (pid %(pid)d) killed: %(reason)s",
    fields=(*PROCESS, "reason"),
    meaning="The sentinel killed a worker, or the notifier, whose task or hook exceeded its time limit or the memory of"
    " `max_rss_kill`. The task is recorded as a timeout or as lost, and the process is replaced.",
    action="Look at the task: it ignores the exception with which its time limit is announced, or uses too much"
    " memory.",
)
WORKER_LOST = Event(
    key="worker_lost",
    level=ERROR,
    message="%(process_name)s (pid %(pid)d) lost: %(reason)s",
    fields=(*PROCESS, "reason", "exit_code"),
    meaning="A worker or the notifier ended without being told to: a crash, the kernel's out-of-memory killer, or"
    " another program. Its task is recorded as lost and runs again, unless it has no attempts left.",
    action="Alert on this event. Look for crashes of C extensions, and for out-of-memory kills in the log of the"
    " kernel.",
)
LOOP_BLOCKED = Event(
    key="loop_blocked",
    level=WARNING,
    message="Event loop of %(process_name)s (pid %(pid)d) blocked for %(seconds).1f s by task %(task_name)s"
    " [%(function)s]: %(stack)s",
    fields=(*PROCESS, "seconds", "task_id", "task_name", "function", "stack"),
    meaning="An `async def` task has kept the event loop of its worker for longer than `loop_block_limit`. No other"
    " coroutine of this worker runs meanwhile, and no time limit of one can end it.",
    action="Let the task await, or give blocking calls to `sync_to_async` or a function without `async`.",
)
PROCESS_LOST = Event(
    key="process_lost",
    level=ERROR,
    message="%(process_name)s (pid %(pid)d) lost: %(reason)s",
    fields=(*PROCESS, "reason", "exit_code"),
    meaning="The pusher, the monitor or the scheduler ended without being told to. It is replaced, and nothing is"
    " lost.",
    action="Alert on this event. Read the records before it for a traceback.",
)
PROCESS_UNRESPONSIVE = Event(
    key="process_unresponsive",
    level=ERROR,
    message="%(process_name)s (pid %(pid)d) killed: unresponsive for %(seconds).0f s outside a task",
    fields=(*PROCESS, "seconds"),
    meaning="The process made no progress for `unresponsive_timeout`, was killed, and is replaced.",
    action="Alert on this event. Look for servers that accept connections and do not answer.",
)
PROCESS_NOT_READY = Event(
    key="process_not_ready",
    level=ERROR,
    message="%(process_name)s (pid %(pid)d) killed: not ready within boot_timeout",
    fields=PROCESS,
    meaning="The process took longer to start than `boot_timeout`, and is started again.",
    action="Look for slow imports, or for servers that do not answer. Increase `boot_timeout` if a start takes that"
    " long.",
)
PROCESS_ENDED_WITH_CLUSTER = Event(
    key="process_ended_with_cluster",
    level=INFO,
    message="%(process_name)s (pid %(pid)d) killed: the cluster ends",
    fields=PROCESS,
    meaning="The process was still there when the time of a stop was over.",
)
TASK_INTERRUPTED = Event(
    key="task_interrupted",
    level=WARNING,
    message="%(process_name)s killed: its task did not finish within shutdown_timeout; the task returns to the queue",
    fields=("process_name",),
    meaning="A stop has interrupted a task. The task keeps its attempt and runs again. The exit code is 4.",
    action="Increase `shutdown_timeout`, or make the task shorter.",
)
RESULTS_UNRECORDED = Event(
    key="results_unrecorded",
    level=WARNING,
    message="%(process_name)s killed: its last results were not recorded in time; those tasks run again",
    fields=("process_name",),
    meaning="The database or the broker was unavailable during a stop. The exit code is 4.",
    action="Check that the tasks of the project may run twice.",
)
WORKER_RECYCLED = Event(
    key="worker_recycled",
    level=INFO,
    message="%(process_name)s restarting: %(kilobytes)d kB of memory (max_rss is %(limit_kilobytes)d)",
    fields=("process_name", "kilobytes", "limit_kilobytes"),
    meaning="The memory of the worker exceeds `max_rss`. It is replaced between two tasks.",
)
WORKER_EXHAUSTED = Event(
    key="worker_exhausted",
    level=WARNING,
    message="%(process_name)s (pid %(pid)d) restarting: a task has used up its %(reason)s",
    fields=(*PROCESS, "reason"),
    meaning="A task left files open or threads running, so that the next task could fail.",
    action="Look for the task that leaks.",
)
WORKER_DESCRIPTORS_REPLACED = Event(
    key="worker_descriptors_replaced",
    level=ERROR,
    message="%(process_name)s (pid %(pid)d) restarting: a task has replaced its file descriptors",
    fields=PROCESS,
    meaning="A task closed file descriptors that are not its own. The worker reports its outcome over a new"
    " connection.",
    action="Look for a task, or a library, that closes all descriptors, as code that becomes a daemon does.",
)
CPUS_NOT_BOUND = Event(
    key="cpus_not_bound",
    level=INFO,
    message="%(process_name)s not bound to CPUs %(cpus)s: testing is set",
    fields=("process_name", "cpus"),
    meaning="`cpu_affinity` has no effect while `testing` is set.",
)
CONNECTION_REJECTED = Event(
    key="connection_rejected",
    level=WARNING,
    message="Rejected connection: wrong cluster key",
    meaning="A process that does not belong to the cluster has connected to one of its sockets.",
    action="Find the program of the same user that does that.",
)
WARM_UP_FAILED = Event(
    key="warm_up_failed",
    level=DEBUG,
    message="Warm-up before the first fork failed; each process repeats what it would have shared",
    meaning="The start takes longer and uses more memory. Nothing else is affected.",
)
DATABASE_POOL_CLOSED = Event(
    key="database_pool_closed",
    level=DEBUG,
    message="Connection pool of database %(database)r closed before the fork",
    fields=("database",),
    meaning="The sentinel keeps no connections.",
)
NOTIFICATIONS_DROPPED = Event(
    key="notifications_dropped",
    level=ERROR,
    message="Hooks and receivers of %(count)d tasks dropped: %(reason)s",
    fields=("count", "reason"),
    meaning="The notifier could not keep up, or the cluster stopped. The tasks are recorded; their hooks, receivers of"
    " `post_execute` and error reports are not called.",
    action="Alert on this event. Make hooks faster, or let them send a task.",
)
ACKNOWLEDGEMENTS_LEFT = Event(
    key="acknowledgements_left",
    level=WARNING,
    message="Not acknowledged before the stop: %(count)d messages whose connection was lost; their tasks may run again",
    fields=("count",),
    meaning="The broker was unavailable when the cluster stopped.",
    action="Check that the tasks of the project may run twice.",
)
