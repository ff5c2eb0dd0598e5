"""Frames of RabbitMQ that the client cannot read: properties that another program has written in another encoding.

The client raises for them in the middle of whatever it is doing. The message comes again with every new connection, so
nothing behind it would ever be leased. Here it comes without its properties; its body is looked at like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler
from amqp.serialization import decode_properties_basic

CONTENT_HEADER = 2
"""The type of a frame that says how long a message is, and what properties it has."""
FIXED = 12
"""Bytes of such a frame before its properties."""
NO_PROPERTIES = b"\0\0"

Frame = tuple[int, int, Any]
OnFrame = Callable[[Frame], bool]


def lenient_handler(connection: Any, callback: Callable[..., object]) -> OnFrame:
    """A reader like the one that the client creates for each connection."""
    handle: OnFrame = frame_handler(connection, callback)

    def forgive(frame: Frame) -> bool:
        try:
            return handle(frame)
        except Exception:
            kind, channel, content = frame
            if kind != CONTENT_HEADER or has_readable_properties(content):
                raise
        return handle((kind, channel, bytes(content[:FIXED]) + NO_PROPERTIES))

    return forgive


def has_readable_properties(content: Any) -> bool:
    """Whether the client can read the properties in a content header."""
    try:
        decode_properties_basic(content, FIXED)
    except Exception:  # noqa: BLE001  it raises whatever its parts raise
        return False
    return True
