"""Mappings that may be printed: credentials do not show in their ``repr``.

Names choose what is shown, not what is masked: a credential under an unknown name is masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "********"

_USER_INFO = re.compile(
    r"""(?<![A-Za-z0-9+.\-])([A-Za-z0-9+.\-]+://)   # the scheme
        (?:([^\s:/?\#@'"<>]+):(?!\d{1,5}(?:[/?]|\#))[^\s'"<>]*   # a user and a password, but no host and port
          |():[^\s'"<>]*                   # a password alone
          |[^\s:/?\#@'"<>]+)@              # one word, such as a key of Sentry
    """,
    re.VERBOSE,
)
_QUERY = re.compile(
    r"""([?&;][^=&?;\s#]{0,50}(?:TOKEN|KEY|SECRET|PASS|SIGNATURE|CREDENTIAL)[^=&?;\s#]{0,50}=)[^&\s#'"<>]+""",
    re.IGNORECASE,
)
_WORD = re.compile(r"""[^\s'"<>]+""")
_NOT_IN_URLS = re.compile(r"""[\s'"<>]""")


def mask_urls(text: str) -> str:
    """The text, with the credentials of the URLs in it masked: ``redis://:********@host``.

    Scheme, user, host, port and path stay. A password that is not quoted as it should be ends at the last ``@``.
    """
    if "://" not in text:
        return text
    return _WORD.sub(_masked_word, text)


def _masked_word(found: re.Match[str]) -> str:
    """What stands between two spaces. Only what is followed by an ``@`` is looked at, so that no text takes long."""
    word = found[0]
    if "://" not in word:
        return word
    end = word.rfind("@") + 1
    word = _USER_INFO.sub(_without_password, word[:end]) + word[end:]
    return _QUERY.sub(rf"\1{MASK}", word) if "=" in word else word


def _without_password(found: re.Match[str]) -> str:
    scheme, user = found[1], found[2]
    return f"{scheme}{MASK}@" if user is None and found[3] is None else f"{scheme}{user or ''}:{MASK}@"


def _masked_url(url: str) -> str:
    """One URL as it was configured: a password in it may hold spaces and quotes."""
    scheme, _, rest = url.partition("://")
    info, at, host = rest.rpartition("@")
    return mask_urls(f"{scheme}://{_NOT_IN_URLS.sub('_', info)}{at}{host}")


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


ADDRESSES = frozenset({"nodes", "sentinels", "url"})
"""Names of options that list servers: URLs, texts such as ``host:port``, and pairs of a host and a port."""


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
    """The masked value as plain dicts and lists, for libraries that check types."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _shown(key: str, value: Any) -> str:
    """The value as it may be printed; of a URL, all but its credentials."""
    if isinstance(value, MaskedMapping) or value is None or isinstance(value, bool):
        return repr(value)
    if key in ADDRESSES and isinstance(value, tuple):
        return f"({', '.join(_address(each) for each in value)})"
    if isinstance(value, str) and "://" in value:
        return repr(_masked_url(value)) if key in ("url", "host") else repr(MASK)
    harmless = isinstance(value, (int, float)) or (isinstance(value, str) and "@" not in value)
    return repr(value) if key in SHOWN and harmless else repr(MASK)


def _address(value: Any) -> str:
    """One server of a list."""
    if isinstance(value, tuple):
        return f"({', '.join(_address(each) for each in value)})"
    if isinstance(value, str):
        return repr(_masked_url(value)) if "://" in value else repr(MASK if "@" in value else value)
    return repr(value) if isinstance(value, int) else repr(MASK)
