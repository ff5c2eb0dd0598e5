"""The part of the scoreboard that says in words what a process runs, and how far that is. Written by the process."""

from __future__ import annotations

from mmap import mmap

from django_cluster.cluster.ipc.receipts import text_at

TASK_INFO_BYTES = 1344
"""Bytes for the number, id, name (100 characters) and function (256) of the running task; of a task that has a group,
also the moment of its sending, its composition and its group (100 characters)."""
PROGRESS_CHARACTERS, PROGRESS_MESSAGE_BYTES = 200, 832
"""Characters of the message with which a running task says how far it is, and bytes for these and the job's number."""
NOTE_BYTES_PER_ROW = TASK_INFO_BYTES + PROGRESS_MESSAGE_BYTES


class TaskNotes:
    """The notes of all rows, from ``place`` in ``memory``, ``NOTE_BYTES_PER_ROW`` for each row.

    Each names the job that it is about: a reader compares it with the job that runs.
    """

    def __init__(self, memory: mmap, place: int, rows: int) -> None:
        self._memory, self._place = memory, place
        self._messages = place + rows * TASK_INFO_BYTES
        self._last_message = (0, "")

    def write_info(self, row: int, number: int, *words: str) -> None:
        """Write words about the running job ``number``, one in a line."""
        lines = (str(number), *(word.replace("\n", " ").replace("\0", " ") for word in words))
        text = "\n".join(lines).encode("utf-8", "replace")[: TASK_INFO_BYTES - 1]
        place = self._place + row * TASK_INFO_BYTES
        self._memory[place : place + len(text) + 1] = text + b"\0"

    def read_info(self, row: int, number: int) -> list[str] | None:
        """The words about job ``number``; None where the note is about another."""
        text = text_at(self._memory, self._place + row * TASK_INFO_BYTES, TASK_INFO_BYTES)
        written, *words = text.decode("utf-8", "replace").split("\n")
        return words if written == str(number) else None

    def write_message(self, row: int, number: int, message: str) -> None:
        """Write the message of the progress of job ``number``, if it is not the one that was written last."""
        if (number, message) == self._last_message:
            return
        text = f"{number}\n{message[:PROGRESS_CHARACTERS]}".encode("utf-8", "replace").replace(b"\0", b" ")
        place = self._messages + row * PROGRESS_MESSAGE_BYTES
        self._memory[place : place + len(text) + 1] = text + b"\0"
        self._last_message = (number, message)

    def read_message(self, row: int, number: int) -> str:
        """The message of the progress of job ``number``; "" where it is about another."""
        text = text_at(self._memory, self._messages + row * PROGRESS_MESSAGE_BYTES, PROGRESS_MESSAGE_BYTES)
        written, _, message = text.decode("utf-8", "replace").partition("\n")
        return message if written == str(number) else ""
