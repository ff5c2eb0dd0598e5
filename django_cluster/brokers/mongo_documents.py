"""Documents of the queue in MongoDB ↔ messages, although other programs may have written documents of any shape.

The server checks nothing. A document that is not as ours are would stop the claims of all others: nothing can be added
to a text, and nothing compared with a field that is missing. So each is read with care, and ``repairs`` says what
has to be written into it before it can be leased.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from django_cluster.brokers.messages import MAX_ATTEMPTS, Delivery, QueuedMessage, attempts_from, payload_from

NO_LEASE = ""
"""The token of a document that was not leased since it was sent or released."""
LARGEST = 1 << 60
"""Beyond it, in both directions, no place and no moment is one of ours."""


def repairs(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without which a document cannot be leased like the others, as they should be; empty for ours."""
    right: dict[str, Any] = {}
    attempts: Any = document.get("attempts")
    if not is_number(attempts) or not 0 <= attempts <= MAX_ATTEMPTS:
        right["attempts"] = attempts_from(attempts)
    right.update({name: 0 for name in ("rank", "turn", "place") if not is_number(document.get(name))})
    if not is_number(document.get("due")):
        right["due"] = 0.0
    if document.get("parked") not in (True, False):
        right["parked"] = False
    if type(document.get("lease")) is not str:
        right["lease"] = NO_LEASE
    return right


def has_valid_receipt(document: Mapping[str, Any]) -> bool:
    """Whether a receipt can name a document that has just been leased, and its attempts are counted."""
    attempts: Any = document.get("attempts")
    return type(document["_id"]) is ObjectId and is_number(attempts) and attempts >= 1


def order_of(document: Mapping[str, Any]) -> tuple[float, float, float]:
    """By which documents are sorted as the server sorts them."""
    return _number(document, "rank"), _number(document, "turn"), _number(document, "place")


def delivery_of(document: Mapping[str, Any], token: str) -> Delivery:
    payload, attempts = document.get("payload", ""), attempts_from(document.get("attempts"))
    return Delivery(f"{document['_id']}:{token}", payload_from(payload), max(1, attempts))


def queued_message_of(document: Mapping[str, Any]) -> QueuedMessage:
    parked = bool(document.get("parked"))
    return QueuedMessage(
        payload_from(document.get("payload", "")),
        -int(_number(document, "rank")),
        attempts_from(document.get("attempts")),
        due=float(_number(document, "due")) if parked else None,
        leased=parked and document.get("lease", NO_LEASE) != NO_LEASE,
        key=str(document["_id"]),
    )


def is_number(value: Any) -> bool:
    """Whether the server can add to it and compare it with others of its kind."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _number(document: Mapping[str, Any], name: str) -> float:
    value: Any = document.get(name)
    return value if is_number(value) else 0
