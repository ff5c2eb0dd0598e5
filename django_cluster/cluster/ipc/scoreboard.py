"""Shared memory without a lock: one row for each incarnation of each process, and one for the cluster as a whole.

A field has exactly one writer, named below, and any number of readers. It is one aligned machine word, so that a reader
sees the old value or the new one, never half of each. A killed process can leave nothing locked.

A new incarnation gets the row that has been unused for the longest time, so that what a dead process wrote last can
still be read.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b

from django_cluster.cluster.bootstrap.host import allocate_file, is_alive
from django_cluster.core.task_progress import TaskProgress

WORD_BYTES = 8
WORDS_PER_ROW = 24
RECEIPTS_PER_ROW, RECEIPT_BYTES = 1024, 64
"""How many receipts a row keeps, that of the running job and those of the last finished jobs (a worker never has more
unrecorded ones), and the bytes for each. Longer ones are kept apart:"""
LONG_RECEIPTS_PER_ROW, LONG_RECEIPT_BYTES = 64, 1088
"""Number and bytes of long receipts: enough for the longest that is known (SQS: 1024) and the prefixes of payload
offloading and of several queues."""
LONG_RECEIPT_MARK = b"\1"
"""Written in place of a long receipt."""
TASK_INFO_BYTES = 832
"""Bytes for the number, id, name (100 characters) and function (256) of the running task."""
PROGRESS_CHARACTERS, PROGRESS_MESSAGE_BYTES = 200, 832
"""Characters of the message with which a running task says how far it is, and bytes for these and the job's number."""
ROW_BYTES = (
    WORDS_PER_ROW * WORD_BYTES
    + RECEIPTS_PER_ROW * RECEIPT_BYTES
    + LONG_RECEIPTS_PER_ROW * LONG_RECEIPT_BYTES
    + TASK_INFO_BYTES
    + PROGRESS_MESSAGE_BYTES
)


class ProcessState(IntEnum):
    """What a process does. Written by the process."""

    EMPTY = 0
    BOOTING = 1
    IDLE = 2
    BUSY = 3
    """Runs a task; the deadline holds only in this state."""
    STOPPING = 4


class ClusterPhase(IntEnum):
    """The phase of the whole cluster. Written by the sentinel."""

    STARTING = 0
    RUNNING = 1
    DRAINING = 2
    """The scheduler, the workers and the pusher stop."""
    CLOSING = 3
    """The monitor records the last outcomes."""
    STOPPED = 4


class ProcessCommand(IntEnum):
    """What a process is told to do. Written by the sentinel."""

    RUN = 0
    STOP = 1


class Cause(IntEnum):
    """Why the sentinel killed a process. Written by the sentinel, *before* it kills."""

    NONE = 0
    TIMEOUT = 1
    BOOT = 2
    SHUTDOWN = 3
    CRASH_LOOP = 4
    MEMORY = 5
    """Its task held more memory than ``max_rss_kill``."""
    OUT_OF_MEMORY = 6
    """The kernel's out-of-memory killer killed it (written afterwards)."""
    UNRESPONSIVE = 7
    """It made no progress for ``unresponsive_timeout``, outside a task."""


# The words of a row. Writers: the process itself up to DEADLINE and from LAST_ALIVE on; the sentinel from INCARNATION
# to PEAK_RSS, and ROLE_CODE; the pusher REVOKED; the monitor RESTART_REQUEST.
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

MAX_PAUSED_TASKS = 500
"""Functions that can be paused at the same time."""

STILL_RUNNING = 0
"""Value of EXIT_CODE while the process lives. Afterwards it is the exit code + ``EXIT_OFFSET``."""
EXIT_OFFSET = 1 << 16


@lru_cache(maxsize=1024)
def path_hash(path: str) -> int:
    """The dotted path of a function as one word."""
    return int.from_bytes(blake2b(path.encode("utf-8", "replace"), digest_size=WORD_BYTES).digest(), "big")


@dataclass(frozen=True, slots=True)
class ScoreboardRow:
    """The values of a row at one moment."""

    incarnation: int
    pid: int
    state: ProcessState
    running: int
    """Number of the job that runs; 0 = none."""
    begun: int
    """Number of the last job that was begun."""
    done: int
    rss: int
    started: float
    deadline: float
    """``time.monotonic()`` at which the task exceeds its timeout; 0 = never."""
    command: ProcessCommand
    cause: Cause
    exit_code: int | None
    """Exit code; -n = killed by signal n; None while it lives."""
    peak_rss: int
    """The most resident memory (kB) that the sentinel has measured."""
    revoked: int
    role_code: int
    restart_request: int
    last_alive: float = 0.0
    """``time.monotonic()`` of the last heartbeat."""
    applied_pauses: int = 0
    in_flight: int = 0


class Scoreboard:
    """The rows, in a small file that every process of the cluster maps."""

    def __init__(self, path: str | os.PathLike[str], rows: int) -> None:
        self.path = path
        self.rows = rows
        self.descriptor: int | None = None
        """The descriptor of the file in the process that has created it; it remains valid when the file is removed."""
        with open(path, "r+b", buffering=0) as file:
            self._memory = mmap.mmap(file.fileno(), (rows + 1) * ROW_BYTES)
        words = memoryview(self._memory)[: (rows + 1) * WORDS_PER_ROW * WORD_BYTES]
        self._ints, self._floats = words.cast("Q"), words.cast("d")
        self._receipts = (rows + 1) * WORDS_PER_ROW * WORD_BYTES
        self._long_receipts = self._receipts + rows * RECEIPTS_PER_ROW * RECEIPT_BYTES
        self._notes = self._long_receipts + rows * LONG_RECEIPTS_PER_ROW * LONG_RECEIPT_BYTES
        self._messages = self._notes + rows * TASK_INFO_BYTES
        self._progress_message = (0, "")
        self._cluster = rows * WORDS_PER_ROW
        # Where the row of the cluster would have its receipts: a version (odd while it is written), and hashes.
        paused = self._messages + rows * PROGRESS_MESSAGE_BYTES
        room = memoryview(self._memory)[paused : paused + (2 + MAX_PAUSED_TASKS) * WORD_BYTES]
        self._paused = room.cast("Q")

    @classmethod
    def create(cls, path: str | os.PathLike[str], rows: int) -> Scoreboard:
        """Create the file. Raises ``OSError`` where there is no room for all of it.

        All blocks are allocated: a process that wrote into a hole of the file on a full disk would die of SIGBUS.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            allocate_file(descriptor, (rows + 1) * ROW_BYTES)
            board = cls(path, rows)
        except BaseException:
            os.close(descriptor)
            os.unlink(path)
            raise
        board.descriptor = descriptor
        return board

    def close(self) -> None:
        self._ints.release()
        self._floats.release()
        self._paused.release()
        self._memory.close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def get(self, row: int, word: int) -> int:
        return self._ints[row * WORDS_PER_ROW + word]

    def set(self, row: int, word: int, value: int) -> None:
        self._ints[row * WORDS_PER_ROW + word] = value

    def cluster_word(self, word: int) -> int:
        return self._ints[self._cluster + word]

    def set_cluster_word(self, word: int, value: int) -> None:
        self._ints[self._cluster + word] = value

    @property
    def launched(self) -> float:
        """Unix time at which the sentinel started."""
        return self._floats[self._cluster + LAUNCHED]

    @property
    def leased_until(self) -> float:
        """``time.monotonic()`` up to which all leases of this cluster certainly hold; 0 before the first renewal."""
        return self._floats[self._cluster + LEASED_UNTIL]

    def set_leased_until(self, moment: float) -> None:
        self._floats[self._cluster + LEASED_UNTIL] = moment

    def record_launch(self, pid: int, moment: float) -> None:
        """Called by the sentinel before it starts any process."""
        self.set_cluster_word(SENTINEL, pid)
        self._floats[self._cluster + LAUNCHED] = moment

    def reset_row(self, row: int, incarnation: int, role_code: int = 0) -> None:
        """Clear a row for a new incarnation. Called by the sentinel before it starts the process."""
        for word in range(WORDS_PER_ROW):
            self.set(row, word, 0)
        self.set(row, STATE, ProcessState.BOOTING)
        self.set(row, ROLE_CODE, role_code)
        self.set(row, INCARNATION, incarnation)

    def begin_job(self, row: int, number: int, started: float, deadline: float, receipt: str = "") -> None:
        """The process begins job ``number``. BEGUN is written last: a reader that sees it sees the rest."""
        base = row * WORDS_PER_ROW
        done, text = self._ints[base + DONE], receipt.encode("ascii", "replace")
        if len(text) >= RECEIPT_BYTES:
            text = self._write_long(row, done, text)
        place = self._receipts + (row * RECEIPTS_PER_ROW + done % RECEIPTS_PER_ROW) * RECEIPT_BYTES
        self._memory[place : place + len(text) + 1] = text + b"\0"
        self._floats[base + STARTED] = started
        self._floats[base + DEADLINE] = deadline
        self._ints[base + RUNNING] = number
        self._ints[base + STATE] = ProcessState.BUSY
        self._ints[base + BEGUN] = number

    def write_task_info(self, row: int, number: int, *words: str) -> None:
        """Write what ``read_task_info`` returns of the running job ``number``. Called by the process."""
        lines = (str(number), *(word.replace("\n", " ").replace("\0", " ") for word in words))
        text = "\n".join(lines).encode("utf-8", "replace")[: TASK_INFO_BYTES - 1]
        place = self._notes + row * TASK_INFO_BYTES
        self._memory[place : place + len(text) + 1] = text + b"\0"

    def read_task_info(self, row: int) -> list[str] | None:
        """The words that were written about the running job; None while there is none, or nothing was written yet."""
        place = self._notes + row * TASK_INFO_BYTES
        running = self.get(row, RUNNING)
        text = self._memory[place : place + TASK_INFO_BYTES].partition(b"\0")[0]
        number, *words = text.decode("utf-8", "replace").split("\n")
        return words if number == str(running) and self.get(row, RUNNING) == running else None

    def write_progress(self, row: int, done: float, total: float, message: str) -> None:
        """Write how far the running job is; a total of 0 = not known. Called by the process, also outside a job."""
        base = row * WORDS_PER_ROW
        number = self._ints[base + RUNNING]
        if not number:
            return
        if (number, message) != self._progress_message:
            text = f"{number}\n{message[:PROGRESS_CHARACTERS]}".encode("utf-8", "replace").replace(b"\0", b" ")
            place = self._messages + row * PROGRESS_MESSAGE_BYTES
            self._memory[place : place + len(text) + 1] = text + b"\0"
            self._progress_message = (number, message)
        self._floats[base + PROGRESS_DONE] = done
        self._floats[base + PROGRESS_TOTAL] = total
        self._ints[base + PROGRESS_JOB] = number

    def read_progress(self, row: int) -> TaskProgress | None:
        """How far the running job is, as it has said last; None while there is none, or it has said nothing.

        It is read while it may be written: numbers and message may be of two calls that followed each other.
        """
        base = row * WORDS_PER_ROW
        running = self._ints[base + RUNNING]
        if not running or self._ints[base + PROGRESS_JOB] != running:
            return None
        done, total = self._floats[base + PROGRESS_DONE], self._floats[base + PROGRESS_TOTAL]
        text = self._text_at(self._messages + row * PROGRESS_MESSAGE_BYTES, PROGRESS_MESSAGE_BYTES)
        number, _, message = text.decode("utf-8", "replace").partition("\n")
        if self._ints[base + RUNNING] != running:
            return None
        return TaskProgress(done=done, total=total or None, message=message if number == str(running) else "")

    def running_receipts(self) -> list[str]:
        """The receipts of everything that runs in this cluster, also of jobs that a former pusher has assigned."""
        return [receipt for row in range(self.rows) if (receipt := self._running_receipt(row))]

    def _running_receipt(self, row: int) -> str:
        number = self.get(row, RUNNING)
        if not number or self.get(row, EXIT_CODE) != STILL_RUNNING:
            return ""
        receipt = self._receipt(row, self.get(row, DONE))
        return receipt if self.get(row, RUNNING) == number else ""

    def done_receipts(self, row: int) -> list[str]:
        """The receipts of the last finished jobs of a process, which may be unrecorded, the oldest first."""
        if self.get(row, EXIT_CODE) != STILL_RUNNING:
            return []
        done = self.get(row, DONE)
        first = max(0, done - RECEIPTS_PER_ROW + 1)
        receipts = [self._receipt(row, job) for job in range(first, done)]
        written_over = self.get(row, DONE) - done  # since the reading began
        return [receipt for receipt in receipts[written_over:] if receipt]

    def _receipt(self, row: int, job: int) -> str:
        """``job``: how many jobs were finished before it. A returned job is overwritten by the next."""
        text = self._text_at(
            self._receipts + (row * RECEIPTS_PER_ROW + job % RECEIPTS_PER_ROW) * RECEIPT_BYTES, RECEIPT_BYTES
        )
        if text == LONG_RECEIPT_MARK:
            kept = job > self.get(row, DONE) - LONG_RECEIPTS_PER_ROW
            text = self._text_at(self._place_of_long(row, job), LONG_RECEIPT_BYTES) if kept else b""
        return text.decode("ascii", "replace")

    def _write_long(self, row: int, job: int, text: bytes) -> bytes:
        """Write a long receipt; returns what is written in its place."""
        if len(text) >= LONG_RECEIPT_BYTES:
            return b""
        place = self._place_of_long(row, job)
        self._memory[place : place + len(text) + 1] = text + b"\0"
        return LONG_RECEIPT_MARK

    def _place_of_long(self, row: int, job: int) -> int:
        return self._long_receipts + (row * LONG_RECEIPTS_PER_ROW + job % LONG_RECEIPTS_PER_ROW) * LONG_RECEIPT_BYTES

    def _text_at(self, place: int, size: int) -> bytes:
        return self._memory[place : place + size].partition(b"\0")[0]

    def has_ended(self, row: int, incarnation: int) -> bool:
        """Whether the sentinel has handled the exit of this incarnation."""
        return self.get(row, INCARNATION) != incarnation or self.get(row, EXIT_CODE) != STILL_RUNNING

    def ended_incarnations(self) -> frozenset[int]:
        """The numbers of all incarnations that have exited and whose rows were not reused."""
        return frozenset(
            self.get(row, INCARNATION) for row in range(self.rows) if self.get(row, EXIT_CODE) != STILL_RUNNING
        )

    def others_alive(self, own_row: int) -> bool:
        """Whether any other process of this cluster still lives."""
        pids = {self.get(row, PID) for row in range(self.rows) if row != own_row}
        return any(pid and is_alive(pid) for pid in pids)

    @property
    def paused_version(self) -> int:
        """Another number whenever other functions are paused; 0 before any was."""
        return self._paused[0]

    def paused_hashes(self) -> frozenset[int] | None:
        """The ``path_hash`` of each paused function; None while they are being written."""
        version = self._paused[0]
        found = frozenset(self._paused[2 : 2 + min(self._paused[1], MAX_PAUSED_TASKS)])
        return found if version % 2 == 0 and self._paused[0] == version else None

    def write_paused(self, hashes: Collection[int]) -> None:
        """Write which functions are paused, at most ``MAX_PAUSED_TASKS``. Called by the monitor."""
        kept = sorted(hashes)[:MAX_PAUSED_TASKS]
        if frozenset(kept) == self.paused_hashes():
            return
        writing = self._paused[0] | 1
        self._paused[0] = writing
        self._paused[1] = len(kept)
        for place, each in enumerate(kept, 2):
            self._paused[place] = each
        self._paused[0] = writing + 1

    def report_alive(self, row: int, allowance: float = 0.0) -> None:
        """The process makes progress. ``allowance``: seconds that it may be silent beyond the usual limit."""
        self._floats[row * WORDS_PER_ROW + LAST_ALIVE] = time.monotonic() + allowance

    def idle_since(self, row: int) -> float:
        """``time.monotonic()`` since which this process has had nothing to do; 0 = it may have something."""
        return self._floats[row * WORDS_PER_ROW + IDLE_SINCE]

    def set_idle_since(self, row: int, moment: float) -> None:
        """Called by the process itself."""
        self._floats[row * WORDS_PER_ROW + IDLE_SINCE] = moment

    def set_deadline(self, row: int, deadline: float) -> None:
        self._floats[row * WORDS_PER_ROW + DEADLINE] = deadline

    def finish_job(self, row: int, *, counted: bool = True) -> None:
        """The process has finished the running job, or, with ``counted=False``, has returned it."""
        base = row * WORDS_PER_ROW
        self._floats[base + LAST_ALIVE] = time.monotonic()  # first: from now on ``unresponsive_timeout`` holds
        self._ints[base + STATE] = ProcessState.IDLE
        self._ints[base + RUNNING] = 0
        self._floats[base + DEADLINE] = 0.0
        self._ints[base + DONE] += counted

    def read(self, row: int) -> ScoreboardRow:
        base = row * WORDS_PER_ROW
        words = self._ints[base : base + WORDS_PER_ROW].tolist()
        ended = words[EXIT_CODE]
        return ScoreboardRow(
            incarnation=words[INCARNATION],
            pid=words[PID],
            state=ProcessState(words[STATE]),
            running=words[RUNNING],
            begun=words[BEGUN],
            done=words[DONE],
            rss=words[RSS],
            started=self._floats[base + STARTED],
            deadline=self._floats[base + DEADLINE],
            command=ProcessCommand(words[COMMAND]),
            cause=Cause(words[CAUSE]),
            exit_code=None if ended == STILL_RUNNING else ended - EXIT_OFFSET,
            peak_rss=words[PEAK_RSS],
            revoked=words[REVOKED],
            role_code=words[ROLE_CODE],
            restart_request=words[RESTART_REQUEST],
            last_alive=self._floats[base + LAST_ALIVE],
            applied_pauses=words[APPLIED_PAUSES],
            in_flight=words[IN_FLIGHT],
        )

    def set_exit(self, row: int, code: int) -> None:
        self.set(row, EXIT_CODE, code + EXIT_OFFSET)
