"""Runs everything that decides whether a change is good, in tox: style, layers, types, docs, chaos, and the tests.

The tests run on the oldest and on a recent pair of Python and Django, and in part once more without ``USE_TZ``. Where
one of these interpreters is missing, the nearest pair that can run takes its place, and this is said; with ``CI=true``
it is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from glob import glob

PAIRS = {(3, 11): "dj52", (3, 12): "dj60", (3, 13): "dj61", (3, 14): "dj61"}
"""The Django with which each Python is tested here; tox.ini knows more pairs."""

WANTED = [(3, 11), (3, 13)]
CHECKS = ["lint", "types", "docs"]
AGAIN = ["--reruns", "1"]
"""In CI a failed test has a second chance: whole clusters race with the clock of a busy machine."""
NAIVE = [
    *("tests/unit", "--ignore=tests/unit/core", "tests/docs", "tests/integration/test_scheduler.py"),
    *sorted(glob("tests/integration/test_admin*.py")),
]
"""What is run once more without ``USE_TZ``: whatever gives, keeps or shows a moment. The core knows no settings."""

CLIENT_LIBRARIES = ["libmariadb", "mariadb", "mysqlclient"]
"""Names by which pkg-config may know what mysqlclient is compiled against."""

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


def passes(name: str, arguments: list[str], **variables: str) -> bool:
    """Run one tox environment, and show what its commands say, and what tox says where it cannot run them."""
    told = "".join(f" {key}={value}" for key, value in variables.items())
    print(f"\n=== {name}{told} ===", flush=True)
    known = [path for version in PAIRS if (path := interpreter(version))]
    command = [sys.executable, "-m", "tox", "-q", "run", "-e", name, "--discover", *known]
    command += ["--", *arguments] if arguments else []
    return subprocess.run(command, check=False, env={**os.environ, **variables}).returncode == 0


def main() -> int:
    uncover_pyenv()
    environments = [environment(version) for version in chosen()]
    # All of them run, whatever fails: one round shows every problem. The tests come last, so that their
    # closing line is the last word.
    checks = [*CHECKS, with_mariadb("chaos", sys.executable)]
    failed = [name for name in checks if not passes(name, [])]
    again = AGAIN if os.environ.get("CI") else []
    if not sys.argv[1:] and not passes(environments[-1], [*again, *NAIVE], TEST_USE_TZ="0"):
        failed.append("without USE_TZ")
    for name in environments:
        if failed:
            print(f"\nFailed so far: {', '.join(failed)}", flush=True)
        if not passes(name, [*again, *sys.argv[1:]]):
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
