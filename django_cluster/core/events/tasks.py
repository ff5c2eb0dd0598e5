"""Tasks: how they ended, and what follows them: hooks, receivers, reports, chains and groups."""

from __future__ import annotations

from logging import DEBUG, ERROR, INFO, WARNING

from django_cluster.core.events.event import TASK_LOGGER, Event

TASK = ("task_id", "task_name", "function", "attempt", "correlation_id")
FAILED_TEXT = "Task %(task_name)s [%(function)s] %(verb)s in attempt %(attempt)d: %(error)s%(outlook)s"
FAILED_FIELDS = (*TASK, "verb", "error", "final", "outlook")

TASK_SUCCEEDED = Event(
    key="task_succeeded",
    level=DEBUG,
    message="Task %(task_name)s [%(function)s] succeeded in attempt %(attempt)d after %(seconds).3f s",
    fields=(*TASK, "seconds"),
    meaning="A task has returned. Shown with `qcluster -v 2` or higher.",
    logger=TASK_LOGGER,
)
TASK_FAILED = Event(
    key="task_failed",
    level=ERROR,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="A task has raised an exception.",
    action="Alert on a rate, or where `final` is true. The row in the admin has the traceback.",
    logger=TASK_LOGGER,
)
TIMEOUT = Event(
    key="timeout",
    level=ERROR,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="A task has exceeded its time limit, and was ended by an exception or with its worker.",
    action="Alert on this event. Increase `timeout` for this task, or make it shorter.",
    logger=TASK_LOGGER,
)
RUN_INTERRUPTED = Event(
    key="run_interrupted",
    level=WARNING,
    message="Task %(task_name)s [%(function)s] interrupted: its worker was killed for another task; it runs again",
    fields=TASK,
    meaning="The task ran concurrently with one that had to be killed with its worker (time limit, or cancelled). It"
    " is given to another worker at once, and the interrupted run uses no attempt.",
    action="Look at the task that was killed: it ignores the exception with which its end is announced.",
    logger=TASK_LOGGER,
)
TASK_LOST = Event(
    key="task_lost",
    level=ERROR,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="The worker died while it ran the task. See `worker_lost` and `worker_killed`.",
    action="Alert on this event. The row in the admin says what is known of the death.",
    logger=TASK_LOGGER,
)
TASK_REJECTED = Event(
    key="task_rejected",
    level=ERROR,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="The task can never run: its function is unknown or not allowed, its message is too old or undecodable.",
    action="Alert on this event. Correct the cause, and retry the task in the admin.",
    logger=TASK_LOGGER,
)
TASK_DEAD = Event(
    key="task_dead",
    level=ERROR,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="Workers died while they ran this task, `max_worker_deaths` times. It is not run again.",
    action="Alert on this event. Correct the task, and retry it in the admin.",
    logger=TASK_LOGGER,
)
TASK_DISCARDED = Event(
    key="task_discarded",
    level=ERROR,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="The task has raised `Discard`.",
    logger=TASK_LOGGER,
)
TASK_CANCELLED = Event(
    key="task_cancelled",
    level=WARNING,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="The task was cancelled, before it began or while it ran. It is not run again.",
    logger=TASK_LOGGER,
)
TASK_CANCEL_REQUESTED = Event(
    key="task_cancel_requested",
    level=INFO,
    message="Cancelling task %(task_name)s, which runs here (by %(by)s)",
    fields=("task_id", "task_name", "by"),
    meaning="A running task was cancelled. `TaskCancelled` is raised in it; `kill_grace` seconds later its worker is"
    " killed.",
)
CANCEL_TOO_LATE = Event(
    key="cancel_too_late",
    level=INFO,
    message="Task %(task_name)s was to be cancelled, and has ended before: %(reason)s",
    fields=("task_id", "task_name", "reason"),
    meaning="A request to cancel a task came too late, or the task did not heed it and has ended by itself.",
)
TASK_EXPIRED = Event(
    key="task_expired",
    level=WARNING,
    message=FAILED_TEXT,
    fields=FAILED_FIELDS,
    meaning="No worker was free for the task by the moment that its option `expires` names. It was not run.",
    action="Watch how often it happens: more workers, or a longer time to expire.",
    logger=TASK_LOGGER,
)
SIGNAL_RECEIVER_FAILED = Event(
    key="signal_receiver_failed",
    level=ERROR,
    message="Signal receiver %(receiver)s failed: %(error)s",
    fields=("receiver", "error"),
    meaning="A receiver of a signal of this package has raised an exception. The task is not affected.",
    action="Correct the receiver; the record has its traceback.",
)
RECEIVER_INTERRUPTED = Event(
    key="receiver_interrupted",
    level=ERROR,
    message="Receivers of post_execute for task %(task_name)s interrupted: %(error)s",
    fields=("task_id", "task_name", "correlation_id", "error"),
    meaning="A receiver has exceeded its time limit of 30 seconds, or has tried to end the process.",
    action="Correct the receiver; the record has its traceback.",
)
HOOK_FAILED = Event(
    key="hook_failed",
    level=ERROR,
    message="Hook %(hook)s of task %(task_name)s failed: %(error)s",
    fields=("hook", "task_id", "task_name", "correlation_id", "error"),
    meaning="A hook has raised an exception, cannot be imported, or has exceeded its time limit of 30 seconds.",
    action="Correct the hook; hooks are not repeated.",
)
ERROR_REPORTER_UNUSABLE = Event(
    key="error_reporter_unusable",
    level=ERROR,
    message="Error reporter %(reporter)r cannot be used; its reports are missing: %(error)s",
    fields=("reporter", "error"),
    meaning="A reporter of the setting `error_reporter` cannot be loaded.",
    action="Alert on this event. Correct `error_reporter`, or install the package that the text names.",
)
ERROR_REPORTER_FAILED = Event(
    key="error_reporter_failed",
    level=ERROR,
    message="Error reporter %(reporter)r failed: %(error)s",
    fields=("reporter", "error"),
    meaning="A report was not sent.",
    action="Check the service; the record has the traceback.",
)
RETRY_DELAY_UNUSABLE = Event(
    key="retry_delay_unusable",
    level=ERROR,
    message="retry_backoff: %(function)s gave no delay for attempt %(attempt)d: %(error)s",
    fields=("function", "attempt", "error"),
    meaning="The function of the setting `retry_backoff` failed. `retry_delay` holds instead.",
    action="Correct the function.",
)
CONTINUATION_FAILED = Event(
    key="continuation_failed",
    level=ERROR,
    message="Next step of member %(member)s cannot be sent: %(error)s",
    fields=("member", "error"),
    meaning="What follows a task of a chain or a group was refused. A row says so (status `rejected`).",
    action="Alert on this event. Remove the cause, and retry the row in the admin.",
)
CHAIN_BROKEN = Event(
    key="chain_broken",
    level=ERROR,
    message="Chain of task %(task_name)s ends here: %(count)d tasks after it do not run",
    fields=("task_id", "task_name", "count"),
    meaning="A link of a chain has failed for good.",
    action="Correct and retry the failed link: the chain then goes on.",
)
GROUP_RESULT_UNUSABLE = Event(
    key="group_result_unusable",
    level=ERROR,
    message="Result of task %(task_id)s cannot be collected: %(error)s",
    fields=("task_id", "error"),
    meaning="The database refuses the result of a member of a group. The member counts as failed.",
)
RECORD_TRUNCATED = Event(
    key="record_truncated",
    level=ERROR,
    message="Row of task %(task_id)s truncated: the database refused it: %(error)s",
    fields=("task_id", "error"),
    meaning="The row of a task is kept without the values that the database refuses.",
)
RECORD_LOST = Event(
    key="record_lost",
    level=ERROR,
    message="Row of task %(task_id)s not recorded: the database refuses it: %(error)s",
    fields=("task_id", "error"),
    meaning="The database refuses even a truncated row. The message is acknowledged all the same.",
    action="Alert on this event. Check the tables of the result store (`manage.py migrate`).",
)
TRACKING_FAILED = Event(
    key="tracking_failed",
    level=ERROR,
    message="Row of tracked task %(task_name)s not written: %(error)s",
    fields=("task_id", "task_name", "error"),
    meaning="The worker could not write how a tracked task ended. The monitor writes it when it records the task.",
    action="Check the database of the results.",
)
TRACKED_NOT_SENT = Event(
    key="tracked_not_sent",
    level=ERROR,
    message="Message of tracked task %(task_name)s not sent: %(error)s",
    fields=("task_id", "task_name", "error"),
    meaning="The transaction of the caller is committed, and the broker did not take the message of the task. The"
    " scheduler of a cluster sends it again.",
    action="Check the broker.",
)
TRACKED_SENT_AGAIN = Event(
    key="tracked_sent_again",
    level=WARNING,
    message="Sent %(count)d messages of tracked tasks that had not reached the broker",
    fields=("count",),
    meaning="A process has died, or the broker was unavailable, between the commit of a row and the sending of its"
    " message. The scheduler has sent it.",
)
