"""Which texts every database, page and terminal can hold, and what becomes of the others.

Two characters cannot be kept everywhere: NUL, which PostgreSQL refuses, and half of a surrogate pair (``"\\ud83d"``
alone), which cannot be encoded at all. What a caller names (a task, a group, a function) is refused with them, so that
it can be found again under its name. Other texts (an error message, the header of an unverified message) are cleaned.

Other characters can be kept, and are a danger where they are shown: a line end forges a line of a log, an escape
sequence moves the cursor of a terminal, a bidirectional mark reverses what stands beside it. ``printable`` writes them
out.
"""

from __future__ import annotations

import json
import re

NUL = "\0"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str | None, limit: int | None = None) -> str | None:
    """The text cut to ``limit`` characters, and free of NUL and of lone surrogates."""
    if not text:
        return text
    if limit is not None and len(text) > limit:
        text = text[:limit]
    if text.isascii():
        return text.replace(NUL, REPLACEMENT) if NUL in text else text
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace(NUL, REPLACEMENT)


def require_storable(text: str, what: str) -> str:
    """The text itself. Raises ``ValueError`` for one that cannot be kept everywhere; ``what`` begins the sentence."""
    found = None if text.isascii() and NUL not in text else _IMPOSSIBLE.search(text)
    if found is None:
        return text
    kind = "NUL" if found[0] == NUL else "half of a surrogate pair"
    raise ValueError(
        f"{what} cannot be kept: character {found.start() + 1} of {text[:100]!a} is"
        f" U+{ord(found[0]):04X} ({kind}), which no database keeps."
    )


_INVISIBLE = (
    "\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
"""Control characters, marks that change the direction of text, and what has no width. Joiners are letters to some."""
_UNSAFE = re.compile(f"[\x00-\x1f{_INVISIBLE}]")
_UNSAFE_BUT_LINES = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{_INVISIBLE}]|\r(?!\n)")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, limit: int | None = None) -> str:
    """The text in one line: line ends, control characters and marks of direction as ``\\n``, ``\\x1b``, ``\\u202e``.

    Of more than ``limit`` characters the beginning, and how many there are.
    """
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]}… ({len(text)} characters)"
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """Write characters that could deceive the reader as escapes; line ends and tabulators stay."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE_BUT_LINES.sub(_escaped, text)


def escape_invisible(json_text: str) -> str:
    """One line of JSON with such characters as JSON writes them: no reader takes one of them for the end of a line."""
    return json_text if json_text.isascii() else _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], json_text)


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
