"""``"django_cluster.django_q"`` in the place of ``"django_q"``: a project with foreign keys to Django-Q's tables moves.

Its database is one that the real Django-Q has filled, or a new one. Two apps have foreign keys: Django applies the
migrations of one before those of Django-Q, and those of the other after them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conftest import Place, on_server, sqlite
from tests.e2e.running_cluster import ROOT

pytest.importorskip("django_q")
pytest.importorskip("rest_framework")

SETTINGS = """
import json, os
from tests.django_settings import DATABASES, MIDDLEWARE, TEMPLATES, USE_TZ
SECRET_KEY = "a key"
BASE = ["contenttypes", "auth", "sessions", "messages", "admin"]
INSTALLED_APPS = [*(f"django.contrib.{name}" for name in BASE), "zeta", os.environ["QUEUE_APP"], "alpha"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = MIDDLEWARE[1:]
ROOT_URLCONF = "urls"
Q_CLUSTER = {"name": "shop", "orm": "default", "timeout": 60, "retry": 90}
"""
URLS = "from django.contrib import admin\nfrom django.urls import path\nurlpatterns = [path('admin/', admin.site.urls)]"
MODELS = """
from django.db import models
class Reminder(models.Model):
    schedule = models.ForeignKey("django_q.Schedule", models.CASCADE, related_name="{app}")
    task = models.ForeignKey("django_q.Task", models.SET_NULL, null=True, related_name="{app}")
    others = models.ManyToManyField("django_q.Schedule", related_name="+")
"""
MIGRATION = """
from datetime import datetime, timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import CASCADE, SET_NULL

def plan(apps, editor):
    Schedule, Reminder = apps.get_model("django_q", "Schedule"), apps.get_model("{app}", "Reminder")
    moment = datetime(2040, 1, 1, tzinfo=timezone.utc if settings.USE_TZ else None)
    row, _ = Schedule.objects.get_or_create(
        name="of {app}", defaults=dict(func="math.sqrt", args="(4,)", schedule_type="D", next_run=moment, cluster="c")
    )
    Schedule.objects.filter(cluster="c").order_by("cluster").update(repeats=7)
    reminder = Reminder.objects.create(schedule=row)
    reminder.others.add(row)

class Migration(migrations.Migration):
    initial = True
    dependencies = [("django_q", "{needs}")]
    operations = [
        migrations.CreateModel("Reminder", [
            ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False, verbose_name="ID")),
            ("schedule", models.ForeignKey(on_delete=CASCADE, to="django_q.schedule", related_name="{app}")),
            ("task", models.ForeignKey(null=True, on_delete=SET_NULL, to="django_q.task", related_name="{app}")),
            ("others", models.ManyToManyField(to="django_q.schedule", related_name="+")),
        ]),
        migrations.RunPython(plan, migrations.RunPython.noop),
    ]
"""
PROGRAM = """
import json, sys
import django; django.setup()
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from alpha.models import Reminder as First
from zeta.models import Reminder as Last

def migrate(*names): call_command("migrate", *names, verbosity=0)

def fill():
    from django.utils import timezone
    from django_q.models import Schedule, Task
    now = timezone.now()
    Schedule.objects.create(id=70, name="of a person", func="math.floor", args=(1.5,), repeats=3, next_run=now)
    for number in range(3):
        Task.objects.create(id=str(number) * 32, name=f"task {number}", func="math.sqrt", args=(4,), kwargs={},
                            started=now, stopped=now, success=number < 2, result=2.0 if number < 2 else "no : luck")
    for app, task in ((First, "0" * 32), (Last, "2" * 32)):
        app.objects.create(schedule_id=70, task_id=task).others.add(70)

def targets():
    found = {}
    with connection.cursor() as cursor:
        for table in ("alpha_reminder", "zeta_reminder", "alpha_reminder_others", "zeta_reminder_others"):
            for _, (column, target) in connection.introspection.get_relations(cursor, table).items():
                found.setdefault(target, []).append(f"{table}.{column}")
    return {target: len(columns) for target, columns in found.items() if "reminder" not in target}

def tables():
    return sorted(name for name in connection.introspection.table_names() if name.startswith("django_q"))

def facts():
    from django_q.models import Schedule, Task
    Model = type(First.objects.first().schedule)
    return {
        "schedules": {row.pk: [row.name, row.args, row.repeats, row.cluster] for row in Schedule.objects.all()},
        "tasks": {row.pk[0]: [row.args and list(row.args), row.result] for row in Task.objects.order_by("pk")},
        "reminders": [[row.schedule.name, row.task_id and row.task.name, [each.name for each in row.others.all()]]
                      for app in (First, Last) for row in app.objects.order_by("pk")],
        "targets": targets(), "tables": tables(), "label": Model._meta.label,
        "changes": [name for name in ("alpha", "zeta", "django_q") if changed(name)],
    }

def changed(label):
    try:
        call_command("makemigrations", label, check=True, dry_run=True, verbosity=0)
    except SystemExit:
        return True

def goes_on():
    from django_q.models import Schedule
    new = Schedule.objects.create(name="new", func="math.sqrt", args=4, next_run=None)
    First.objects.create(schedule=new)
    count = First.objects.count()
    Schedule.objects.get(pk=new.pk).delete()
    return [new.pk, count - First.objects.count()]

def names():
    import django_q.models
    from django.conf import settings
    from django.contrib.auth.models import Permission
    from django_cluster.models import Schedule
    from django_cluster.tasks import schedule
    heard = []
    from django.db.models.signals import post_save
    post_save.connect(lambda instance, **_: heard.append(instance.name), sender=django_q.models.Schedule, weak=False)
    row = schedule("math.sqrt", 7, name="by us")
    django_q.models.Schedule.objects.create(name="by them", func="math.sqrt", args=7)
    from rest_framework.serializers import ModelSerializer
    meta = type("Meta", (), {"model": django_q.models.Task, "fields": "__all__"})
    theirs = {"id", "name", "func", "hook", "args", "kwargs", "result", "group", "cluster", "started", "stopped"}
    Meta = type("Meta", (), {"model": django_q.models.Schedule, "fields": "__all__"})
    given = {"name": "s", "func": "math.sqrt", "args": "4", "cluster": "mail", "schedule_type": "D"}
    written = type("Serializer", (ModelSerializer,), {"Meta": Meta})(data=given)
    assert written.is_valid(), written.errors
    heard_before = list(heard)
    return {
        "written": written.save().queue,
        "serialized": sorted(theirs - set(type("Serializer", (ModelSerializer,), {"Meta": meta})().fields)),
        "installed": [apps.is_installed("django_q"), "django_q" in settings.INSTALLED_APPS,
                      "django_cluster" in settings.INSTALLED_APPS, "x" in settings.INSTALLED_APPS],
        "models": [apps.get_model("django_q", name) is getattr(django_q.models, name)
                   for name in ("Task", "Success", "Failure", "Schedule", "OrmQ")],
        "instance": [isinstance(row, django_q.models.Schedule), First(schedule=row).schedule_id == row.pk],
        "permissions": Permission.objects.filter(content_type__app_label="django_q", codename="view_task").count(),
        "heard": heard_before,
    }

def fixtures():
    import io
    from django_cluster.models import Schedule
    from django_cluster.models.schedule_seal import is_sealed
    fields = {"name": "of a fixture", "func": "math.sqrt", "args": "(4,)", "cluster": "c", "schedule_type": "D",
              "repeats": -1, "next_run": "2040-01-01T00:00:00", "task": None}
    with open("theirs.json", "w") as file:
        json.dump([{"model": "django_q.schedule", "pk": 90, "fields": fields}], file)
    call_command("loaddata", "theirs.json", verbosity=0)
    def dumped(*labels, **options):
        out = io.StringIO()
        call_command("dumpdata", *labels, stdout=out, **options)
        return sorted({row["model"] for row in json.loads(out.getvalue())})
    row = Schedule.objects.get(pk=90)
    return {"loaded": [row.queue, is_sealed(row)], "dumped": dumped("django_q.Schedule"),
            "excluded": dumped("alpha", "django_cluster", exclude=["django_q.schedule"])}

def pages():
    from django.contrib.auth.models import Permission, User
    from django.test import Client
    from django.test.utils import setup_test_environment
    from django.urls import reverse
    setup_test_environment()
    User.objects.create_superuser("root")
    some = User.objects.create_user("some", is_staff=True)
    some.user_permissions.add(Permission.objects.get(content_type__app_label="django_q", codename="view_schedule"))
    def page(name, address):
        client = Client()
        client.force_login(User.objects.get(username=name))
        return client.get(address)
    found = {}
    for name in ("root", "some"):
        lists = {model: page(name, reverse(f"admin:django_q_{model}_changelist")).status_code
                 for model in ("schedule", "success", "failure", "ormq")}
        found[name] = [lists, "/admin/django_q/schedule/" in page(name, "/admin/").content.decode()]
    found["one"] = page("root", "/admin/django_q/schedule/90/change/").status_code
    found["added"] = page("root", "/admin/django_q/schedule/add/").status_code
    return found

print(json.dumps(eval(sys.argv[1])))
"""
NEW, OLD = "django_cluster.django_q", "django_q"
OF_MIGRATIONS = {"of alpha": ["of alpha", "(4,)", 7, "c"], "of zeta": ["of zeta", "(4,)", 7, "c"]}


class Shop:
    """The project and its database."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place
        (folder / "settings.py").write_text(SETTINGS)
        (folder / "urls.py").write_text(URLS)
        for app, needs in (("alpha", "0014_schedule_cluster"), ("zeta", "0017_task_cluster_alter")):
            (folder / app / "migrations").mkdir(parents=True)
            (folder / app / "__init__.py").touch()
            (folder / app / "migrations" / "__init__.py").touch()
            (folder / app / "models.py").write_text(MODELS.format(app=app))
            text = MIGRATION.replace("{app}", app).replace("{needs}", needs)
            (folder / app / "migrations" / "0001_initial.py").write_text(text)

    def do(self, expression: str, app: str = NEW) -> Any:
        """What an expression of ``PROGRAM`` comes to."""
        environment = {**os.environ, **self.place.environment, "QUEUE_APP": app, "DJANGO_SETTINGS_MODULE": "settings"}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(ROOT)])
        command = [sys.executable, "-B", "-W", "ignore", "-c", PROGRAM, expression]
        done = subprocess.run(command, cwd=self.folder, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield Shop(tmp_path, sqlite(tmp_path / "db.sqlite3"))
            return
        server = request.getfixturevalue(f"{request.param}_server")
        name = f"app_{uuid4().hex}"
        server.create_database(name)
        stack.callback(server.drop_database, name)
        yield Shop(tmp_path, on_server(request.param, server, name))


def by_name(schedules: dict[str, Any]) -> dict[str, Any]:
    return {row[0]: row for row in schedules.values()}


def test_a_new_database(shop: Shop) -> None:
    found, more, names, fixtures, pages = shop.do("(migrate(), facts(), goes_on(), names(), fixtures(), pages())[1:]")

    assert by_name(found["schedules"]) == OF_MIGRATIONS
    assert found["reminders"] == [["of alpha", None, ["of alpha"]], ["of zeta", None, ["of zeta"]]]
    assert found["targets"] == {"django_cluster_schedule": 4, "django_cluster_task": 2}
    assert (found["tables"], found["label"], found["changes"]) == ([], "django_q.Schedule", [])
    assert more == [3, 1], "a new row has the next id, and what refers to a row goes with it"
    assert names == {
        "serialized": [],
        "written": "mail",
        "installed": [True, True, True, False],
        "models": [True] * 5,
        "instance": [True, True],
        "permissions": 1,
        "heard": ["by us", "by them"],
    }
    assert fixtures == {
        "loaded": ["c", True],
        "dumped": ["django_cluster.schedule"],
        "excluded": ["alpha.reminder"],
    }
    every = ("schedule", "success", "failure", "ormq")
    assert pages == {
        "root": [dict.fromkeys(every, 200), False],
        "some": [{**dict.fromkeys(every, 403), "schedule": 200}, True],
        "one": 200,
        "added": 200,
    }


def test_a_database_that_django_q_has_filled_and_back(shop: Shop) -> None:
    before = shop.do("(migrate(), fill(), facts())[2]", OLD)
    assert before["targets"] == {"django_q_schedule": 4, "django_q_task": 2}

    found, more, _ = shop.do("(migrate(), facts(), goes_on(), migrate('django_q', '0019'))[1:]")

    assert found["targets"] == {"django_cluster_schedule": 4, "django_cluster_task": 2}
    assert found["schedules"] == {**before["schedules"], "70": ["of a person", "(1.5,)", 3, None]}
    assert found["reminders"] == before["reminders"]
    assert found["tasks"] == {"0": [[4], 2.0], "2": [[4], "no : luck"]}, "those that are referred to"
    assert found["tables"] == ["django_q_ormq", "django_q_schedule", "django_q_task"]
    assert found["changes"] == []
    assert more == [71, 1]

    again = shop.do("facts()", OLD)
    assert {**again, "tasks": None} == {**before, "tasks": None}
    assert again["tasks"] == before["tasks"]
