"""Shared memory without a lock: one row for each life of each child, and one for the cluster as a whole.

A field has exactly one writer, named below; anybody reads. A field is one aligned machine word, so that
a reader sees the old value or the new, never half of each. Nothing can be left locked by a killed process.

A new life gets a row that nobody has used for a while, so that what a dead child last wrote can still be
read by those who must account for it.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from enum import IntEnum

from django_cluster.cluster.bootstrap.host import allocate_file, is_alive

WORD_BYTES = 8
WORDS_PER_ROW = 24
RECEIPTS_PER_ROW, RECEIPT_BYTES = 1024, 64
"""How many receipts a row keeps, that of the running job and those of the last that were done (a worker never holds
more that nobody has filed), and the bytes for each. A longer one stands elsewhere:"""
LONG_RECEIPTS_PER_ROW, LONG_RECEIPT_BYTES = 64, 1088
"""Bytes of a long receipt: enough for the longest that is known (SQS: 1024), for payload offloading and for several
queues write in front of it."""
LONG_RECEIPT_MARK = b"\1"
"""Stands for a receipt that is long."""
TASK_INFO_BYTES = 640
"""Bytes kept for what people may know of the running task: its id, name and function."""
ROW_BYTES = (
    WORDS_PER_ROW * WORD_BYTES
    + RECEIPTS_PER_ROW * RECEIPT_BYTES
    + LONG_RECEIPTS_PER_ROW * LONG_RECEIPT_BYTES
    + TASK_INFO_BYTES
)


class ProcessState(IntEnum):
    """What a child is doing. Written by the child."""

    EMPTY = 0
    BOOTING = 1
    IDLE = 2
    BUSY = 3
    """Runs a task; only now a deadline counts."""
    STOPPING = 4


class ClusterPhase(IntEnum):
    """Where the cluster as a whole stands. Written by the sentinel."""

    STARTING = 0
    RUNNING = 1
    DRAINING = 2
    """The scheduler, the workers and the pusher are leaving."""
    CLOSING = 3
    """The monitor files the last outcomes."""
    STOPPED = 4


class ProcessCommand(IntEnum):
    """What the sentinel wants of a child. Written by the sentinel."""

    RUN = 0
    STOP = 1


class Cause(IntEnum):
    """Why the sentinel ended a child. Written by the sentinel, *before* it kills."""

    NONE = 0
    TIMEOUT = 1
    BOOT = 2
    SHUTDOWN = 3
    CRASH_LOOP = 4
    MEMORY = 5
    """Its task held more memory than ``max_rss_kill``."""
    OUT_OF_MEMORY = 6
    """The kernel's out-of-memory killer ended it (noted after the fact)."""
    UNRESPONSIVE = 7
    """It gave no sign of life for too long, outside a task."""


# The words of a row. The first block is the child's, the second the sentinel's; then one of the pusher's, one more
# of the sentinel's, one of the monitor's, and one more of the child's.
PID, STATE, RUNNING, BEGUN, DONE, RSS = range(6)
STARTED, DEADLINE = 6, 7  # read and written as floats: time.monotonic()
INCARNATION, COMMAND, CAUSE, EXIT_CODE, PEAK_RSS = 8, 9, 10, 11, 12
REVOKED = 13
ROLE_CODE = 14
"""Which role sits there, and which of its kind."""
RESTART_REQUEST = 15
"""The number of the incarnation that is to be given to a new life, when its holder has finished what it does."""
LAST_ALIVE = 16  # a float: time.monotonic()
"""When the child last gave a sign of life; in the future while it does something that may take longer."""
IDLE_SINCE = 17  # a float: time.monotonic()
"""In a cluster that works until its queue is empty: since when this child has had nothing to do; 0 = it may have.
Written by the pusher (nothing is leased, and nothing is ready), the monitor (nothing is to be recorded or called) and
the scheduler (everything that was due has been sent)."""
APPLIED_PAUSES = 18
"""The PAUSED_QUEUES that a pusher applies."""
IN_FLIGHT = 19
"""How many jobs a pusher has leased that are not recorded."""

# The words of the cluster's own row, behind those of the children; written by the sentinel, except where it is said.
PHASE, RESTARTS, SENTINEL = range(3)
PAUSED_QUEUES = 3
"""A bit for each paused queue of this cluster. Written by the monitor."""
LAUNCHED = 4  # a float: Unix time
NOTIFIER_NEEDED = 5
"""1 when the monitor has something for a notifier to call. Written by the monitor."""
LEASED_UNTIL = 6  # a float: time.monotonic()
"""Up to which moment everything that this cluster holds is certainly leased to it. Written by the pusher."""

UNTIL_EMPTY = 7
"""1 when the cluster ends as soon as there is nothing left to do. Written by the sentinel before it starts anybody."""

STILL_RUNNING = 0
"""Value of EXIT_CODE while the child lives. Afterwards it is the exit code + ``EXIT_OFFSET``."""
EXIT_OFFSET = 1 << 16


@dataclass(frozen=True, slots=True)
class ScoreboardRow:
    """A row as it was read at one moment."""

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
    """``time.monotonic()`` at which the task is overdue; 0 = never."""
    command: ProcessCommand
    cause: Cause
    exit_code: int | None
    """Exit code; -n = killed by signal n; None while it lives."""
    peak_rss: int
    """The most resident memory (kB) that the sentinel has seen."""
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
        """Descriptor of the file in the process that created it; the file is reachable by it after an unlink."""
        with open(path, "r+b", buffering=0) as file:
            self._memory = mmap.mmap(file.fileno(), (rows + 1) * ROW_BYTES)
        words = memoryview(self._memory)[: (rows + 1) * WORDS_PER_ROW * WORD_BYTES]
        self._ints, self._floats = words.cast("Q"), words.cast("d")
        self._receipts = (rows + 1) * WORDS_PER_ROW * WORD_BYTES
        self._long_receipts = self._receipts + rows * RECEIPTS_PER_ROW * RECEIPT_BYTES
        self._notes = self._long_receipts + rows * LONG_RECEIPTS_PER_ROW * LONG_RECEIPT_BYTES
        self._cluster = rows * WORDS_PER_ROW

    @classmethod
    def create(cls, path: str | os.PathLike[str], rows: int) -> Scoreboard:
        """Raises ``OSError`` where there is no room for the whole of it.

        A file with holes would be taken as well, and whoever wrote into a hole of a full disk would die of SIGBUS.
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
        """Unix time at which the sentinel began."""
        return self._floats[self._cluster + LAUNCHED]

    @property
    def leased_until(self) -> float:
        """``time.monotonic()`` up to which all leases of this cluster certainly hold; 0 before the first renewal."""
        return self._floats[self._cluster + LEASED_UNTIL]

    def set_leased_until(self, moment: float) -> None:
        self._floats[self._cluster + LEASED_UNTIL] = moment

    def record_launch(self, pid: int, moment: float) -> None:
        """Done by the sentinel before it starts anybody."""
        self.set_cluster_word(SENTINEL, pid)
        self._floats[self._cluster + LAUNCHED] = moment

    def reset_row(self, row: int, incarnation: int, role_code: int = 0) -> None:
        """Make a row ready for a new life; done by the sentinel before the child is started."""
        for word in range(WORDS_PER_ROW):
            self.set(row, word, 0)
        self.set(row, STATE, ProcessState.BOOTING)
        self.set(row, ROLE_CODE, role_code)
        self.set(row, INCARNATION, incarnation)

    def begin_job(self, row: int, number: int, started: float, deadline: float, receipt: str = "") -> None:
        """The child begins job ``number``. ``begun`` last: whoever sees it sees the rest."""
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
        """What people may know of job ``number``, which runs here; written by the child, read by ``noted``."""
        text = "\n".join((str(number), *words)).encode("utf-8", "replace")[: TASK_INFO_BYTES - 1]
        place = self._notes + row * TASK_INFO_BYTES
        self._memory[place : place + len(text) + 1] = text + b"\0"

    def read_task_info(self, row: int) -> list[str] | None:
        """The words that were noted of the running job; None while there is none, or nothing has been noted yet."""
        place = self._notes + row * TASK_INFO_BYTES
        running = self.get(row, RUNNING)
        text = self._memory[place : place + TASK_INFO_BYTES].partition(b"\0")[0]
        number, *words = text.decode("utf-8", "replace").split("\n")
        return words if number == str(running) and self.get(row, RUNNING) == running else None

    def running_receipts(self) -> list[str]:
        """What runs in this cluster now, whoever handed it out: a new pusher must keep it leased, too."""
        return [receipt for row in range(self.rows) if (receipt := self._running_receipt(row))]

    def _running_receipt(self, row: int) -> str:
        number = self.get(row, RUNNING)
        if not number or self.get(row, EXIT_CODE) != STILL_RUNNING:
            return ""
        receipt = self._receipt(row, self.get(row, DONE))
        return receipt if self.get(row, RUNNING) == number else ""

    def done_receipts(self, row: int) -> list[str]:
        """What this child has done last, and perhaps still keeps because nobody has filed it, the oldest first."""
        if self.get(row, EXIT_CODE) != STILL_RUNNING:
            return []
        done = self.get(row, DONE)
        first = max(0, done - RECEIPTS_PER_ROW + 1)
        receipts = [self._receipt(row, job) for job in range(first, done)]
        written_over = self.get(row, DONE) - done  # since we began to read
        return [receipt for receipt in receipts[written_over:] if receipt]

    def _receipt(self, row: int, job: int) -> str:
        """``job``: how many were done before it; one that was handed back has left its place to the next."""
        text = self._text_at(
            self._receipts + (row * RECEIPTS_PER_ROW + job % RECEIPTS_PER_ROW) * RECEIPT_BYTES, RECEIPT_BYTES
        )
        if text == LONG_RECEIPT_MARK:
            kept = job > self.get(row, DONE) - LONG_RECEIPTS_PER_ROW
            text = self._text_at(self._place_of_long(row, job), LONG_RECEIPT_BYTES) if kept else b""
        return text.decode("ascii", "replace")

    def _write_long(self, row: int, job: int, text: bytes) -> bytes:
        """Keep a long receipt; returns what stands for it."""
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
        """Whether the sentinel has seen the end of this life."""
        return self.get(row, INCARNATION) != incarnation or self.get(row, EXIT_CODE) != STILL_RUNNING

    def ended_incarnations(self) -> frozenset[int]:
        """The numbers of all lives of which the sentinel has seen the end, as far as their rows still stand."""
        return frozenset(
            self.get(row, INCARNATION) for row in range(self.rows) if self.get(row, EXIT_CODE) != STILL_RUNNING
        )

    def others_alive(self, own_row: int) -> bool:
        """Whether any other process of this cluster still lives."""
        pids = {self.get(row, PID) for row in range(self.rows) if row != own_row}
        return any(pid and is_alive(pid) for pid in pids)

    def report_alive(self, row: int, allowance: float = 0.0) -> None:
        """The child lives and goes on; ``allowance``: seconds for which it may be silent beyond the usual limit."""
        self._floats[row * WORDS_PER_ROW + LAST_ALIVE] = time.monotonic() + allowance

    def idle_since(self, row: int) -> float:
        """``time.monotonic()`` since which this child has had nothing to do; 0 = it may have something."""
        return self._floats[row * WORDS_PER_ROW + IDLE_SINCE]

    def set_idle_since(self, row: int, moment: float) -> None:
        """Done by the child itself."""
        self._floats[row * WORDS_PER_ROW + IDLE_SINCE] = moment

    def set_deadline(self, row: int, deadline: float) -> None:
        self._floats[row * WORDS_PER_ROW + DEADLINE] = deadline

    def finish_job(self, row: int, *, counted: bool = True) -> None:
        """The child has finished the job that ran; ``counted=False``: or has handed it back."""
        base = row * WORDS_PER_ROW
        self._floats[base + LAST_ALIVE] = time.monotonic()  # first: from now on its silence counts
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
