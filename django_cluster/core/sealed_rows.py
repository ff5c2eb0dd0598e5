"""What the seals in the row of a task cover.

The arguments are sealed together with the id, the function, the hook, the queue and the options of their task: a row of
which any of these was changed in the database cannot be run again. The result is sealed together with the id. The name,
the group and the correlation id are labels, which may be changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django_cluster.core.signing import ValueSigner, load_value
from django_cluster.errors import UnknownFormat

IN_OTHER_COLUMNS = frozenset({"correlation_id", "hook", "group", "queue", "schedule", "traceparent"})
"""Options that a row does not keep among its options."""
OF_A_COMPOSITION = frozenset({"member", "chain"})
"""Options that the row of a success does not keep: sent again, it is a task of its own."""
SIZE_OF_LENGTH = 2
NOTHING = b"[[],{}]"
"""The data of a task without arguments: JSON, also where others are pickled."""

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def result_context(task_id: str) -> bytes:
    """To what a result belongs."""
    return b"result:" + task_id.encode("utf-8", "backslashreplace")


def arguments_context(task_id: str, func: str, options: Mapping[str, Any], *, hook: str | None, success: bool) -> bytes:
    """To what arguments belong. ``options``: as they travel, or as a row keeps them."""
    kept = _plain(options, success=success) if options else ""
    hook = hook or ""
    # The lengths keep neighbours apart.
    text = f"arguments:{len(task_id)}:{len(func)}:{len(hook)}:{task_id}{func}{hook}{kept}"
    return text.encode("utf-8", "backslashreplace")


def _plain(options: Mapping[str, Any], *, success: bool) -> str:
    """The options that the row keeps, as one text, whatever a database makes of numbers and of the order."""
    left_out = IN_OTHER_COLUMNS | OF_A_COMPOSITION if success else IN_OTHER_COLUMNS
    kept = {name: _number(value) for name, value in options.items() if name not in left_out}
    return _encode(kept) if kept else ""


def _number(value: Any) -> Any:
    """1.0 may come back from a column of JSON as 1."""
    return int(value) if type(value) is float and value.is_integer() else value


def seal_arguments(seal: ValueSigner, marker: bytes, data: bytes, queue: str, context: bytes) -> bytes:
    """``data``: the arguments as they came, not opened; empty for none."""
    if not data:
        marker, data = b"J", NOTHING
    name = queue.encode("utf-8", "backslashreplace")
    return seal.sign_data(marker, len(name).to_bytes(SIZE_OF_LENGTH, "big") + name + data, context)


def open_arguments(
    seal: ValueSigner, sealed: bytes | memoryview, context: bytes
) -> tuple[tuple[Any, ...], dict[str, Any], str]:
    """(args, kwargs, the queue that had the task). Raises ``PackageError``."""
    marker, found = seal.verified_data(sealed, context)
    start = SIZE_OF_LENGTH + int.from_bytes(found[:SIZE_OF_LENGTH], "big")
    pair = load_value(marker, found[start:], resolve=False)  # a row is looked at, not run
    try:
        args, kwargs = pair
        return tuple(args), dict(kwargs), found[SIZE_OF_LENGTH:start].decode("utf-8", "replace")
    except (TypeError, ValueError) as error:
        raise UnknownFormat("The sealed arguments are not (args, kwargs).") from error
