"""A project's tests never touch the queue that a cluster works on, whatever runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from tests.servers import RedisServer

SETTINGS = """
import os
SECRET_KEY = "a key"
INSTALLED_APPS = ["django_cluster", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
Q_CLUSTER = {"name": os.environ["SITE"], "redis": os.environ["REDIS"]}
USE_TZ = True
"""
TESTS = """
from django.test import TestCase, override_settings
from django_cluster import async_task, queue_size
from django_cluster.testing.drain import drain, enqueued

class OrderTests(TestCase):
    def test_a_task(self):
        assert enqueued() == []
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

class LeavesSomethingBehind(TestCase):
    def test_nobody_runs_this(self):
        async_task("shop.tasks.order", 1, q_options={"on_commit": False, "queue": "left"})

class MoreOrderTests(OrderTests):
    pass
"""
LEFT = """
from django.test import SimpleTestCase
from django_cluster.testing.drain import enqueued
from django_cluster import async_task

class LeftTests(SimpleTestCase):
    def test_what_an_earlier_run_has_left_is_gone(self):
        assert enqueued("left") == []
"""
UNITTEST = """
import unittest
import django
django.setup()
from django_cluster.client.client import get_client
from django_cluster.testing.drain import drain, enqueued
from django_cluster import async_task

class PlainTests(unittest.TestCase):
    def test_a_task(self):
        assert enqueued() == []
        async_task("shop.tasks.order", 1, q_options={"on_commit": False})
        assert len(enqueued()) == 1
        assert get_client().broker.purge() == 1
"""
RUNNERS = {
    "pytest-django": ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "shop/tests.py"],
    "pytest-xdist": ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "shop/tests.py"],
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
        files = {"settings": SETTINGS, "shop/__init__": "", "shop/tasks": "def order(n): return n\n"}
        files |= {"shop/tests": TESTS, "shop/plain": UNITTEST, "shop/left": LEFT}
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)

    def python(self, *arguments: str) -> str:
        """Run Python in the project, as a developer does it outside of any test."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DJANGO_CLUSTER_"))
        }
        environment = {**kept, "DJANGO_SETTINGS_MODULE": "settings", "SITE": self.site, "REDIS": self.url}
        environment["PYTHONPATH"] = f"{Path(__file__).parents[2]}{os.pathsep}{self.folder}"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def queued(self) -> list[int]:
        """The arguments of what waits in the real queues."""
        code = (
            "import django, json; django.setup(); from django_cluster.testing.drain import enqueued;"
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
        "from django_cluster.testing.drain import enqueued\n"
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
