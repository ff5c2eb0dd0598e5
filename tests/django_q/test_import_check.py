"""``qimport check`` says beforehand what will behave otherwise."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings

from django_cluster.django_q.importer.check import in_code
from django_cluster.django_q.importer.code_scan import scan_file

HEAD = "from django_q.tasks import async_task, schedule\n"


def found(folder: Path, code: str) -> list[str]:
    file = folder / "code.py"
    file.write_text(code)
    return [finding.sentence for finding in scan_file(file)]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("from django_q.worker import worker", "django_q.worker is internal to Django-Q's processes"),
        ("import django_q.queues", "django_q.queues is internal to Django-Q's processes"),
        ("from django_q.tasks import nonsense", "django_q.tasks.nonsense has no counterpart."),
        ("from django_q import nonsense", "django_q.nonsense has no counterpart."),
        (f"{HEAD}async_task(self.save, 1)", "a bound method is refused"),
        (f"{HEAD}async_task(partial(f, 1))", "a lambda or a partial is refused"),
        (f"{HEAD}async_task(f, iter_count=3)", "iter_count and iter_cached are refused"),
        (f"{HEAD}async_task(f, timeout=3, q_options={{}})", "beside q_options, timeout is an argument"),
        (f"{HEAD}async_task(f, q_options={{'q_priority': 1}})", "q_options knows no 'q_priority'"),
        (f"{HEAD}schedule('a.b', timeout=30)", "timeout is an argument of the function, and no option"),
        ("x = 'UPDATE django_q_schedule SET next_run = 1'", "SQL on django_q_schedule"),
        ("x = 'DELETE FROM django_q_ormq'", "change it to django_cluster_queuedtask"),
        (f"{HEAD}Task.objects.filter(result__contains='x')", "result__contains: arguments and results of tasks are"),
        (f"{HEAD}get_broker().get_stats('*')", "brokers have no get_stats"),
        ("dependencies = [('django_q', '0099_from_the_future')]", "a migration depends on 0099_from_the_future"),
    ],
)
def test_what_differs_is_found(tmp_path: Path, code: str, sentence: str) -> None:
    (said,) = found(tmp_path, code)

    assert sentence in said


@pytest.mark.parametrize(
    "code",
    [
        f"{HEAD}async_task('a.b', 1, timeout=30, group='g', hook=f)",
        f"{HEAD}schedule('a.b', 7, name='n', hook='h', cluster='c')",
        "from django_q import tasks\nfrom django_q.models import Task\nfrom django_q.brokers.orm import ORM\n",
        "dependencies = [('django_q', '0014_schedule_cluster')]",
        f"{HEAD}async_task(f, q_options={{'timeout': 3, 'group': 'g'}}, max_retries=3)",
        f"{HEAD}Task.objects.filter(result=5, func__contains='x')",
        f"{HEAD}Schedule.objects.filter(kwargs__contains='x')",
        "schedule('a.b', timeout=30)  # of another package",
        "no python at all (",
    ],
)
def test_what_works_is_not_found(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, code) == []


def test_environments_and_packages_are_left_out(tmp_path: Path) -> None:
    for folder in ("env/lib", "node_modules/x", ".git", "shop/migrations"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "code.py").write_text("import django_q.queues")
    (tmp_path / "env" / "pyvenv.cfg").touch()

    (finding,) = in_code(tmp_path)

    assert finding.place.endswith("shop/migrations/code.py:1")


@pytest.mark.django_db
def test_the_command_lists_settings_code_and_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "views.py").write_text("from django_q.worker import worker")
    monkeypatch.chdir(tmp_path)
    out = StringIO()

    with override_settings(Q_CLUSTER={"name": "old", "orm": "default", "retry": 90}):
        call_command("qimport", "check", stdout=out)

    said = out.getvalue()
    assert "Q_CLUSTER['retry']: retry is not quite Django-Q's." in said
    assert "views.py:1: django_q.worker is internal" in said
    assert said.splitlines()[-1].startswith("Findings: ")
