"""A project's tests never touch the queue that a cluster works on, whatever runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
SETTINGS = """
import os
SECRET_KEY = "a key"
INSTALLED_APPS = ["django_cluster", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DATABASES["default"]["TEST"] = {"NAME": os.environ.get("TEST_DATABASE_FILE")}
Q_CLUSTER = {"name": os.environ["SITE"], "redis": os.environ["REDIS"]}
USE_TZ = True
"""
TASKS = """
import os

def order(n):
    return n

def process():
    return os.getpid()
"""
TESTS = """
from django.test import TestCase, TransactionTestCase, override_settings
from django_cluster import async_task, queue_size
from django_cluster.testing import TaskTestMixin
from django_cluster.testing.drain import drain

class OrderTests(TestCase):
    def test_a_task(self):
        assert queue_size() == 0
        with self.captureOnCommitCallbacks(execute=True):
            ids = [async_task("shop.tasks.order", n) for n in range(3)]
        assert queue_size() == 3
        assert drain() == ids

    def test_other_settings(self):
        from django.conf import settings
        with override_settings(Q_CLUSTER={**settings.Q_CLUSTER, "max_attempts": 3}):
            ids = [async_task("shop.tasks.order", 1, q_options={"on_commit": False})]
            assert drain() == ids

    def test_another_queue(self):
        ids = [async_task("shop.tasks.order", 1, q_options={"on_commit": False, "queue": "mail"})]
        assert drain("mail") == ids

class KitTests(TaskTestMixin, TestCase):
    task_mode = "queued"

    def test_a_task(self):
        ids = [async_task("shop.tasks.order", n) for n in range(2)]
        self.tasks.assert_enqueued("shop.tasks.order", (1,), on_commit=True)
        assert self.tasks.run_pending() == ids
        self.tasks.assert_not_enqueued()

class CommittedKitTests(TaskTestMixin, TransactionTestCase):
    task_mode = "queued"

    def test_a_task(self):
        ids = [async_task("shop.tasks.order", 1)]
        self.tasks.assert_enqueued("shop.tasks.order", on_commit=False)
        assert self.tasks.run_pending() == ids

class KeptTests(KitTests):
    task_mode = "kept"

class LeavesSomethingBehind(TestCase):
    def test_nobody_runs_this(self):
        async_task("shop.tasks.order", 1, q_options={"on_commit": False, "queue": "left"})

class MoreOrderTests(OrderTests):
    pass
"""
LEFT = """
from django.test import SimpleTestCase
from django_cluster.testing import enqueued
from django_cluster import async_task

class LeftTests(SimpleTestCase):
    def test_what_an_earlier_run_has_left_is_gone(self):
        assert enqueued("left") == []
"""
FIXTURE = """
import pytest
from django_cluster import async_task, result

@pytest.fixture
def sent():
    return async_task("shop.tasks.order", 7)

@pytest.mark.task_mode("queued")
@pytest.mark.django_db
def test_in_the_broker_of_the_project(tasks, sent):
    tasks.assert_enqueued("shop.tasks.order", (7,), on_commit=True)
    tasks.fail_at("shop.tasks.order")
    with pytest.raises(Exception, match="injected"):
        tasks.run_pending()

@pytest.mark.task_mode("queued")
def test_after_a_commit(tasks, transactional_db, sent):
    assert tasks.run_pending() == [sent]

def test_in_memory(tasks, db, sent):
    assert tasks.mode == "kept"
    assert tasks.run_pending() == [sent]

@pytest.mark.task_mode("inline")
def test_inline(tasks, db):
    assert result(async_task("shop.tasks.order", 7)) == 7
"""
IN_A_CLUSTER = """
import os
from datetime import timedelta
import pytest
from django.test import TransactionTestCase
from django_cluster import async_task, fetch, result, schedule
from django_cluster.testing import TaskTestMixin

class ClusterTests(TaskTestMixin, TransactionTestCase):
    task_mode = "cluster"

    def test_a_cluster_of_processes_runs_what_is_sent(self):
        ids = [async_task("shop.tasks.process") for _ in range(3)]
        assert set(self.tasks.run_pending()) == set(ids)
        assert os.getpid() not in [result(each) for each in ids]

        self.tasks.kill_worker_at("shop.tasks.order")
        killed = async_task("shop.tasks.order", 5, q_options={"retry_delay": 0.1})
        assert self.tasks.run_pending(until=timedelta(seconds=2)) == [killed]
        assert result(killed) == 5
        assert [each["status"] for each in fetch(killed).attempts] == ["lost"]

        self.tasks.fail_at("shop.tasks.order", error=LookupError("not today"))
        failed = async_task("shop.tasks.order", 6, q_options={"max_attempts": 1})
        with self.assertRaisesRegex(Exception, "not today"):
            self.tasks.run_pending()

        schedule("shop.tasks.process", schedule_type="O")
        (scheduled,) = self.tasks.run_schedules(until=timedelta(days=1))
        assert self.tasks.run_pending() == [scheduled]
"""
UNITTEST = """
import unittest
import django
django.setup()
from django_cluster.client.client import get_client
from django_cluster.testing import enqueued
from django_cluster.testing.drain import drain
from django_cluster import async_task

class PlainTests(unittest.TestCase):
    def test_a_task(self):
        assert enqueued() == []
        async_task("shop.tasks.order", 1, q_options={"on_commit": False})
        assert len(enqueued()) == 1
        assert get_client().broker.purge() == 1
"""
NO_CACHE = ("-p", "no:cacheprovider")
RUNNERS = {
    "pytest-django": ["-m", "pytest", "-q", "-p", "no:randomly", *NO_CACHE, "shop/tests.py", "shop/fixture.py"],
    "pytest-xdist": ["-m", "pytest", "-q", "-n", "2", *NO_CACHE, "shop/tests.py", "shop/fixture.py"],
    "pytest alone": ["-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "shop/plain.py"],
    "django": ["-m", "django", "test", "shop"],
    "django --parallel": ["-m", "django", "test", "--parallel", "2", "shop"],
    "unittest": ["-m", "unittest", "shop.plain"],
}


class Shop:
    """A project in a folder, with a queue on Redis that a cluster for development would work on."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.site = folder, url, f"shop-{uuid4().hex[:8]}"
        (folder / "shop").mkdir()
        files = {"settings": SETTINGS, "shop/__init__": "", "shop/tasks": TASKS}
        files |= {"shop/tests": TESTS, "shop/plain": UNITTEST, "shop/left": LEFT}
        files |= {"shop/fixture": FIXTURE, "shop/cluster": IN_A_CLUSTER}
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        self._install()

    def _install(self) -> None:
        """What pip would write, so that pytest finds the plugin by the entry point that setup.cfg declares."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        plugins = setup["options.entry_points"]["pytest11"].strip()
        metadata = self.folder / "django_cluster-0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: django-cluster\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text(f"[pytest11]\n{plugins}\n")

    def python(self, *arguments: str) -> str:
        """Run Python in the project, as a developer does it outside of any test."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DJANGO_CLUSTER_"))
        }
        environment = {**kept, "DJANGO_SETTINGS_MODULE": "settings", "SITE": self.site, "REDIS": self.url}
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{self.folder}"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def queued(self) -> list[int]:
        """The arguments of what waits in the real queues."""
        code = (
            "import django, json; django.setup(); from django_cluster.testing import enqueued;"
            "print(json.dumps([each.args[0] for queue in (None, 'mail', 'left') for each in enqueued(queue)]))"
        )
        found: list[int] = json.loads(self.python("-c", code))
        return found


@pytest.fixture
def shop(tmp_path: Path, redis_server: RedisServer) -> Iterator[Shop]:
    shop = Shop(tmp_path, redis_server.url)
    code = "import django; django.setup(); from django_cluster import async_task; async_task('shop.tasks.order', 77)"
    shop.python("-c", code)
    yield shop
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(f"*{shop.site}*"):
            client.delete(key)


@pytest.mark.parametrize("runner", RUNNERS)
def test_tests_never_touch_the_real_queue(shop: Shop, runner: str) -> None:
    shop.python(*RUNNERS[runner])

    assert shop.queued() == [77]


def test_a_real_cluster_runs_the_tasks_of_a_test_and_no_others(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_FILE", str(shop.folder / "test.sqlite3"))

    shop.python("-m", "django", "test", "shop.cluster")

    assert shop.queued() == [77]


def test_what_an_earlier_run_has_left_is_gone(shop: Shop) -> None:
    shop.python("-m", "django", "test", "shop.tests.LeavesSomethingBehind")

    shop.python("-m", "django", "test", "shop.left")


def test_outside_of_tests_nothing_is_drained(shop: Shop) -> None:
    code = (
        "import django; django.setup()\nfrom django_cluster.testing.drain import drain\n"
        "try: drain()\nexcept RuntimeError as error: print(error)"
    )
    assert "drain() is for tests" in shop.python("-c", code)
    assert shop.queued() == [77]


def test_programs_that_a_test_starts_share_its_queue(shop: Shop) -> None:
    (shop.folder / "shop" / "started.py").write_text(
        "import subprocess, sys\n"
        "from django.test import SimpleTestCase\n"
        "from django_cluster.testing import enqueued\n"
        "SEND = 'import django; django.setup(); from django_cluster import async_task;'\n"
        "SEND += 'async_task(\"shop.tasks.order\", 5)'\n"
        "class StartedTests(SimpleTestCase):\n"
        "    def test_a_program(self):\n"
        "        assert enqueued() == []\n"
        "        subprocess.run([sys.executable, '-c', SEND], check=True)\n"
        "        assert [each.args for each in enqueued()] == [(5,)]\n"
    )
    shop.python("-m", "django", "test", "shop.started")

    assert shop.queued() == [77]
