"""Runs moto's SQS with three rules of the real one that moto leaves out.

Only the newest receipt handle of a message counts, and only what is in flight can change its visibility. And two calls
at a time do not spoil each other: in moto's threads, a message that is sent while another is deleted may be lost, and
one that two ask for may be lent to both.

What moto works out again and again for each message that it lends (the time, by way of three dates, and every attribute
of the queue, for one of them) is asked for directly here: to lend three hundred took it thirteen seconds of a core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any

from moto.server import main
from moto.sqs import models
from moto.sqs.exceptions import ReceiptHandleIsInvalid

LOOK_AGAIN = 0.5
"""Seconds: nobody is woken for what becomes visible, or is due."""

lock = RLock()


def newest_only(message: models.Message, receipt_handle: str) -> bool:
    return bool(message.receipt_handle == receipt_handle)


def delete(queue: models.Queue, receipt_handle: str) -> None:
    """An older handle is no error, and deletes nothing."""
    if any(message.had_receipt_handle(receipt_handle) for message in queue._messages):
        delete_newest(queue, receipt_handle)


def change_visibility(backend: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
    for message in backend.get_queue(queue_name)._messages:
        if message.had_receipt_handle(receipt_handle) and message.visible:
            raise ReceiptHandleIsInvalid
    change_any(backend, queue_name, receipt_handle, visibility_timeout)


def receive(backend: Any, queue_name: str, count: int, wait: int | None, *more: Any, **named: Any) -> list[Any]:
    """Nobody else has to wait for a call that waits."""
    deadline = time.monotonic() + int(wait or 0)
    while True:
        with lock:
            found: list[Any] = receive_any(backend, queue_name, count, 0, *more, **named)
        left = deadline - time.monotonic()
        if found or left <= 0:
            return found
        backend.get_queue(queue_name).wait_for_messages(min(left, LOOK_AGAIN))


def is_kept(backend: Any, queue_name: str, message: Any) -> bool:
    """Whether the message is not older than the queue keeps messages."""
    kept = int(backend.get_queue(queue_name).message_retention_period)
    return bool(kept + message.sent_timestamp / 1000 > time.time())


def milliseconds() -> float:
    """Unix time."""
    return time.time() * 1000


def one_at_a_time(act: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(act)
    def alone(*values: Any, **named: Any) -> Any:
        with lock:
            return act(*values, **named)

    return alone


def replace(owner: type, name: str, act: Callable[..., Any]) -> None:
    setattr(owner, name, act)


delete_newest = models.Queue.delete_message
change_any = models.SQSBackend.change_message_visibility
receive_any = models.SQSBackend.receive_message
replace(models.Message, "had_receipt_handle", newest_only)
replace(models.Queue, "delete_message", one_at_a_time(delete))
replace(models.SQSBackend, "change_message_visibility", one_at_a_time(change_visibility))
replace(models.SQSBackend, "receive_message", receive)
replace(models.SQSBackend, "is_message_valid_based_on_retention_period", is_kept)
replace(models.SQSBackend, "send_message", one_at_a_time(models.SQSBackend.send_message))
replace(models.SQSBackend, "purge_queue", one_at_a_time(models.SQSBackend.purge_queue))
models.__dict__.update(unix_time=time.time, unix_time_millis=milliseconds)

if __name__ == "__main__":
    main(sys.argv[1:])
