"""The machine words of the scoreboard: where each is in its row, and which process writes it."""

from __future__ import annotations

WORD_BYTES = 8
WORDS_PER_ROW = 32

# The words of a row. Writers: the process itself up to DEADLINE and from LAST_ALIVE on; the sentinel from INCARNATION
# to PEAK_RSS, and ROLE_CODE; the pusher REVOKED; the monitor RESTART_REQUEST, CANCEL_JOB and
# CANCELLED_AT.
PID, STATE, RUNNING, BEGUN, DONE, RSS = range(6)
STARTED, DEADLINE = 6, 7  # read and written as floats: time.monotonic()
INCARNATION, COMMAND, CAUSE, EXIT_CODE, PEAK_RSS = 8, 9, 10, 11, 12
REVOKED = 13
ROLE_CODE = 14
"""See ``Incarnation.role_code``."""
RESTART_REQUEST = 15
"""The number of an incarnation that is to be replaced when it has finished its task."""
LAST_ALIVE = 16  # a float: time.monotonic()
"""When the process last reported progress; in the future while it does something that may take long."""
IDLE_SINCE = 17  # a float: time.monotonic()
"""With ``--until-empty``: since when this process has had nothing to do; 0 = it may have something. Written by the
pusher (nothing is leased, and nothing is ready), the monitor (nothing is to be recorded or called) and the scheduler
(everything that was due has been sent)."""
APPLIED_PAUSES = 18
"""The PAUSED_QUEUES that a pusher applies. Written by the pusher."""
IN_FLIGHT = 19
"""How many messages a pusher has leased that are not recorded. Written by the pusher."""
PROGRESS_JOB = 20
"""The number of the job that has said last how far it is. Written by a worker, as the next two."""
PROGRESS_DONE, PROGRESS_TOTAL = 21, 22  # floats; a total of 0 = not known
CANCEL_JOB = 23
"""The number of the job that is to be cancelled, if it runs. Written by the monitor, after CANCELLED_AT."""
CANCELLED_AT = 24  # a float: time.monotonic()
"""When that was requested."""
JOB_SLOTS = 25
"""How many slots the table of concurrent jobs of a worker has (``running_jobs``); 0 = there is none. Written by the
worker, as the next words."""
CONCURRENT = 26
"""How many jobs run concurrently, beside the one that RUNNING names."""
CONCURRENT_DEADLINE = 27  # a float: time.monotonic(); the earliest of theirs, 0 = none has one
BLOCKER = 28
"""The number of the job that keeps the event loop of the worker from running the others; 0 = none does."""
STEP_JOB = 30
"""The number of the job whose code the event loop executes at this moment; 0 = none. Written before STEP_SINCE."""
STEP_SINCE = 31  # a float: time.monotonic()
"""Since when."""
CONCURRENT_DONE = 29
"""How many jobs that ran concurrently have ended; DONE does not count them."""

# The words of the row of the cluster, which follows those of the processes. Written by the sentinel, unless noted.
PHASE, RESTARTS, SENTINEL = range(3)
PAUSED_QUEUES = 3
"""A bit for each paused queue of this cluster. Written by the monitor."""
LAUNCHED = 4  # a float: Unix time
NOTIFIER_NEEDED = 5
"""1 when the monitor has something for a notifier to call. Written by the monitor."""
LEASED_UNTIL = 6  # a float: time.monotonic()
"""The time up to which everything that this cluster holds is certainly leased to it. Written by the pusher."""

UNTIL_EMPTY = 7
"""1 when the cluster stops as soon as nothing is left to do. Written before any process is started."""

COMMANDS_UNREAD = 8
"""1 until the monitor has read the commands of operators once: what is paused is not known before. Written by the
sentinel before any process is started, and by the monitor."""

STILL_RUNNING = 0
"""Value of EXIT_CODE while the process lives. Afterwards it is the exit code + ``EXIT_OFFSET``."""
EXIT_OFFSET = 1 << 16
