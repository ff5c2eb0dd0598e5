"""The catalogues of other languages: whole, in step with the code, and compiled.

``make messages`` mends what is found here, apart from the translating.
"""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.utils import translation
from django.utils.translation.template import templatize

from django_cluster.core.recurrence import BUILT_IN
from django_cluster.models import Schedule
from django_cluster.models.schedule_description import LABELS
from tests.sources import PACKAGE, modules

LANGUAGES = ["de", "fr", "ru", "tr", "zh_Hans"]
"""Those of Django-Q."""

MARKERS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}
"""Functions whose first argument is a text to be translated."""

IN_TEMPLATES = re.compile(r"""gettext\((u'(?:[^'\\]|\\.)*'|u"(?:[^"\\]|\\.)*")""")
PLACEHOLDERS = re.compile(r"%\(\w+\)[a-z]|%[sd]|\{\w*\}")


class Entry(NamedTuple):
    """One text of a catalogue."""

    text: str
    pattern: str
    """The plural of the text, where it has one: the singular may say its number as a word."""
    forms: list[str]
    """Its translations: one, or one for each plural form."""
    fuzzy: bool


def entries(language: str) -> list[Entry]:
    """What a catalogue says; the header, which has no text, is left out."""
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"
    return [entry for block in path.read_text().split("\n\n") if (entry := entry_of(block)).text]


def entry_of(block: str) -> Entry:
    said: dict[str, str] = {}
    word = ""
    for line in block.splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith('"'):
            word, _, line = line.partition(" ")
        said[word] = said.get(word, "") + ast.literal_eval(line)
    forms = [form for name, form in said.items() if name.startswith("msgstr")]
    text = said.get("msgid", "")
    return Entry(text, said.get("msgid_plural", text), forms, fuzzy="#, fuzzy" in block)


def marked() -> Iterator[Any]:
    """Every text that is marked for translation, in Python and in templates."""
    for module in modules():
        calls = (node for node in module.nodes if isinstance(node, ast.Call))
        named = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id in MARKERS)
        yield from (call.args[0].value for call in named if isinstance(call.args[0], ast.Constant))
    for path in PACKAGE.rglob("*.html"):
        yield from map(ast.literal_eval, IN_TEMPLATES.findall(templatize(path.read_text())))


def test_every_text_of_the_code_is_in_the_catalogues_and_no_other() -> None:
    texts = set(marked())
    assert len(texts) > 100
    for language in LANGUAGES:
        assert {entry.text for entry in entries(language)} == texts, language


def test_the_types_of_schedules_are_in_the_catalogues_too() -> None:
    assert list(LABELS) == [kind.label for kind in BUILT_IN]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    assert [entry.text for entry in entries(language) if entry.fuzzy or not all(entry.forms)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_same_placeholders(language: str) -> None:
    for entry in entries(language):
        wanted = set(PLACEHOLDERS.findall(entry.pattern))
        assert all(set(PLACEHOLDERS.findall(form)) <= wanted for form in entry.forms), entry
        assert set(PLACEHOLDERS.findall(entry.forms[-1])) == wanted, entry


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    compiled = gettext.translation("django", PACKAGE / "locale", [language])
    single = [entry for entry in entries(language) if len(entry.forms) == 1]
    assert {entry.text: compiled.gettext(entry.text) for entry in single} == {e.text: e.forms[0] for e in single}


@pytest.mark.parametrize("language", ["de", "fr", "ru", "tr", "zh-hans"])
def test_django_finds_them(language: str) -> None:
    with translation.override(language):
        names = {str(Schedule._meta.verbose_name_plural), str(translation.gettext("starting"))}
    assert names.isdisjoint({"Scheduled tasks", "scheduled tasks", "starting"})
