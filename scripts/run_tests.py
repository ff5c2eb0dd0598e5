"""Runs everything that decides whether a change is good, in tox: style, layers, types, docs, chaos, and the tests.

All tests run on the oldest pair of Python and Django that is supported, those that depend on versions on a recent pair
too, and in part once more without ``USE_TZ``. Where one of these interpreters is missing, the nearest pair that can run
takes its place, and this is said; with ``CI=true`` it is an error. ``--everywhere`` runs all tests on both pairs and on
every broker; other arguments go to pytest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from glob import glob
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.in_memory import temporary_files_in_memory

PAIRS = {(3, 11): "dj52", (3, 12): "dj60", (3, 13): "dj61", (3, 14): "dj61"}
"""The Django with which each Python is tested here; tox.ini knows more pairs."""

WANTED = [(3, 11), (3, 13)]
CHECKS = ["lint", "types", "docs"]
WORKERS = min(6, (os.cpu_count() or 1) * 3 // 2 + 1)
"""More than cores: a test of a whole cluster waits for a third of its time."""
OF_MOMENTS = re.compile(r"datetime|timedelta|timezone|utc|clock|freeze|USE_TZ|moment|django_db|\bdb\b")
"""What a file of tests speaks of that gives, keeps or shows a moment; a row of ours has several."""

OF_VERSIONS = [
    *("tests/unit", "tests/django_q", "tests/browser", "tests/docs/test_commands_page.py"),
    *(f"--ignore=tests/unit/{name}" for name in ("benchmarks", "example", "test_language.py", "test_pages.py")),
    *(f"--ignore=tests/unit/test_{name}.py" for name in ("layers", "performance_page", "sidebar", "translations")),
    *("tests/contract/test_stores.py", "tests/contract/test_status_stores.py"),
    *(f"tests/contract/test_brokers.py::TestOrmBrokerOn{name}" for name in ("SQLite", "PostgreSQL", "MariaDB")),
    *sorted(glob("tests/contract/test_tasks_backend*.py")),
    *("tests/contract/test_djangos_task_tests.py", "tests/e2e/test_tasks_backend.py"),
    *sorted(glob("tests/integration/test_admin*.py") + glob("tests/integration/test_orm*.py")),
    *(f"tests/integration/test_{name}.py" for name in ("databases", "transactions", "storage", "scheduler")),
    *(f"tests/integration/test_{name}.py" for name in ("pusher", "worker", "monitor", "ipc")),
    *(f"tests/e2e/test_{name}.py" for name in ("starting", "stopping", "process_crashes", "timeouts")),
    *(f"tests/e2e/test_{name}.py" for name in ("misbehaving_tasks", "worker_recycling", "schedules")),
]
"""What is run on the second pair: all that Python or Django could make differ. There one broker stands for all of them:
what is in between is the same code, and their client libraries are the same. Tests that read our own texts, or measure
results that lie here, find the same on every pair."""

CLIENT_LIBRARIES = ["libmariadb", "mariadb", "mysqlclient"]
"""Names by which pkg-config may know what mysqlclient is compiled against."""

USUAL = ("-m", "not before_release", "--hypothesis-profile=usual")
"""What makes a run shorter than one before a release."""

PROBE = "import sys; print(sys.executable); sys.exit(sys.version_info[:2] != ({}, {}))"
HEADERS = "import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/Python.h'))"


def quiet(*command: str) -> bool:
    """Whether a command exists and succeeds."""
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def uncover_pyenv() -> None:
    """Let the interpreters of pyenv be found: its ``python3.13`` refuses to run unless a version is chosen."""
    if not shutil.which("pyenv") or "PYENV_VERSION" in os.environ:
        return
    listed = subprocess.run(["pyenv", "versions", "--bare"], check=False, capture_output=True, text=True)
    versions = [version for version in listed.stdout.split() if re.fullmatch(r"3\.1[1-4]\.\d+", version)]
    if versions:
        # The first of them answers to "python3"; the newest is the natural one.
        os.environ["PYENV_VERSION"] = ":".join(reversed(versions))


@cache
def interpreter(version: tuple[int, int]) -> str | None:
    """The path of this Python, if there is one: its own word for it, not that of a shim in front of it."""
    if sys.version_info[:2] == version:
        return sys.executable
    try:
        found = subprocess.run(
            ["python{}.{}".format(*version), "-c", PROBE.format(*version)], check=False, capture_output=True, text=True
        )
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def chosen() -> list[tuple[int, int]]:
    """The interpreters to test with: the wanted ones, or what comes nearest."""
    found = [version for version in PAIRS if interpreter(version)]
    missing = [version for version in WANTED if version not in found]
    if not missing:
        return WANTED
    names = " and ".join("Python {}.{}".format(*version) for version in missing)
    if os.environ.get("CI") or not found:
        sys.exit(f"{names} not found; the tests need it.")
    picked = sorted({min(found, key=lambda have: abs(have[1] - version[1])) for version in WANTED})
    instead = " and ".join("{}.{}".format(*version) for version in picked)
    print(f"{names} not found; testing with {instead} only.", flush=True)
    return picked


def environment(version: tuple[int, int]) -> str:
    """The name of the tox environment of this Python."""
    return with_mariadb("py{}{}-{}".format(*version, PAIRS[version]), interpreter(version) or "")


def with_mariadb(name: str, python: str) -> str:
    """The tox environment that has the MariaDB client as well, where this interpreter can have it compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    library = any(quiet("pkg-config", "--exists", name) for name in CLIENT_LIBRARIES)
    if compiler and library and quiet(python, "-c", HEADERS):
        return f"{name}-mariadb"
    print(f"{name}: the MariaDB client cannot be compiled here; its tests are skipped.", flush=True)
    return name


def tox(*arguments: str, capture: bool, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run tox; what its commands say, and what it says where it cannot run them, is shown or kept."""
    known = [path for version in PAIRS if (path := interpreter(version))]
    options = ["--discover", *known]
    return subprocess.run(
        [sys.executable, "-m", "tox", "-q", arguments[0], *options, *arguments[1:]],
        check=False,
        text=True,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
    )


class Report:
    """What has failed, and how long each part took."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.took: dict[str, float] = {}

    def run(self, title: str, *arguments: str, capture: bool = False, variables: Mapping[str, str] = {}) -> bool:
        """Run a part in tox, and note what came of it."""
        if not capture:
            print(f"\n=== {title} ===", flush=True)
        begun = time.monotonic()
        done = tox(*arguments, capture=capture, variables=variables)
        self.took[title] = time.monotonic() - begun
        if capture:
            print(f"\n=== {title} ===\n{done.stdout}", flush=True)
        if done.returncode != 0:
            self.failed.append(title)
        return done.returncode == 0

    def show(self) -> None:
        times = ", ".join(f"{title} {seconds:.0f} s" for title, seconds in self.took.items())
        print(f"\n{times}\n" + (f"Failed: {', '.join(self.failed)}" if self.failed else "All passed."), flush=True)


def naive() -> list[str]:
    """What is run once more without ``USE_TZ``: tests of whatever gives, keeps or shows a moment.

    The core knows no settings.
    """
    unit = [name for name in glob("tests/unit/**/test_*.py", recursive=True) if "/core/" not in name]
    files = [*unit, *glob("tests/docs/test_*.py"), *glob("tests/integration/test_admin*.py")]
    chosen = [name for name in files if OF_MOMENTS.search(Path(name).read_text(encoding="utf-8"))]
    return ["tests/integration/test_scheduler.py", "tests/contract/test_tasks_backend.py", *sorted(chosen)]


def run_checks(report: Report, environment: str) -> None:
    """Checks, chaos, and what has to be compiled, beside each other: each of them waits for something now and then."""
    inside = ("exec", "-e", environment, "--", "python")
    parts = {
        "checks": ("run", "--skip-pkg-install", "-e", "check", "--", *CHECKS),
        "chaos": (*inside, "scripts/run_chaos.py"),
        "FerretDB": (*inside, "-m", "tests.servers.mongo"),
    }
    with ThreadPoolExecutor(len(parts)) as threads:
        running = [threads.submit(report.run, title, *part, capture=True) for title, part in parts.items()]
        for each in running:
            each.result()


def run_all_tests(report: Report, environments: list[str], arguments: list[str], *, everywhere: bool) -> None:
    """The quick ones first. The whole comes last, so that its closing line is the last word of pytest."""
    with temporary_files_in_memory() as in_memory:

        def run(title: str, environment: str, *chosen: str, **variables: str) -> None:
            whole = (f"--numprocesses={WORKERS}", *chosen, *arguments)
            inside = ("run", "--skip-pkg-install", "-e", environment, "--", *whole)
            report.run(title, *inside, variables={**in_memory, **variables})

        usual = () if everywhere else USUAL
        first, *others = environments
        if not arguments:
            run(f"{environments[-1]} without USE_TZ", environments[-1], *naive(), *usual, TEST_USE_TZ="0")
        for name in others:
            run(name, name, *([] if everywhere or arguments else [*OF_VERSIONS, "--only-brokers=orm"]), *usual)
        run(first, first, *usual)


def main() -> int:
    named = [word.removeprefix("--ignore=").partition("::")[0] for word in OF_VERSIONS]
    if gone := [path for path in named if not os.path.exists(path)]:
        sys.exit(f"scripts/run_tests.py names what is not there: {', '.join(gone)}.")
    uncover_pyenv()
    arguments = [word for word in sys.argv[1:] if word != "--everywhere"]
    everywhere = arguments != sys.argv[1:]
    environments = [environment(version) for version in chosen()]
    report = Report()
    # Beside each other: to install is to wait for the network and the disk.
    beside = (
        "run-parallel",
        "--parallel",
        "3",
        "--parallel-no-spinner",
    )
    if not report.run("environments", *beside, "-e", ",".join(["check", *environments]), "--notest"):
        return 1
    # All of them run, whatever fails: one round shows every problem.
    if not arguments:
        run_checks(report, environments[0])
    run_all_tests(report, environments, arguments, everywhere=everywhere)
    report.show()
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
