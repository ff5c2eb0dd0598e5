"""What is hidden of values and of texts where people see them."""

from __future__ import annotations

import re
import time
import traceback
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.views.debug import SafeExceptionReporterFilter
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core import redaction
from django_cluster.core.redaction import DJANGO_NAMES, Redactor, parameter_names

SECRET = "hush-77"
redactor = Redactor()


@dataclass
class Account:
    user: str
    password: str
    note: str = field(default=SECRET, repr=False)


Login = namedtuple("Login", "user api_key")


class Talkative:
    def __repr__(self) -> str:
        return f"Talkative(token={SECRET!r}, size=3)"


def log_in(user: str, password: str, *secrets: str, token: str = "") -> None:
    """Its parameters have names."""


class Bank:
    @classmethod
    def pay(cls, user: str, secret: str) -> None:
        """Whoever calls it does not give the class."""

    @staticmethod
    def book(user: str, secret: str) -> None:
        """Nor here."""


def test_the_names_are_those_of_django() -> None:
    assert SafeExceptionReporterFilter.hidden_settings.pattern == DJANGO_NAMES.pattern


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": SECRET, "size": 3}, "{'password': '********', 'size': 3}"),
        ({"a": [{"b": ({"Api-Key": SECRET},)}]}, "{'a': [{'b': ({'Api-Key': '********'},)}]}"),
        (OrderedDict(auth={"user": 1}), "{'auth': '********'}"),
        ({b"token": SECRET}, "{b'token': '********'}"),
        (Account("bob", SECRET), "Account(user='bob', password='********')"),
        ([Login("bob", SECRET)], "[Login(user='bob', api_key='********')]"),
        (Talkative(), "Talkative(token='********', size=3)"),
        (f"redis://:{SECRET}@h/0", "'redis://:********@h/0'"),
        (f"Bearer {SECRET}", "'Bearer ********'"),
        ({f"x=1&secret={SECRET}"}, "{'x=1&secret=********'}"),
        ((1, 2.5, None, True, b"x"), "(1, 2.5, None, True, b'x')"),
        ([("Authorization", SECRET), ("Accept", "text")], "[('Authorization', '********'), ('Accept', 'text')]"),
        ((b"x-token", SECRET), "(b'x-token', '********')"),
        (["psql", "--password", SECRET, "shop"], "['psql', '--password', '********', 'shop']"),
        (("--user", "bob", "--db-password"), "('--user', 'bob', '--db-password')"),
        (frozenset({1}), "frozenset({1})"),
        (set(), "set()"),
    ],
)
def test_values_are_hidden_by_the_name_beside_them(value: object, shown: str) -> None:
    assert repr(redactor.value(value)) == shown
    assert SECRET not in redactor.written(value)


def test_what_is_shown_is_a_copy() -> None:
    value = {"password": SECRET, "list": [{"key": SECRET}]}

    redactor.value(value)

    assert value == {"password": SECRET, "list": [{"key": SECRET}]}


def test_a_cycle_has_an_end() -> None:
    value: dict[str, Any] = {"a": 1}
    value["self"] = value

    assert repr(redactor.value(value)) == "{'a': 1, 'self': ...}"


def test_a_huge_value_is_not_looked_at_to_its_end() -> None:
    value = [[0] * 1000] * 100_000
    began = time.process_time()

    shown = redactor.value(value)

    assert repr(shown).endswith("...]")
    assert time.process_time() - began < 5


def test_positional_arguments_have_the_names_of_their_parameters() -> None:
    path = f"{__name__}.log_in"

    assert redactor.args(path, ("bob", SECRET, SECRET, SECRET)) == ("bob", "********", "********", "********")
    assert redactor.args(f"{__name__}.Bank.pay", ("bob", SECRET)) == ("bob", "********")
    assert redactor.args(f"{__name__}.Bank.book", ("bob", SECRET)) == ("bob", "********")
    assert parameter_names("a.module.that.is.not.loaded", 2) == ["", ""]
    assert parameter_names(f"{__name__}.missing", 1) == [""]
    assert parameter_names("operator.not_", 1) == ["a"]


def test_a_project_may_hide_more() -> None:
    more = Redactor(more=("Iban",))

    assert repr(more.value({"iban_of_bob": SECRET, "n": 1})) == "{'iban_of_bob': '********', 'n': 1}"
    assert more.text(f"bad iban={SECRET}") == "bad iban=********"


@pytest.mark.parametrize("cleanse", [lambda name, value: "***" if name == "card" else value, lambda name, value: 1 / 0])
def test_a_projects_own_rule_decides_and_may_fail(cleanse: Any) -> None:
    own = Redactor(names=re.compile("nothing at all"), cleanse=cleanse)

    assert SECRET not in repr(own.value({"card": SECRET}))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad password='{SECRET}' for bob", "bad password='********' for bob"),
        (f"{{'password': '{SECRET}\\'x', 'a': 1}}", "{'password': '********', 'a': 1}"),
        (f'{{"token": {{"a": ["{SECRET}", 2]}}, "b": 2}}', '{"token": ********, "b": 2}'),
        (f'{{\\"password\\": \\"{SECRET}\\", \\"a\\": 1}}', '{\\"password\\": ********, \\"a\\": 1}'),
        (f"Authorization: Basic {SECRET} rest", "Authorization: ******** rest"),
        (f"X-Api-Key: {SECRET}", "X-Api-Key: ********"),
        (f"GET /?a=1&access_token={SECRET}&b=2", "GET /?a=1&access_token=********&b=2"),
        (f"Key (password)=({SECRET}) already exists.", "Key (password)=******** already exists."),
        (f"cut off: secret='{SECRET}", "cut off: secret='********'"),
        (f"mysql --user bob --password {SECRET} --batch", "mysql --user bob --password ******** --batch"),
        (
            f"Command '['mysql', '--password', '{SECRET}']' failed",
            "Command '['mysql', '--password', '********']' failed",
        ),
        (f"mysql --password={SECRET} --batch", "mysql --password=******** --batch"),
        (f"--api-key='{SECRET} {SECRET}' --size=3", "--api-key=******** --size=3"),
        (f"with bearer {SECRET}", "with bearer ********"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.abc end", "jwt ******** end"),
        (f"cannot reach amqp://bob:{SECRET}@h:1/", "cannot reach amqp://bob:********@h:1/"),
    ],
)
def test_credentials_in_a_text_are_hidden(text: str, shown: str) -> None:
    assert redactor.text(text) == shown
    assert redactor.text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'name'",
        "app.errors.AuthFailed: no such user",
        "a == b, and key == other",
        "password is required, token=None",
        "Passengers (3): 1, 2, 3",
        "https://example.org/page?x=1",
        "no such card",
    ],
)
def test_what_is_no_credential_is_left_alone(text: str) -> None:
    assert redactor.text(text) == text


def test_a_traceback_keeps_its_names_and_loses_its_literals() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/app/tasks.py", line 3, in work\n'
        f'    log_in(user, password=password, token="{SECRET}")\n'
        f"ValueError: password={SECRET}\n"
    )

    assert redactor.traceback(text) == text.replace(f'"{SECRET}"', '"********"').replace(f"={SECRET}", "=********")


def test_the_traceback_of_a_group_shows_no_credential() -> None:
    try:
        try:
            raise ValueError(f"password={SECRET}")
        except ValueError as error:
            error.add_note(f"api_key: {SECRET}")
            inner = ExceptionGroup("inner", [OSError(f"token={SECRET}"), error])
        raise ExceptionGroup(f"secret={SECRET}", [KeyError(f"secret={SECRET}"), inner])
    except ExceptionGroup as group:
        text = "".join(traceback.format_exception(group))

    found = redactor.traceback(text)

    assert SECRET not in found
    assert len(found.splitlines()) == len(text.splitlines())


@given(st.text())
def test_any_text_is_redacted_without_an_error(text: str) -> None:
    redactor.text(text)
    redactor.traceback(text)


@pytest.mark.parametrize(
    "piece",
    ["key=(", "password='", "a://x:", "?token", ";", "token=\\\\", "bearer ", "a.b-c", "eyJaaaaa.", "key:[", "@a://x:"],
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.process_time()

    redactor.text("://=:" + piece * 20_000)
    redactor.traceback('  File "x"\n    ' + piece * 20_000)

    assert time.process_time() - began < 5


def test_broken_rules_hide_what_django_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_provider", lambda: 1 / 0)

    assert redaction.redactor() == Redactor()


@pytest.mark.parametrize("secret", [f"redis://:{SECRET}@h/0", f"password='{SECRET}'", f"Bearer {SECRET}"])
def test_a_credential_at_the_end_of_what_is_shown_is_hidden(secret: str) -> None:
    for place in range(len(secret) + 2):
        text = "x" * (redaction.MOST_TEXT - place - 1) + " " + secret + " and more"

        assert not any(SECRET[:length] in redactor.text(text) for length in (3, len(SECRET)))
