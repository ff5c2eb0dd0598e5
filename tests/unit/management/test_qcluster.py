"""What ``manage.py qcluster`` refuses before it starts a process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_cluster.management.commands.qcluster import Command, adjusted
from django_cluster.management.source_watcher import project_directories
from tests.conftest import make_settings


def test_a_library_that_is_missing_is_named_once_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amqp", None)
    for module in ("rabbitmq", "rabbitmq_connection", "rabbitmq_unacked"):
        monkeypatch.delitem(sys.modules, f"django_cluster.brokers.{module}", raising=False)

    broker = override_settings(Q_CLUSTER={"rabbitmq": "amqp://localhost"})
    with broker, pytest.raises(CommandError, match=r"pip install 'django-cluster\[rabbitmq\]'"):
        call_command("qcluster", skip_checks=True)


def test_a_queue_in_memory_is_refused_because_nobody_could_send_to_it() -> None:
    memory = override_settings(Q_CLUSTER={"broker": "memory", "name": "shop"})
    with memory, pytest.raises(CommandError, match="The queue shop is in the memory of the sending process"):
        call_command("qcluster", skip_checks=True)


def test_once_means_until_empty() -> None:
    parser = Command().create_parser("manage.py", "qcluster")

    assert parser.parse_args(["--once"]).until_empty
    assert not parser.parse_args(["--run-once"]).until_empty


def test_a_cluster_that_ends_by_itself_is_not_run_beside_a_server_that_does_not() -> None:
    with pytest.raises(CommandError, match="leave out --until-empty"):
        call_command("qcluster", skip_checks=True, with_runserver="", until_empty=True)


def test_hidden_directories_environments_and_libraries_are_not_watched(tmp_path: Path) -> None:
    for name in ("shop/orders", "shop/__pycache__", ".git", "venv/lib", "node_modules/a", "lib/site-packages"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()

    found = {str(path.relative_to(tmp_path)) for path in project_directories([tmp_path])}

    assert found == {".", "shop", "shop/orders", "lib"}


def test_the_revision_is_found_where_it_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("0123456789abcdef0123456789abcdef01234567\n")
    monkeypatch.chdir(tmp_path)
    options = {"workers": None, "no_scheduler": False, "verbosity": 1}
    given = make_settings(processes={"revision": "release-7"})

    assert adjusted(make_settings(), options).processes.revision == "0123456789ab"
    assert adjusted(given, options).processes.revision == "release-7"
