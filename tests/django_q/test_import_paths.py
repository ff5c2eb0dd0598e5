"""The import paths of Django-Q, through the shim."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from django_cluster.django_q.shim.names import MODULES, REMOVED_MODULES
from tests.fields import fields

PATHS = {
    "": ["VERSION"],
    "tasks": [
        *("async_task", "schedule", "result", "result_cached", "result_group", "result_group_cached"),
        *("fetch", "fetch_cached", "fetch_group", "fetch_group_cached", "count_group", "count_group_cached"),
        *("delete_group", "delete_group_cached", "delete_cached", "queue_size", "async_iter", "async_chain"),
        *("Iter", "Chain", "AsyncTask"),
    ],
    "models": ["Task", "Success", "Failure", "Schedule", "OrmQ"],
    "brokers": ["Broker", "get_broker"],
    "brokers.redis_broker": ["Redis"],
    "brokers.orm": ["ORM"],
    "brokers.aws_sqs": ["Sqs"],
    "brokers.mongo": ["Mongo"],
    "brokers.ironmq": ["IronMQBroker"],
    "cluster": ["Cluster", "Sentinel", "Stat", "Status"],
    "conf": ["Conf", "logger"],
    "status": ["Stat", "Status"],
    "monitor": ["Stat", "Status"],
    "management": [],
    "management.commands": [],
    "management.commands.qcluster": ["Command", "Cluster"],
    "management.commands.qmonitor": ["Command", "monitor"],
    "management.commands.qmemory": ["Command", "memory"],
    "management.commands.qinfo": ["Command", "info"],
    "management.commands.dumpdata": ["Command"],
    "signals": ["pre_enqueue", "post_spawn", "pre_execute", "post_execute_in_worker", "post_execute", "call_hook"],
    "signing": ["SignedPackage", "BadSignature"],
    "scheduler": ["scheduler"],
    "monitor_terminal": ["monitor", "info", "memory", "get_ids"],
    "exceptions": ["TimeoutException"],
    "utils": ["add_months", "add_years", "localtime", "get_func_repr", "close_old_django_connections"],
    "humanhash": ["uuid", "humanize", "HumanHasher", "DEFAULT_WORDLIST", "DEFAULT_HASHER"],
    "apps": ["DjangoQConfig"],
    "admin": ["TaskAdmin", "FailAdmin", "ScheduleAdmin", "QueueAdmin"],
}
"""As Django-Q's users write them."""

CASES = [(module, name) for module, names in PATHS.items() for name in names]


@pytest.mark.parametrize(("module", "name"), CASES)
def test_a_name_of_django_q_is_found_under_its_path(module: str, name: str) -> None:
    found = import_module(f"django_q.{module}" if module else "django_q")

    assert getattr(found, name) is not None


def test_the_table_and_this_test_name_the_same_paths() -> None:
    assert {module: sorted(names) for module, names in PATHS.items()} == {
        module: sorted(set(names) - {"__version__", *(("get_broker", "Task", "Schedule") if module == "tasks" else ())})
        for module, names in MODULES.items()
    }


@pytest.mark.parametrize("module", REMOVED_MODULES)
def test_what_has_no_counterpart_is_refused_with_the_reason(module: str) -> None:
    with pytest.raises(ImportError, match=r"django_q\.\S+ (is internal to|was removed)"):
        import_module(f"django_q.{module}")


def test_a_name_that_never_was_is_refused_too() -> None:
    with pytest.raises(ImportError, match="nothing_of_the_kind"):
        from django_q.tasks import nothing_of_the_kind  # noqa: F401
    with pytest.raises(ModuleNotFoundError):
        import_module("django_q.nothing_of_the_kind")


def test_the_names_are_the_things_themselves() -> None:
    from django_q.models import Task
    from django_q.tasks import async_task

    from django_cluster import models, tasks

    assert async_task is tasks.async_task
    assert Task is models.Task


def test_a_module_lists_its_names() -> None:
    humanhash: ModuleType = import_module("django_q.humanhash")

    assert {"uuid", "humanize"} <= set(dir(humanhash))
    assert {"uuid", "humanize"} <= set(humanhash.__all__)


def run(code: str) -> subprocess.CompletedProcess[str]:
    """In a fresh interpreter, where Django-Q itself is installed."""
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=root)


SETTINGS = """
import sys, types
from django_cluster.django_q import install_django_q
install_django_q()
settings = types.ModuleType("their_settings")
settings.SECRET_KEY = "s"
settings.INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
settings.USE_TZ = True
settings.Q_CLUSTER = {"name": "theirs", "sync": True, "orm": "default"}
sys.modules["their_settings"] = settings
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "their_settings"
import django; django.setup()
"""


def test_a_whole_project_runs_without_changing_its_apps_or_imports() -> None:
    done = run(
        SETTINGS
        + "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        + "from django_q.tasks import async_task, result\n"
        + "from django.apps import apps; assert apps.is_installed('django_cluster')\n"
        + "import django_q; assert django_q.models.Schedule and django_q.brokers.redis_broker\n"
        + "print(result(async_task('math.gcd', 12, 18)))"
    )

    assert fields(done, "stdout", "stderr", "returncode") == {"stdout": "6\n", "stderr": "", "returncode": 0}


def test_a_django_q_that_was_imported_before_is_refused() -> None:
    done = run("import django_q; from django_cluster.django_q import install_django_q; install_django_q()")

    assert "ImportError: Django-Q has been imported already" in done.stderr


def test_the_shim_needs_no_settings_and_no_django() -> None:
    done = run(
        "import sys; from django_cluster.django_q import install_django_q; install_django_q(); import django_q.tasks;"
        " install_django_q(); assert 'django' not in sys.modules"
    )

    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("statement", "new_name"),
    [
        ("from django_cluster.compat import install_django_q", "django_cluster.django_q"),
        ("from django_cluster import compat", "django_cluster.django_q"),
        ("from django_cluster.moving import importer", "django_cluster.django_q.importer"),
        ("import django_cluster.status", "django_cluster.django_q.status"),
    ],
)
def test_the_error_for_a_module_that_was_moved_names_its_new_place(statement: str, new_name: str) -> None:
    done = run(statement)

    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert done.stderr.endswith(f" is now {new_name}.\n")
