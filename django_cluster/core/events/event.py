"""One kind of log record: its key, its level, its text and its fields."""

from __future__ import annotations

import logging
from dataclasses import dataclass

LOGGER = logging.getLogger("django_cluster")
TASK_LOGGER = logging.getLogger("django_cluster.tasks")
"""The logger of the ends of tasks, which a project may send elsewhere."""

FIELDS = {
    "act": "What was done: the name of a method of the task service.",
    "attempt": "Which run of the task this was; the first is 1.",
    "cluster_id": "The id of this run of the cluster, as `qinfo --ids` prints it.",
    "cluster_name": "Four words for the id of this run of the cluster.",
    "by": "The name of who did it; empty if it was not given.",
    "correlation_id": "What all tasks have in common that one request has caused.",
    "count": "How many items the record is about.",
    "cpus": "The numbers of the CPUs.",
    "database": "The alias of the database in `DATABASES`.",
    "error": "The text of the error.",
    "exit_code": "The exit code of the process; negative: the number of the signal that killed it.",
    "final": "Whether this was the last attempt. `False`: the task will run again.",
    "first_missed": "The first missed run.",
    "function": "The dotted path of the function.",
    "held": "How many leases the cluster held.",
    "hook": "The dotted path of the hook.",
    "kilobytes": "Resident memory, in kB.",
    "limit_kilobytes": "The limit of the setting, in kB.",
    "limit_seconds": "The limit that was exceeded, in seconds.",
    "member": "The key of the member of the group.",
    "module_path": "The dotted path of the module.",
    "namespace": "The setting `name`.",
    "path": "The path of the file or directory.",
    "pid": "The process id.",
    "process_name": "Which process of the cluster, such as `worker 3` or `pusher`.",
    "queue": "The name of the queue.",
    "queues": "The names of the queues of the cluster, with commas.",
    "reason": "Why, in words.",
    "receiver": "The receiver of the signal.",
    "reporter": "The name of the error reporter.",
    "running": "How many of them belong to tasks that are running.",
    "schedule": "The name of the schedule.",
    "schedule_id": "The primary key of the schedule.",
    "seconds": "A duration, in seconds.",
    "sentinel_pid": "The process id of the sentinel.",
    "server": "What is unavailable, in words.",
    "signal": "The name of the signal of the operating system.",
    "stack": "Where the code is, the innermost function first.",
    "suggestion": "The known name that was probably meant, in words; empty if there is none.",
    "target": "What it was done to: a task id, a queue or a function.",
    "task_id": "The id of the task.",
    "task_name": "The name of the task.",
    "upcoming_run": "The first run that was not skipped.",
    "value": "The value.",
    "verb": "How the run ended, in words.",
    "outlook": "What follows, in words; empty if nothing does.",
    "waiting": "How many of them belong to messages of which no run has begun.",
    "warning": "What is wrong, in a sentence.",
    "workers": "The number of worker processes.",
}
"""Every field of a log record of this package → what it holds. A field has the same meaning in every event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of log record.

    A record carries ``event`` (the key) and each of the fields as attributes, as ``logging`` does with ``extra``, and
    the fields are the arguments of its text.
    """

    key: str
    """A stable name in snake_case. Alerts depend on it: it is never changed, and never used for anything else."""
    level: int
    """A level of ``logging``."""
    message: str
    """The text, with placeholders such as ``%(pid)d``."""
    fields: tuple[str, ...] = ()
    """Names of ``FIELDS``: all that the text shows, and perhaps more."""
    meaning: str
    """What has happened."""
    action: str = "None."
    """What an operator should do about it."""
    logger: logging.Logger = LOGGER

    @property
    def enabled(self) -> bool:
        """Whether a record of this kind would be logged: ask before calculating fields that cost something."""
        return self.logger.isEnabledFor(self.level)

    def log(self, *, exc_info: BaseException | bool | None = None, **fields: object) -> None:
        """Log one record with exactly the fields of this event. ``exc_info``: as for ``logging``."""
        if self.logger.isEnabledFor(self.level):
            arguments = (fields,) if fields else ()  # an empty mapping would be taken for one argument
            extra = {"event": self.key, **fields}
            self.logger.log(self.level, self.message, *arguments, exc_info=exc_info, stacklevel=2, extra=extra)
