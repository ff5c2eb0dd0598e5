"""Mappings that may be printed: credentials do not show in their ``repr``.

What is shown is chosen by name, not what is hidden: a credential under a name that nobody thought of
stays hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MASK = "********"

SHOWN = frozenset(
    {
        "alias",
        "aws_region",
        "blocking_timeout",
        "cache",
        "database",
        "db",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "environment",
        "exchange",
        "health_check_interval",
        "host",
        "max_connections",
        "port",
        "prefetch_count",
        "region_name",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "ssl",
        "unix_socket_path",
    }
)
"""Names of connection options whose values are worth seeing and hold no secret."""


class MaskedMapping(Mapping[str, Any]):
    """A mapping that cannot be changed, can be pickled and compared, and masks its values when printed."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = {key: _frozen(value) for key, value in (items or {}).items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: {_shown(key, value)}" for key, value in self._items.items()) + "}"


def _frozen(value: Any) -> Any:
    """Mappings inside are masked and frozen as well, lists become tuples."""
    if isinstance(value, Mapping):
        return MaskedMapping(value)
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def plain(value: Any) -> Any:
    """The same in dicts and lists, for libraries that look at the type of what they are given."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _shown(key: str, value: Any) -> str:
    """The value as it may be printed; of a URL, only the scheme."""
    if isinstance(value, MaskedMapping) or value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str) and "://" in value:
        return repr(f"{value.partition('://')[0]}://{MASK}") if key in ("url", "host") else repr(MASK)
    harmless = isinstance(value, (int, float)) or (isinstance(value, str) and "@" not in value)
    return repr(value) if key in SHOWN and harmless else repr(MASK)
