"""Runs ``manage.py qchaos`` on each broker, with servers of its own; arguments go to qchaos.

A server that this machine lacks is passed over, or is an error where ``REQUIRE_SERVERS`` names it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.servers import SERVERS, PostgresServer, RabbitServer, RedisServer, Server, SqsServer  # noqa: E402  found by the line above

PLACES = ("sqlite", "postgres", "redis", "rabbitmq", "sqs")
TAIL = 60
"""Lines of a log."""
DEFAULTS = ("--yes", "--sentinel", "--seconds", "20")


@contextmanager
def server_for(place: str) -> Iterator[Server | None]:
    """The server that this place needs, for as long as the block lasts."""
    if place not in SERVERS:
        yield None
        return
    server = SERVERS[place]().start()
    try:
        yield server
    finally:
        server.stop()


def environment(server: Server | None, folder: Path) -> dict[str, str]:
    """How ``tests.django_settings`` is told where to work."""
    settings: dict[str, object] = {"name": "badge", "orm": "default"}
    wishes = {"TEST_DATABASE": "sqlite", "TEST_DATABASE_NAME": f"{folder}/db.sqlite3"}
    if isinstance(server, RedisServer):
        settings = {"name": "badge", "redis": server.url}
    elif isinstance(server, RabbitServer):
        settings = {"name": "badge", "rabbitmq": server.url}
    elif isinstance(server, SqsServer):
        settings = {"name": "badge", "sqs": server.options}
    elif isinstance(server, PostgresServer):
        entry = server.database()
        wishes = {f"TEST_DATABASE_{key}": entry[key] for key in ("NAME", "HOST", "USER")}
        wishes["TEST_DATABASE"] = "postgres"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.django_settings",
        "TEST_Q_CLUSTER": json.dumps(settings),
        "TMPDIR": str(folder),
        **wishes,
    }


def manage(variables: dict[str, str], *arguments: str) -> bool:
    command = [sys.executable, "-m", "django", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=variables).returncode == 0


def passes(place: str, arguments: list[str]) -> bool:
    """Whether every promise was kept there. If not, what happened there stays for a look."""
    print(f"\n--- {place} ---", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="dc-"))
    with server_for(place) as server:
        variables = environment(server, folder)
        pause = ["--pause-broker", str(server.process.pid)] if server is not None and server.process else []
        migrated = manage(variables, "migrate", "--verbosity", "0")
        kept = migrated and manage(variables, "qchaos", *DEFAULTS, *pause, *arguments)
    if kept:
        shutil.rmtree(folder)
    else:
        show_logs(folder)
    return kept


def show_logs(folder: Path) -> None:
    """On a machine that judges changes nobody can look into a folder later."""
    for log in folder.glob("qchaos-*/log"):
        print(f"\nThe end of {log}:", *log.read_text(errors="replace").splitlines()[-TAIL:], sep="\n", flush=True)


def chosen() -> list[str]:
    """The places where this machine can run it."""
    required = os.environ.get("REQUIRE_SERVERS", "").replace(" ", "").split(",")
    found = []
    for place in PLACES:
        missing = SERVERS[place].missing() if place in SERVERS else []
        if not missing:
            found.append(place)
        elif place in required:
            sys.exit(f"{place} cannot be started here: {', '.join(missing)} missing.")
        else:
            print(f"{place} is passed over: {', '.join(missing)} missing.", flush=True)
    return found


def main() -> int:
    # All of them run, whatever fails.
    failed = [place for place in chosen() if not passes(place, sys.argv[1:])]
    if failed:
        print(f"\nBroken on {', '.join(failed)}.", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
