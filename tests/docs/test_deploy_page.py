"""The configurations of docs/how-to/deploy.md can be read, agree with the cluster, and its commands run.

Whether a cluster behind them starts and stops as the page says is tried in ``tests/e2e/test_deployment.py``.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command, load_command_class

from django_cluster.conf import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md").read_text()
CLOSING_SECONDS = 4
"""What a stop may take longer than ``shutdown_timeout``."""


def blocks(language: str) -> list[str]:
    """The examples of a language, in the order of the page, without the margin that a list gives them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{margin}", "", body, flags=re.MULTILINE) for margin, body in found]


def ini(title: str) -> ConfigParser:
    """The one configuration that has a section of this title."""
    (text,) = [each for each in blocks("ini") if f"[{title}]" in each]
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def accept(command: str) -> None:
    """Fail unless the command is one of ours, or of Django, and its options are understood."""
    words = shlex.split(command)
    name, arguments = words[words.index("manage.py") + 1], words[words.index("manage.py") + 2 :]
    if name.startswith("q"):
        load_command_class("django_cluster", name).create_parser("manage.py", name).parse_args(arguments)


@pytest.fixture
def longest_stop(settings: Any) -> float:
    """Seconds within which a cluster with the default settings has stopped."""
    settings.Q_CLUSTER = {}
    return load_settings().processes.shutdown_timeout + CLOSING_SECONDS


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    (unit,) = [each for each in blocks("ini") if "[Service]" in each]
    file = tmp_path / "qcluster.service"
    file.write_text(unit.replace("/srv/shop/.venv/bin/python", sys.executable).replace("User=shop", "User=root"))

    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)

    assert [line for line in done.stderr.splitlines() if file.name in line] == []


def test_systemd_waits_for_the_whole_stop(longest_stop: float) -> None:
    service = ini("Service")["Service"]

    assert float(service["TimeoutStopSec"]) > longest_stop
    accept(service["ExecStart"])


def test_supervisor_waits_for_the_whole_stop(longest_stop: float) -> None:
    program = ini("program:qcluster")["program:qcluster"]

    assert float(program["stopwaitsecs"]) > longest_stop
    assert program["stopsignal"] == "TERM"
    accept(program["command"])


def test_compose_waits_for_the_whole_stop(longest_stop: float) -> None:
    (worker,) = [yaml.safe_load(each)["services"]["worker"] for each in blocks("yaml") if "services:" in each]

    assert float(worker["stop_grace_period"].removesuffix("s")) > longest_stop
    accept(shlex.join(worker["command"]))


def test_the_pod_waits_for_the_whole_stop_and_asks_for_its_own_cluster(longest_stop: float) -> None:
    (deployment,) = [yaml.safe_load(each) for each in blocks("yaml") if "kind: Deployment" in each]
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]

    assert template["spec"]["terminationGracePeriodSeconds"] > longest_stop
    assert template["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert container["startupProbe"]["exec"]["command"] == ["python", "manage.py", "qhealth", "--here"]
    accept(shlex.join(container["command"]))


def test_the_variables_of_the_page_are_settings(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.Q_CLUSTER = {}
    variables = dict(re.findall(r"name: (Q_CLUSTER_\w+), value: \"(\w+)\"", PAGE))
    variables |= dict(re.findall(r"(Q_CLUSTER_\w+)=(\w+)", PAGE))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert variables == {"Q_CLUSTER_WORKERS": "2"}
    assert load_settings().processes.workers == 2


def test_the_image_starts_the_cluster_without_a_shell() -> None:
    (dockerfile,) = blocks("dockerfile")
    (command,) = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)

    assert json.loads(command) == ["python", "manage.py", "qcluster"]
    assert "STOPSIGNAL SIGTERM" in dockerfile


def test_the_procfile_starts_what_there_is() -> None:
    (procfile,) = [each for each in blocks("text") if "worker:" in each]
    processes = dict(line.split(": ", 1) for line in procfile.splitlines())

    assert set(processes) == {"release", "web", "worker"}
    accept(processes["worker"])


def test_every_command_of_the_page_is_understood() -> None:
    commands = re.findall(r"^\$ (python manage\.py [^#\n]*)", PAGE, re.MULTILINE)
    commands += re.findall(r"`((?:python )?manage\.py q[^`]*)`", PAGE)
    commands += [f"manage.py {each}" for each in re.findall(r"`((?:qcluster|qinfo) -[^`]*)`", PAGE)]

    assert len(commands) > 12
    for command in commands:
        accept(command)


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["qinfo --ids", "qinfo --json", "qmemory", "migrate --verbosity 0"])
def test_the_commands_that_look_run(command: str, settings: Any) -> None:
    settings.Q_CLUSTER = {}
    call_command(*command.split())


@pytest.mark.django_db
def test_where_no_cluster_works_the_command_of_the_page_says_so(settings: Any, capsys: Any) -> None:
    (question, code) = ("qinfo --why default", 4)
    assert f"Exit code {code}: no | `python manage.py {question}`" in PAGE
    settings.Q_CLUSTER = {}

    with pytest.raises(SystemExit) as ended:
        call_command(*question.split())

    assert ended.value.code == code
