"""The page of commands names every command, and every option and exit code of ``qcluster``; every option has a text."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import load_command_class
from django.core.management.base import CommandParser

import django_cluster.management.commands
from django_cluster.cluster.supervisor.sentinel import ExitCode
from django_cluster.dashboard import diagnosis
from django_cluster.dashboard.diagnosis.reason import Conclusion

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "commands.md").read_text()
COMMANDS = sorted(path.stem for path in Path(django_cluster.management.commands.__path__[0]).glob("q*.py"))


def own_options(command: str) -> Iterator[argparse.Action]:
    loaded = load_command_class("django_cluster", command)
    parser = CommandParser(add_help=False)
    loaded.add_arguments(parser)
    yield from parser._actions


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_and_each_of_its_options_says_what_it_does(command: str) -> None:
    assert f"`{command}`" in PAGE
    assert load_command_class("django_cluster", command).help
    assert [action.dest for action in own_options(command) if not action.help] == []


def test_the_page_names_every_option_of_qcluster() -> None:
    options = [name for action in own_options("qcluster") for name in action.option_strings]

    assert [name for name in options if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_exit_code_of_qcluster() -> None:
    section = PAGE.partition("### Exit codes")[2].partition("### Logs")[0]
    written = {int(code) for code in re.findall(r"^\| (\d) \|", section, re.MULTILINE)}

    codes = {value for name, value in vars(ExitCode).items() if name.isupper()}
    assert written == codes | {2}  # argparse's


def test_the_page_of_reasons_names_every_code() -> None:
    page = (DOCS / "how-to" / "why-does-my-task-not-run.md").read_text()
    source = "".join(path.read_text() for path in Path(diagnosis.__path__[0]).glob("*.py"))
    codes = set(re.findall(r"Reason\(\s*\"(\w+)\"", source))

    assert len(codes) > 20
    assert sorted(code for code in codes if f"`{code}`" not in page) == []
    assert [f"| {verdict.value} | `{verdict.name.lower()}`" in page for verdict in Conclusion] == [True] * 4
