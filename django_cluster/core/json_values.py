"""Values ↔ JSON that gives the same values back: what ``serializer = "json"`` carries.

JSON itself knows texts, numbers, booleans, None, lists, and dicts whose keys are texts. Each other value is an object
with a type and its parts::

    {"__type__": "datetime", "value": "2026-11-30T12:00:00+01:00", "zone": "Europe/Vienna"}
    {"__type__": "tuple", "items": [1, 2]}
    {"__type__": "dataclass", "class": "shop.orders.Line", "fields": {"article": 7, "count": 2}}

A dict of the caller's own that has the key ``__type__`` is written as pairs, so that nothing can be mistaken. Nothing
is imported to read a value: a class of enums or dataclasses must stand in a module that the process has imported.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django_cluster.core.function_signatures import loaded
from django_cluster.errors import NotSerializable, UnknownFormat

TAG = "__type__"
TAG_BYTES = b'"__type__"'
PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})

Encode = Callable[[Any, "Encoder", str], dict[str, Any]]
Decode = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class JsonType:
    """How the values of one kind are written and read."""

    name: str
    """What stands under ``__type__``."""
    matches: Callable[[Any], bool]
    encode: Encode
    decode: Decode


class Encoder:
    """Values → what ``json.dumps`` can write."""

    def encode(self, value: Any, place: str = "") -> Any:
        """The value as JSON has it. Raises ``NotSerializable``, which names the place of what cannot be written."""
        kind = type(value)
        if kind in PLAIN_TYPES:
            if kind is float and not math.isfinite(value):
                raise NotSerializable(f"{place or 'it'} is {value}, which JSON cannot hold.")
            return value
        if kind is list:
            return [self.encode(each, f"{place}[{index}]") for index, each in enumerate(value)]
        if kind is dict and TAG not in value and all(type(key) is str for key in value):
            return {key: self.encode(each, f"{place}[{key!r}]") for key, each in value.items()}
        for known in (*TYPES, *_registered):
            if known.matches(value):
                return {TAG: known.name, **known.encode(value, self, place)}
        raise NotSerializable(f"{place or 'it'} is of the type {kind.__module__}.{kind.__qualname__}.")


def is_plain(value: Any) -> bool:
    """Whether JSON itself gives this value back; asked before anything is converted, because most values are."""
    kind = type(value)
    if kind in PLAIN_TYPES:
        return True
    if kind is list:
        return all(map(is_plain, value))
    return (
        kind is dict
        and TAG not in value
        and all(type(key) is str for key in value)
        and all(map(is_plain, value.values()))
    )


def dumps(value: Any, place: str = "") -> bytes:
    """The JSON of a value, in ASCII. Raises ``NotSerializable``, ``ValueError`` and ``RecursionError``."""
    found = value if is_plain(value) else Encoder().encode(value, place)
    return json.dumps(found, separators=(",", ":"), allow_nan=False).encode("ascii")


def dumps_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The JSON of ``[args, kwargs]``; an error says which argument it is. Raises as ``dumps``."""
    pair: list[Any] = [list(args), dict(kwargs)]
    if not is_plain(pair):
        encoder = Encoder()
        named = {name: encoder.encode(value, f"argument {name!r}") for name, value in kwargs.items()}
        pair = [
            [encoder.encode(value, f"argument {index}") for index, value in enumerate(args, 1)],
            encoder.encode(dict(kwargs)) if TAG in kwargs else named,
        ]
    return json.dumps(pair, separators=(",", ":"), allow_nan=False).encode("ascii")


def loads(data: bytes, *, resolve: bool = True) -> Any:
    """The value of JSON. ``resolve``: references are replaced by what they refer to.

    Raises ``UnknownFormat`` for a type, or a class, that this process does not know, ``ValueError`` for what is no
    JSON, and whatever the constructor of a class raises.
    """
    if TAG_BYTES not in data:
        return json.loads(data)
    return json.loads(data, object_hook=_resolved if resolve else _read)


def _read(found: dict[str, Any]) -> Any:
    name = found.get(TAG)
    if name is None:
        return found
    known = next((each for each in (*TYPES, *_registered) if each.name == name), None)
    if known is None:
        raise UnknownFormat(f"The JSON holds a value of the unknown type {name!r}.")
    return known.decode(found)


def _resolved(found: dict[str, Any]) -> Any:
    value = _read(found)
    return value.resolve() if isinstance(value, Reference) else value


class Reference:
    """Stands for a value that is kept elsewhere; a subclass says where, and fetches it."""

    def resolve(self) -> Any:
        """What it refers to. Raises ``PackageError`` if that is gone."""
        raise NotImplementedError


# ── the types ────────────────────────────────────────────────────────────────────────────────────


def path_of(kind: type) -> str:
    """The dotted path of a class. Raises ``NotSerializable`` for one that is not found again under its name."""
    path = f"{kind.__module__}.{kind.__qualname__}"
    try:
        found = imported_class(path)
    except UnknownFormat:
        found = None
    if found is not kind:
        raise NotSerializable(f"the class {path} cannot be found again under its name.")
    return path


def imported_class(path: str) -> type:
    """The class under a dotted path in a module that is imported already. Raises ``UnknownFormat``."""
    found = loaded(path)
    if not isinstance(found, type):
        raise UnknownFormat(f"The JSON names the class {path}, which this process has not imported.")
    return found


def _of_class(path: object, is_one: Callable[[Any], bool], called: str) -> Any:
    found = imported_class(str(path))
    if not is_one(found):
        raise UnknownFormat(f"The JSON names {path} as {called}, which it is not.")
    return found


def _is_enum_class(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Enum)


def _encode_pairs(value: Any, encoder: Encoder, place: str) -> dict[str, Any]:
    pairs = [
        [encoder.encode(k, f"a key of {place or 'it'}"), encoder.encode(v, f"{place}[{k!r}]")] for k, v in value.items()
    ]
    return {"items": pairs}


def _encode_items(value: Any, encoder: Encoder, place: str) -> dict[str, Any]:
    return {"items": [encoder.encode(each, f"{place}[{index}]") for index, each in enumerate(value)]}


def _encode_time(value: datetime | time, _encoder: Encoder, _place: str) -> dict[str, Any]:
    """ISO 8601, and what that leaves out: the name of the zone, and which of two equal readings of a clock it is."""
    zone = {"zone": value.tzinfo.key} if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key else {}
    fold = {"fold": 1} if value.fold else {}
    return {"value": value.isoformat(), **zone, **fold}


def _decode_moment(found: Mapping[str, Any]) -> datetime:
    """A datetime of the same moment, also where the rules of its zone have changed since it was written."""
    written = datetime.fromisoformat(found["value"]).replace(fold=found.get("fold", 0))
    if "zone" not in found:
        return written
    local = written.replace(tzinfo=ZoneInfo(found["zone"]))
    return local if local.utcoffset() == written.utcoffset() else written.astimezone(local.tzinfo)


def _decode_time(found: Mapping[str, Any]) -> time:
    written = time.fromisoformat(found["value"]).replace(fold=found.get("fold", 0))
    return written.replace(tzinfo=ZoneInfo(found["zone"])) if "zone" in found else written


def _encode_dataclass(value: Any, encoder: Encoder, place: str) -> dict[str, Any]:
    parts = {
        each.name: encoder.encode(getattr(value, each.name), f"{place}.{each.name}")
        for each in fields(value)
        if each.init
    }
    return {"class": path_of(type(value)), "fields": parts}


def zone_key(value: ZoneInfo) -> str:
    """The name of a time zone. Raises ``NotSerializable`` for one that was read from a file, which has none."""
    if value.key is None:
        raise NotSerializable("a time zone without a name cannot be written.")
    return value.key


def _offset(value: timezone) -> float:
    return value.utcoffset(None).total_seconds()


def exactly(*kinds: type) -> Callable[[Any], bool]:
    """Whether a value is of one of these classes itself, and not of a subclass."""
    return lambda value: type(value) in kinds


def _value(write: Callable[[Any], Any]) -> Encode:
    return lambda value, _encoder, _place: {"value": write(value)}


TYPES = (
    JsonType("dict", exactly(dict), _encode_pairs, lambda found: dict(found["items"])),
    JsonType("tuple", exactly(tuple), _encode_items, lambda found: tuple(found["items"])),
    JsonType("set", exactly(set), _encode_items, lambda found: set(found["items"])),
    JsonType("frozenset", exactly(frozenset), _encode_items, lambda found: frozenset(found["items"])),
    JsonType("datetime", exactly(datetime), _encode_time, _decode_moment),
    JsonType("date", exactly(date), _value(date.isoformat), lambda found: date.fromisoformat(found["value"])),
    JsonType("time", exactly(time), _encode_time, _decode_time),
    JsonType(
        "timedelta",
        exactly(timedelta),
        _value(lambda value: [value.days, value.seconds, value.microseconds]),
        lambda found: timedelta(*found["value"]),
    ),
    JsonType("zone", exactly(ZoneInfo), _value(zone_key), lambda found: ZoneInfo(found["value"])),
    JsonType("timezone", exactly(timezone), _value(_offset), lambda found: timezone(timedelta(seconds=found["value"]))),
    JsonType("Decimal", exactly(Decimal), _value(str), lambda found: Decimal(found["value"])),
    JsonType("UUID", exactly(UUID), _value(lambda value: value.hex), lambda found: UUID(found["value"])),
    JsonType(
        "bytes",
        exactly(bytes),
        _value(lambda value: base64.b64encode(value).decode("ascii")),
        lambda found: base64.b64decode(found["value"], validate=True),
    ),
    JsonType(
        "enum",
        lambda value: isinstance(value, Enum),
        lambda value, _encoder, _place: {"class": path_of(type(value)), "name": value.name},
        lambda found: _of_class(found["class"], _is_enum_class, "an enum")[found["name"]],
    ),
    JsonType(
        "dataclass",
        lambda value: is_dataclass(value) and not isinstance(value, type),
        _encode_dataclass,
        lambda found: _of_class(found["class"], is_dataclass, "a dataclass")(**found["fields"]),
    ),
    JsonType("text", lambda value: isinstance(value, str), _value(str.__str__), lambda found: str(found["value"])),
)
"""The first that matches writes a value."""

_registered: list[JsonType] = []


def register(json_type: JsonType) -> None:
    """Have values of a further kind written and read; a type of the same name is replaced."""
    _registered[:] = [each for each in _registered if each.name != json_type.name] + [json_type]
