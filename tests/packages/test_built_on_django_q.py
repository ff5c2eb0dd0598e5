"""Packages that are built on Django-Q, as they are published, on this package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail import EmailMultiAlternatives, send_mail
from django.test import override_settings

from django_cluster.models import Task
from django_cluster.tasks import async_task, result
from django_cluster.testing.drain import drain
from tests.django_q.conftest import _shim  # noqa: F401  a fixture of all tests here
from tests.sample.tasks import add, fail

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]
LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture
def package() -> Iterator[Callable[[str], Any]]:
    """Imports a module of a package afresh, so that it finds the names of this test, or skips where there is none."""
    before = set(sys.modules)

    def imported(name: str) -> Any:
        pytest.importorskip(name.partition(".")[0])
        return import_module(name)

    yield imported
    for name in set(sys.modules) - before:
        if name.startswith(("django_q_", "django_q2_", "q_monitor", "django_prodserver")):
            del sys.modules[name]


# ── mail ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "setting", "backend"),
    [
        ("django_q_email.backends", "DJANGO_Q_EMAIL_BACKEND", "django_q_email.backends.DjangoQBackend"),
        ("django_q2_email_backend.backends", "Q2_EMAIL_BACKEND", "django_q2_email_backend.backends.Q2EmailBackend"),
    ],
)
def test_mail_is_sent_by_a_worker(package: Callable[[str], Any], name: str, setting: str, backend: str) -> None:
    with override_settings(**{setting: LOCMEM, "EMAIL_BACKEND": backend}):
        package(name)
        send_mail("one", "text", "a@example.com", ["b@example.com"])
        message = EmailMultiAlternatives("two", "text", "a@example.com", ["b@example.com"])
        message.attach_alternative("<b>text</b>", "text/html")
        message.send()
        assert mail.outbox == []
        drain()

    assert [each.subject for each in mail.outbox] == ["one", "two"]
    html: Any = mail.outbox[1]
    assert "<b>" in html.alternatives[0][0]


# ── error reporters ──────────────────────────────────────────────────────────────────────────────


def fail_with(reporter: str, **options: Any) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "error_reporter": {reporter: options}}):
        async_task(fail)
        drain(raise_errors=False)


def test_rollbar_is_told(package: Callable[[str], Any]) -> None:
    package("django_q_rollbar.rollbar")
    with patch("rollbar.init") as init, patch("rollbar.report_exc_info") as report:
        fail_with("django_q_rollbar.rollbar.Rollbar", access_token="t", environment="tests")

    init.assert_called_once_with(access_token="t", environment="tests")
    report.assert_called_once_with()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package, which is older than its library
def test_sentry_is_told(package: Callable[[str], Any]) -> None:
    package("django_q_sentry.sentry")
    seen: list[Any] = []

    def keep(event: Any, _hint: Any) -> None:
        seen.append(event)

    fail_with("django_q_sentry.sentry.Sentry", dsn="http://a@127.0.0.1:1/1", before_send=keep)

    told = [event["exception"]["values"][-1]["value"] for event in seen if "exception" in event]
    assert told == ["no luck"]


def test_slack_is_told(package: Callable[[str], Any]) -> None:
    package("django_q_slack.core")
    with patch("requests.post") as post:
        fail_with("django_q_slack.core.Slack", web_hook="https://slack.example/hook")

    assert post.call_args.args[0] == "https://slack.example/hook"
    assert "no luck" in post.call_args.args[1]


# ── a server command, a REST API, traces ─────────────────────────────────────────────────────────


def test_prodserver_starts_a_cluster(package: Callable[[str], Any]) -> None:
    worker = package("django_prodserver.backends.workers.django_q2").DjangoQ2Worker
    # The signal of changed settings would make Django load the apps again.
    installed = patch.object(settings, "INSTALLED_APPS", [*settings.INSTALLED_APPS, "django_q"])
    queues: list[str] = []

    class Quick:
        def __init__(self, settings: Any, *_: Any, **__: Any) -> None:
            queues.append(settings.queue)

        def run(self) -> int:
            return 0

    with (
        installed,
        patch("django_cluster.management.commands.qcluster.Sentinel", Quick),
        pytest.raises(SystemExit) as done,
    ):
        worker(ARGS={"name": "long"}).start_server("--name=long")

    assert (done.value.code, queues) == (0, ["long"])


def test_every_endpoint_of_the_monitor_answers(package: Callable[[str], Any], admin_user: Any) -> None:
    pytest.importorskip("rest_framework")
    package("q_monitor.urls")
    from rest_framework.test import APIClient

    async_task(add, 1, 2)
    (done,) = drain()
    async_task(fail)
    (failed,) = drain(raise_errors=False)
    from django_q.tasks import schedule

    row = schedule("tests.sample.tasks.add", 1, 2)
    client = APIClient()
    client.force_authenticate(admin_user)
    with override_settings(ROOT_URLCONF="q_monitor.urls"):

        def get(path: str) -> Any:
            answer = client.get(path, {"format": "json"})
            assert answer.status_code == 200, answer.content
            return answer.json()

        assert {each["id"] for each in get("/tasks/")} == {done, failed}
        assert get(f"/tasks/{done}/")["func"] == "tests.sample.tasks.add"
        assert [each["id"] for each in get("/failures/")] == [failed]
        assert [each["id"] for each in get("/schedules/")] == [row.pk]
        again = client.post(f"/tasks/{done}/retry/", format="json")
        assert again.status_code == 201
        drain()
        assert result(again.json()["new_task_id"]) == 3
        assert client.delete("/tasks/cleanup/").status_code == 200
    assert not Task.objects.exists()
    assert get_user_model().objects.count() == 1


def test_traces_go_from_the_sender_to_the_worker(package: Callable[[str], Any]) -> None:
    pytest.importorskip("opentelemetry_instrumentation_django_q2")
    from django_q import tasks
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry_instrumentation_django_q2 import DjangoQ2Instrumentor

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = DjangoQ2Instrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        tasks.async_task(add, 1, 2, timeout=30)
        drain()
        tasks.async_task(fail)
        drain(raise_errors=False)
    finally:
        instrumentor.uninstrument()

    sent, ran, sent_too, failed = exporter.get_finished_spans()
    assert [span.name for span in (sent, ran)] == ["async_task/tests.sample.tasks.add", "run/tests.sample.tasks.add"]
    assert (ran.parent.span_id, failed.parent.span_id) == (sent.context.span_id, sent_too.context.span_id)
    assert ran.attributes["django_q2.timeout"] == 30
    assert (ran.attributes["django_q2.state"], failed.attributes["django_q2.state"]) == ("success", "error")
    assert not failed.status.is_ok


# ── whole test suites ────────────────────────────────────────────────────────────────────────────


def own_tests(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests in the source distribution of an installed package, with ``django_q`` replaced."""
    pytest.importorskip(name.replace("-", "_"))
    source = f"{name}=={version(name)}"
    get = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", source]
    subprocess.run(get, cwd=folder, check=True)
    (archive,) = folder.glob("*.tar.gz")
    subprocess.run(["tar", "xzf", archive.name], cwd=folder, check=True)
    (tests,) = (path.parent for path in folder.glob("*/pyproject.toml"))
    path = os.pathsep.join([str(Path(__file__).parent / "plugin"), os.environ.get("PYTHONPATH", "")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DJANGO_"))}
    options = ["-p", "django_q_replaced", "-p", "no:cacheprovider", "--override-ini=addopts=", "--create-db"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, "tests"],
        cwd=tests,
        env={**environment, "PYTHONPATH": path},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("name", "count"), [("django-q-registry", 39), ("django-q-signals", 9)])
def test_the_packages_own_tests_pass(name: str, count: int, tmp_path: Path) -> None:
    done = own_tests(name, tmp_path)

    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
