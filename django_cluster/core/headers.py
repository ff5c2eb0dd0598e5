"""The header of a package ↔ JSON, and which values may stand in it.

Pushers, workers, the transfer of queues and the admin read headers, partly before a signature is verified. So every
value of a header is checked for its type and its range, and ``UnknownFormat`` is raised for any other.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from django_cluster.core.messages import DEFAULT_OPTIONS, TaskHeader, TaskOptions
from django_cluster.core.option_synonyms import STRATEGIES
from django_cluster.core.safe_text import storable
from django_cluster.core.time import is_seconds, is_unix_time
from django_cluster.errors import UnknownFormat

HEADER_VERSION = 1

MOST_RUNS = (1 << 31) - 1
"""The largest number of runs that every database can keep."""
LARGEST_KEY = (1 << 63) - 1
PRIORITIES = range(-100, 101)
"""Priorities that a task may ask for."""

SHOWN = {"id": 100, "name": 100, "func": 256}
"""Maximum number of characters of each text of an unverified header."""


def _refuse_constant(name: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which are not JSON."""
    raise ValueError(f"{name} is not a number.")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


def write_header(header: TaskHeader) -> bytes:
    """The header as JSON, built by hand: encoding a dict takes four times as long."""
    write, options = _encode, header.options.to_wire()
    tail = f',"options":{write(options)}' if options else ""
    label = f'"id":{write(header.id)},"name":{write(header.name)},"func":{write(header.func)}'
    return f'{{"v":{HEADER_VERSION},{label},"at":{header.enqueued_at!r}{tail}}}'.encode("ascii")


def read_header(text: bytes) -> TaskHeader:
    """Parse a header. Names that a later version added are ignored. Raises ``UnknownFormat``."""
    wire = _read_wire(text)
    try:
        if wire["v"] != HEADER_VERSION:
            raise UnknownFormat(f"The package has version {reprlib.repr(wire['v'])}; this code reads {HEADER_VERSION}.")
        id, name, func, at = wire["id"], wire["name"], wire["func"], wire["at"]
        if not (isinstance(id, str) and isinstance(name, str) and isinstance(func, str)):
            raise UnknownFormat("The header of the package cannot be read: text expected.")
        if not is_unix_time(at):
            raise UnknownFormat(f"The header of the package cannot be read: {reprlib.repr(at)} is not a moment.")
        options = _read_options(wire["options"]) if "options" in wire else DEFAULT_OPTIONS
        return TaskHeader(id=id, name=name, func=func, enqueued_at=float(at), options=options)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnknownFormat(f"The header of the package cannot be read: {reprlib.repr(error)}") from error


def shown_header(header: TaskHeader) -> TaskHeader:
    """An unverified header for display: its texts are shortened, and can be encoded."""
    texts: dict[str, Any] = {name: storable(getattr(header, name), size) or "" for name, size in SHOWN.items()}
    options = header.options
    dirty: dict[str, Any] = {
        field.name: storable(value)
        for field in fields(options)
        if isinstance(value := getattr(options, field.name), str) and storable(value) != value
    }
    return replace(header, **texts, options=replace(options, **dirty) if dirty else options)


def _read_wire(text: bytes) -> Any:
    """Decode JSON as ``write_header`` writes it, in ASCII: ``json.loads`` would detect the encoding first."""
    try:
        wire, end = _decode(text.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise UnknownFormat(f"The header of the package cannot be read: {reprlib.repr(error)}") from error
    if end != len(text):
        raise UnknownFormat("The header of the package cannot be read: there is more behind it.")
    return wire


def _read_options(wire: Mapping[str, Any]) -> TaskOptions:
    for name, value in wire.items():
        fits = _FITS.get(name)
        if fits is not None and value is not None and not fits(value):
            raise UnknownFormat(
                f"The header of the package cannot be read: the option {name!r} cannot be {reprlib.repr(value)}."
            )
    return TaskOptions.from_wire({name: value for name, value in wire.items() if value is not None})


# ── which values an option may have ──────────────────────────────────────────────────────────────


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_flag(value: object) -> bool:
    return type(value) is bool


def _is_flag_or_seconds(value: object) -> bool:
    return type(value) is bool or (type(value) is int and is_seconds(value))


def _is_number_of_runs(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_RUNS


def _is_whole(value: object) -> bool:
    return type(value) is int and -MOST_RUNS <= value <= MOST_RUNS


def _is_key(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_KEY


def _is_backoff(value: object) -> bool:
    if isinstance(value, str):
        return value in STRATEGIES
    return is_seconds(value) and isinstance(value, int | float) and value >= 1


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(type(each) is str for each in value)


FIRST_POSITION, MOST_POSITIONS = -3, 2**31 - 1
"""Range of the index of a member in its composition (``core.compositions``)."""


def _is_place(value: object) -> bool:
    """Whether it is a ``core.compositions.Membership``: group, index, role, and an optional flag."""
    if not isinstance(value, list | tuple) or not 3 <= len(value) <= 4:
        return False
    group, index, role, *more = value
    # What follows a group, or collects an iter, has a place before those of the calls: from -3.
    fits = type(index) is int and FIRST_POSITION <= index <= MOST_POSITIONS
    return type(group) is str and fits and type(role) is str and all(map(_is_flag, more))


def _is_named_values(value: object) -> bool:
    return isinstance(value, dict) and all(type(name) is str for name in value)


_FITS: Mapping[str, Callable[[object], bool]] = {
    "hook": _is_text,
    "group": _is_text,
    "save": _is_flag,
    "cached": _is_flag_or_seconds,
    "ack_failure": _is_flag,
    "timeout": is_seconds,
    "max_attempts": _is_number_of_runs,
    "retry_delay": is_seconds,
    "retry_backoff": _is_backoff,
    "retry_on": _are_texts,
    "no_retry_on": _are_texts,
    "priority": _is_whole,
    "not_before": is_seconds,
    "expires_at": is_seconds,
    "queue": _is_text,
    "broker": _is_text,
    "schedule": _is_key,
    "member": _is_place,
    "correlation_id": _is_text,
    "traceparent": _is_text,
    "earlier_runs": _is_number_of_runs,
    "chain": _are_texts,
    "extra": _is_named_values,
    "track": _is_flag,
    "backend": _is_text,
}
