"""Credentials in running text: found by the name before them, or by their form. Text in, text out."""

from __future__ import annotations

import re
from collections.abc import Callable

from django_cluster.core.masking import MASK, mask_urls

Hides = Callable[[str], bool]
"""Whether a value of this name is hidden."""

_PAIR = re.compile(
    r"""(?<![\w.\-])(?P<name>[A-Za-z_][\w.\-]{0,99})   # password, "x-api-key", user.token
        (?:\\*["'`\]])*                                # quotes around it
        (?:[ \t]{0,3}(?P<sign>=>|=(?!=)|:(?![:/]))[ \t]{0,3}  # password=…, 'password': …, "password" => …
          |\)\s?(?P<detail>=)\s?(?=\())                # PostgreSQL: Key (password)=(…)
    """,
    re.VERBOSE,
)
_FLAG = re.compile(
    r"""(?<![\w\-])(--[A-Za-z][\w\-]{0,60})(?:(['"]?,?[ \t]{1,3}['"]?)(?![-*])[^\s'",\]]+
    |(=)(?!\*)(?:"[^"\n]*"|'[^'\n]*'|[^\s'",\]]+))""",
    re.VERBOSE,
)
"""``--password hush``, ``--password=hush``, also in a list of arguments: how a program that failed was called."""
_OF_A_GROUP = re.compile(r" *\| ")
"""Stands before each line of the traceback of an exception group, which are all read as running text."""
_BEARER = re.compile(r"\b(bearer)(\s+)(?!\*)[^\s'\",;)\]}]+", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w\-]{5,}\.[\w\-]+(?:\.[\w\-]*)?")
_CLASS_NAME = re.compile(r"(?:^|\.)[A-Z]\w*(?:Error|Exception|Warning|Exit|Interrupt)$|\.[A-Z]\w*$")
"""``KeyError: …``, ``app.errors.AuthFailed: …``: the name of an exception, and no name of a value."""
_SCHEMES = re.compile(r"(?:bearer|basic|token|digest|negotiate|apikey)\s+", re.IGNORECASE)
_BARE = re.compile(r"""[^\s,;&"'`<>()\[\]{}]*""")
_OPENING, _CLOSING = "([{", ")]}"
_LITERAL = frozenset("\"'`")
_QUOTES = "\"'`"
_PREFIX = re.compile(r"(?:[bBuUrRfF]{1,2}(?=[\"']))?")
_HARMLESS = frozenset({"", "None", "True", "False", "null", "true", "false", MASK})
MARGIN = 1000
"""Characters behind the end of what is shown, which may belong to a credential that begins there."""
LONGEST_LINE = 5000
"""Characters of one line of a traceback that are looked at; the rest is cut off."""


def redacted_text(text: str, hides: Hides | None, limit: int) -> str:
    """The text without credentials, and no longer than ``limit`` characters, but for an ellipsis.

    ``hides``: None where no name in the text hides anything.
    """
    if len(text) > limit:  # a little more is looked at: a credential that is cut in two could not be told
        found = redacted_text(text[: limit + MARGIN], hides, limit + MARGIN)
        return f"{found[:limit]}…"
    if not any(sign in text for sign in ("=", ":", "earer", "EARER", "eyJ", "--")):
        return text
    text = mask_urls(text)
    if "earer" in text or "EARER" in text:
        text = _BEARER.sub(rf"\1\2{MASK}", text)
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    if hides is not None and "--" in text:
        text = _FLAG.sub(lambda found: f"{found[1]}{found[2] or found[3]}{MASK}" if hides(found[1]) else found[0], text)
    if hides is None or ("=" not in text and ":" not in text):
        return text
    return _without_pairs(text, hides, literals_only=False)


def redacted_traceback(text: str, hides: Hides) -> str:
    """A traceback without credentials; names of variables in its source lines stay."""
    lines, in_frame = [], False
    for line in text.split("\n"):
        if in_frame and line.startswith("    ") and _OF_A_GROUP.match(line) is None:
            line = _without_pairs(mask_urls(line[:LONGEST_LINE]), hides, literals_only=True)
        else:
            in_frame = line.lstrip(" |+-").startswith('File "')
            line = line if in_frame else redacted_text(line, hides, LONGEST_LINE)
        lines.append(line)
    return "\n".join(lines)


def _without_pairs(text: str, hides: Hides, *, literals_only: bool) -> str:
    kept, done = [], 0
    for found in _PAIR.finditer(text):
        start = found.end()
        if start < done or not hides(found["name"]) or _is_class(found):
            continue
        if literals_only and not _is_literal(text, start):
            continue
        begin, end = _value_at(text, start)
        if end <= begin or text[begin:end] in _HARMLESS:
            continue
        kept += [text[done:start], _masked(text[start:end])]
        done = end
    return "".join([*kept, text[done:]])


def _is_literal(text: str, start: int) -> bool:
    begin = _PREFIX.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text
    return text[begin : begin + 1] in _LITERAL


def _is_class(found: re.Match[str]) -> bool:
    return found["sign"] == ":" and _CLASS_NAME.search(found["name"]) is not None


def _masked(value: str) -> str:
    """In the quotes that it had."""
    quote = value[:1]
    return f"{quote}{MASK}{quote}" if quote and quote in _QUOTES else MASK


def _value_at(text: str, start: int) -> tuple[int, int]:
    """Where the value that begins here does begin, and where it ends: a literal, brackets, or a word."""
    begin = _PREFIX.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text
    if text[begin : begin + 1] in ("\\",):
        return begin, _end_of_escaped(text, begin)
    first = text[begin : begin + 1]
    if first and first in _QUOTES:
        return begin, _end_of_quoted(text, begin)
    if first and first in _OPENING:
        return start, _end_of_brackets(text, begin)
    scheme = _SCHEMES.match(text, start)
    begin = scheme.end() if scheme else start
    return start, _BARE.match(text, begin).end()  # type: ignore[union-attr]  # it matches the empty text


def _end_of_quoted(text: str, start: int) -> int:
    """Behind the closing quote; a text that was cut off ends where it ends."""
    quote = text[start]
    if text.startswith(quote * 3, start):
        end = text.find(quote * 3, start + 3)
        return len(text) if end < 0 else end + 3
    place = start + 1
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == quote:
            return place + 1
        place += 1
    return len(text)


def _end_of_escaped(text: str, start: int) -> int:
    """Quotes around a text inside another text: ``\\"hush\\"``."""
    opening = re.compile(r"\\+[\"']").match(text, start)
    if opening is None:
        return _BARE.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text
    end = text.find(opening[0], opening.end())
    return len(text) if end < 0 else end + len(opening[0])


def _end_of_brackets(text: str, start: int) -> int:
    """Behind the bracket that closes the first one."""
    depth, place = 0, start
    while place < len(text):
        char = text[place]
        if char in _QUOTES:
            place = _end_of_quoted(text, place)
            continue
        depth += (char in _OPENING) - (char in _CLOSING)
        place += 1
        if depth == 0:
            return place
    return len(text)
