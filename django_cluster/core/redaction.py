"""Values and texts as people may see them: what may be a credential is replaced by ``********``.

What is hidden is chosen by the name beside it, with Django's own rules for settings and request data
(``SafeExceptionReporterFilter.hidden_settings``): the name of an argument, the key of a mapping, the field of a
dataclass. In running text (error messages, tracebacks, log lines) the same names are looked for before ``=`` and ``:``,
and URLs with a password, bearer tokens and JSON web tokens are found by their form.

Nothing that is stored or sent is changed: only what is shown.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from pprint import pformat
from typing import Any

from django_cluster.core.masking import MASK
from django_cluster.core.text_redaction import redacted_text, redacted_traceback

DJANGO_NAMES = re.compile("API|AUTH|TOKEN|KEY|SECRET|PASS|SIGNATURE|HTTP_COOKIE", re.IGNORECASE)
"""``SafeExceptionReporterFilter.hidden_settings`` of Django 5.2 to 6.1."""
HIDDEN = "hidden"
MOST_VALUES = 20_000
"""Values inside of a value that are looked at; of more, three dots are shown."""
MOST_TEXT = 20_000
"""Characters of one text that are looked at; the rest is cut off."""
DEEPEST = 50
"""Nested containers that are looked into; deeper ones are shown as three dots."""
WIDTH = 100


class RawRepr:
    """Stands in a container for a value, and is printed as this text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


ELLIPSIS = RawRepr("...")


@dataclass(frozen=True, slots=True)
class Redactor:
    """Decides by names what is hidden. Without arguments: by Django's own rules."""

    names: re.Pattern[str] = DJANGO_NAMES
    """A name in which this is found (``search``) hides the value beside it."""
    cleanse: Callable[[str, object], object] | None = None
    """A project's own ``cleanse_setting(name, value)``: a value that it replaces is hidden. It may raise."""
    more: tuple[str, ...] = ()
    """Further parts of names, case-insensitive."""

    def hides(self, name: object, value: object = "") -> bool:
        """Whether a value of this name is hidden."""
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or not text:
            return False
        if self.names.search(text) or any(part.lower() in text.lower() for part in self.more):
            return True
        if self.cleanse is None:
            return False
        try:
            kept = self.cleanse(text, value)
        except Exception:  # noqa: BLE001  the project's own code: rather too little is shown than too much
            return True
        if isinstance(value, (Mapping, list, tuple)):  # Django builds these anew, with what is hidden inside
            return isinstance(kept, str)
        return kept is not value and kept != value

    # ── texts ────────────────────────────────────────────────────────────────────────────────────

    def text(self, text: str) -> str:
        """A running text, such as an error message or a log line, of which no more is kept than ``MOST_TEXT``."""
        return redacted_text(text, self.hides if self._may_be_named(text) else None, MOST_TEXT)

    def traceback(self, text: str) -> str:
        """A traceback: in its lines of source code, only literal values are hidden."""
        return redacted_traceback(text, self.hides)

    def _may_be_named(self, text: str) -> bool:
        """Whether a name that hides something can be in the text: most texts need no closer look."""
        if self.names.pattern != DJANGO_NAMES.pattern or self.more or self.cleanse is not None:
            return True  # the project's own rules may hold for a name and not for what surrounds it
        return self.names.search(text) is not None

    # ── values ───────────────────────────────────────────────────────────────────────────────────

    def value(self, value: object, name: object = "") -> object:
        """A value for ``repr`` and ``pformat``, in which credentials are hidden; never changes what it is given.

        Calls ``__repr__`` of values that are no containers, which may raise.
        """
        return MASK if self.hides(name, value) else _Walk(self).shown(value)

    def written(self, value: object, name: object = "") -> str:
        """The value as Python would write it, in several lines where one would be longer than ``WIDTH``."""
        kept = self.value(value, name)
        line = repr(kept)
        return line if not WIDTH < len(line) <= MOST_TEXT else pformat(kept, width=WIDTH, sort_dicts=False)

    def args(self, func: str, args: Iterable[object]) -> tuple[object, ...]:
        """Positional arguments, for ``repr``: each has the name of its parameter, if the function is imported here."""
        args = tuple(args)
        names = parameter_names(func, len(args))
        return tuple(self.value(value, name) for value, name in zip(args, names, strict=True))

    def kwargs(self, kwargs: Mapping[str, object]) -> dict[str, object]:
        """Keyword arguments, for ``repr``."""
        return {name: self.value(value, name) for name, value in kwargs.items()}


class _Walk:
    """One look through one value: bounded in size and in depth, and not confused by cycles."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor, self._left, self._open = redactor, MOST_VALUES, set[int]()

    def shown(self, value: Any, name: object = "") -> object:
        self._left -= 1
        if self._left < 0:
            return ELLIPSIS
        if name and self._redactor.hides(name, value):
            return MASK
        if value is None or isinstance(value, (bool, int, float, complex)):
            return value
        if isinstance(value, str):
            return self._redactor.text(str(value))
        if id(value) in self._open or len(self._open) >= DEEPEST:
            return ELLIPSIS
        self._open.add(id(value))
        try:
            return self._inside(value)
        finally:
            self._open.discard(id(value))

    def _inside(self, value: Any) -> object:
        if isinstance(value, Mapping):
            items = islice(value.items(), max(0, self._left) + 1)
            return {_key(key): self.shown(each, key) for key, each in items}
        if is_dataclass(value) and not isinstance(value, type) and _has_own_form(value):
            shown = [each.name for each in fields(value) if each.repr]
            return self._call(type(value).__qualname__, ((name, getattr(value, name, ELLIPSIS)) for name in shown))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._call(type(value).__name__, zip(value._fields, value, strict=False))
        if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], (str, bytes)):
            pair = (self.shown(value[0]), self.shown(value[1], value[0]))  # of a header, or of an item of a mapping
            return pair if isinstance(value, tuple) else list(pair)
        if isinstance(value, (list, tuple)):
            each = self._sequence(value)
            return tuple(each) if isinstance(value, tuple) else each
        if isinstance(value, AbstractSet):
            return self._set(value)
        return RawRepr(self._redactor.text(repr(value)))

    def _sequence(self, value: Iterable[Any]) -> list[object]:
        """What follows a flag such as ``--password`` has its name: so are programs called."""
        shown, name = [], ""
        for item in islice(value, max(0, self._left) + 1):
            shown.append(self.shown(item, name))
            name = item if isinstance(item, str) and item.startswith("--") else ""
        return shown

    def _set(self, value: AbstractSet[Any]) -> object:
        items = ", ".join(repr(self.shown(item)) for item in islice(value, max(0, self._left) + 1))
        name = type(value).__name__
        if not items:
            return RawRepr(f"{name}()")
        return RawRepr(f"{{{items}}}" if name == "set" else f"{name}({{{items}}})")

    def _call(self, name: str, parts: Iterable[tuple[str, object]]) -> RawRepr:
        return RawRepr(f"{name}({', '.join(f'{key}={self.shown(value, key)!r}' for key, value in parts)})")


def _has_own_form(value: Any) -> bool:
    """Whether the ``repr`` of a dataclass is that of dataclasses."""
    return bool(value.__dataclass_params__.repr)


def _key(key: object) -> object:
    return key if isinstance(key, (str, int, float, bytes, type(None))) else RawRepr(repr(key))


def parameter_names(func: str, count: int) -> list[str]:
    """The names of the first ``count`` positional parameters of the function with this path; empty where unknown.

    Imports nothing and calls nothing: what is not in ``sys.modules`` is unknown.
    """
    names = [""] * count
    found = _loaded(func)
    if found is None or not count:
        return names
    try:
        if isinstance(found, classmethod):  # as it stands in its class; who calls it does not give the class
            parameters = list(inspect.signature(found.__func__).parameters.values())[1:]
        else:
            parameters = list(inspect.signature(found).parameters.values())
    except (ValueError, TypeError):
        return names
    for place, parameter in enumerate(parameters):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return names[:place] + [parameter.name] * (count - place)
        if place >= count or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            break
        names[place] = parameter.name
    return names


def _loaded(path: str) -> Any:
    """The object with this dotted path, in modules that are imported already; None if there is none."""
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:end]))
        if module is None:
            continue
        found: Any = module
        try:
            for name in parts[end:]:
                found = inspect.getattr_static(found, name)
        except AttributeError:
            return None
        return found
    return None


# ── whose rules hold in this process ─────────────────────────────────────────────────────────────

_provider: Callable[[], Redactor] = Redactor


def use_redactor(provider: Callable[[], Redactor]) -> None:
    """Let ``redactor()`` return the result of ``provider``. The app calls this with the rules of the project."""
    global _provider
    _provider = provider


def redactor() -> Redactor:
    """The rules of the project; Django's own if none are set or they cannot be read."""
    try:
        return _provider()
    except Exception:  # noqa: BLE001  broken settings: what wants to say so must be able to
        return Redactor()
