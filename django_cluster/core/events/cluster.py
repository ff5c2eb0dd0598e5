"""A cluster as a whole: starting, stopping, signals of operators."""

from __future__ import annotations

from logging import CRITICAL, INFO, WARNING

from django_cluster.core.events.event import Event

CLUSTER_STARTING = Event(
    key="cluster_starting",
    level=INFO,
    message="Cluster %(namespace)s starting: queues %(queues)s, %(workers)d workers, sentinel pid %(sentinel_pid)d",
    fields=("namespace", "queues", "workers", "sentinel_pid", "cluster_id"),
    meaning="`qcluster` has begun to start the processes of the cluster.",
)
CLUSTER_START_FAILED = Event(
    key="cluster_start_failed",
    level=CRITICAL,
    message="Cluster %(namespace)s cannot start: %(error)s",
    fields=("namespace", "error"),
    meaning="`qcluster` has ended with exit code 1 before any process was started.",
    action="Remove the cause that the text names, and start the cluster again.",
)
CLUSTER_RUNNING = Event(
    key="cluster_running",
    level=INFO,
    message="Cluster %(namespace)s is running",
    fields=("namespace",),
    meaning="Every process of the cluster is ready.",
)
CLUSTER_STOPPING = Event(
    key="cluster_stopping",
    level=INFO,
    message="Cluster %(namespace)s stopping: waiting for running tasks",
    fields=("namespace",),
    meaning="A graceful stop has begun. The cluster starts no more tasks.",
)
CLUSTER_STOPPED = Event(
    key="cluster_stopped",
    level=INFO,
    message="Cluster %(namespace)s stopped",
    fields=("namespace",),
    meaning="Every process of the cluster has ended.",
)
STOP_FORCED = Event(
    key="stop_forced",
    level=WARNING,
    message="Stopping immediately: running tasks are interrupted and returned to the queue",
    meaning="A second stop signal, or QUIT, has ended the graceful stop.",
    action="Check that the service manager allows at least `shutdown_timeout` and 5 seconds before it kills.",
)
TERMINAL_CLOSED = Event(
    key="terminal_closed",
    level=WARNING,
    message="Stopping: terminal closed (SIGHUP); use nohup or a service manager to keep a cluster running",
    meaning="The cluster was started in a terminal, and the terminal was closed. The stop is graceful.",
    action="Run the cluster under a service manager.",
)
QUEUE_EMPTY = Event(
    key="queue_empty",
    level=INFO,
    message="Stopping: nothing is left to do (--until-empty)",
    meaning="A cluster with `--until-empty` has found no waiting and no running task.",
)
FILE_CHANGED = Event(
    key="file_changed",
    level=INFO,
    message="Restarting the cluster: %(path)s has changed",
    fields=("path",),
    meaning="A cluster with `--reload` is started anew with the code as it is now. Running tasks finish first.",
)
WAITING_FOR_CHANGE = Event(
    key="waiting_for_change",
    level=WARNING,
    message="The cluster could not run (exit code %(exit_code)d): waiting for a changed file",
    fields=("exit_code",),
    meaning="With `--reload`: the code or the settings have an error, which the lines above show.",
    action="Correct the error. The cluster is started again when the file is saved.",
)
RUNSERVER_ENDED = Event(
    key="runserver_ended",
    level=WARNING,
    message="The development server has ended (exit code %(exit_code)d): stopping the cluster, too",
    fields=("exit_code",),
    meaning="With `--with-runserver`, the server and the cluster end together.",
)
CRASH_LOOP = Event(
    key="crash_loop",
    level=CRITICAL,
    message="Stopping: %(process_name)s exited %(count)d times before it was ready; the records above say why",
    fields=("process_name", "count"),
    meaning="A process of the cluster cannot be started. The cluster ends with exit code 3.",
    action="Read the records before this one for the cause. Alert on this event.",
)
WORKERS_RESTARTING = Event(
    key="workers_restarting",
    level=INFO,
    message="Restarting all workers (SIGHUP); imported modules stay loaded, restart the cluster to deploy new code",
    meaning="An operator has sent HUP. Each worker is replaced after its current task.",
)
WORKER_RESTART_REQUESTED = Event(
    key="worker_restart_requested",
    level=INFO,
    message="Restarting %(process_name)s at operator request",
    fields=("process_name",),
    meaning="An operator has asked for a restart in the admin or in `qmonitor`. It follows the current task.",
)
WORKER_ADDED = Event(
    key="worker_added",
    level=INFO,
    message="Worker added (TTIN): now %(workers)d workers",
    fields=("workers",),
    meaning="An operator has sent TTIN.",
)
WORKER_REMOVED = Event(
    key="worker_removed",
    level=INFO,
    message="Worker removed (TTOU): now %(workers)d workers",
    fields=("workers",),
    meaning="An operator has sent TTOU. The worker ends after its current task.",
)
SIGNAL_IGNORED = Event(
    key="signal_ignored",
    level=WARNING,
    message="Ignoring %(signal)s: %(reason)s",
    fields=("signal", "reason"),
    meaning="The cluster cannot do what the signal asks for.",
)
RUNTIME_DIR_RESTORED = Event(
    key="runtime_dir_restored",
    level=WARNING,
    message="Runtime directory %(path)s restored: another program had removed it",
    fields=("path",),
    meaning="The directory with the sockets of the cluster was gone. Running tasks are not affected.",
    action="Exclude the directory from whatever cleans up temporary files.",
)
RUNTIME_DIR_LOST = Event(
    key="runtime_dir_lost",
    level=CRITICAL,
    message="Runtime directory %(path)s removed by another program and not restored: %(error)s",
    fields=("path", "error"),
    meaning="The cluster cannot replace processes that end. It tries again with each turn of the sentinel.",
    action="Make room, or correct the permissions of the parent directory. Alert on this event.",
)
BROKER_WARNING = Event(
    key="broker_warning",
    level=WARNING,
    message="%(warning)s",
    fields=("warning",),
    meaning="The server of the broker is configured in a way that may lose or repeat tasks.",
    action="Change the configuration of the server as the text says.",
)
UNKNOWN_QUEUE = Event(
    key="unknown_queue",
    level=WARNING,
    message="Sending to queue %(queue)r, which Q_CLUSTER does not name (name, ALT_CLUSTERS).%(suggestion)s"
    " Its tasks wait until a cluster is started with qcluster -n %(queue)s.",
    fields=("queue", "suggestion"),
    meaning="A task was sent to a queue that no configured cluster works on. Logged once in each sending process.",
    action="Correct the name, or add the queue to `ALT_CLUSTERS` and start a cluster for it.",
)
UNNAMED = "a caller without a name"
"""Who acted, where nothing says."""
OPERATOR_ACTED = Event(
    key="operator_acted",
    level=INFO,
    message="%(act)s %(target)s (by %(by)s)",
    fields=("act", "target", "by"),
    meaning="A person or a program has acted through the task service, or a command such as `qpause`.",
)


# The lines of Django-Q, for scripts that wait for them: logged beside the events above where the shim is installed.
Q_CLUSTER_STARTING = Event(
    key="q_cluster_starting",
    level=INFO,
    message="Q Cluster %(cluster_name)s starting.",
    fields=("cluster_name",),
    meaning="The line of Django-Q for `cluster_starting`. Only if `django_q` is replaced by this package.",
)
Q_CLUSTER_RUNNING = Event(
    key="q_cluster_running",
    level=INFO,
    message="Q Cluster %(cluster_name)s [%(queues)s] running.",
    fields=("cluster_name", "queues"),
    meaning="The line of Django-Q for `cluster_running`. Only if `django_q` is replaced by this package.",
)
Q_CLUSTER_STOPPING = Event(
    key="q_cluster_stopping",
    level=INFO,
    message="Q Cluster %(cluster_name)s stopping.",
    fields=("cluster_name",),
    meaning="The line of Django-Q for `cluster_stopping`. Only if `django_q` is replaced by this package.",
)
Q_CLUSTER_STOPPED = Event(
    key="q_cluster_stopped",
    level=INFO,
    message="Q Cluster %(cluster_name)s has stopped.",
    fields=("cluster_name",),
    meaning="The line of Django-Q for `cluster_stopped`. Only if `django_q` is replaced by this package.",
)
