"""Runs ``manage.py qchaos`` on each broker, with servers of its own, several at once; arguments go to qchaos.

``--places redis,sqs`` chooses among them (a few run only when they are named), and ``--at-once 1`` runs them one after
the other. A server that this machine lacks is passed over, or is an error where ``REQUIRE_SERVERS`` names it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import servers  # noqa: E402  found by the line above

TAIL = 60
"""Lines of a log."""
AT_ONCE = 2 * (os.cpu_count() or 1)
"""Places at the same time: a cluster whose processes are killed waits more than it computes."""
DEFAULTS = ("--yes", "--sentinel", "--seconds", "20")


def q_cluster_of(**keys: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Makes the settings that name a server."""
    return lambda server: {"name": "badge", **{key: say(server) for key, say in keys.items()}}


in_database = q_cluster_of(orm=lambda _: "default")
at_redis = q_cluster_of(redis=lambda server: server.url)


class Place(NamedTuple):
    """Where messages can be: the server, the settings that name it, and what it takes to start it."""

    server: Callable[[], Any] | None
    q_cluster: Callable[[Any], dict[str, Any]]
    needs: str | None
    """A name of ``tests.servers.SERVERS``."""
    database: bool = False
    """Whether the rows are there, too; else they are in SQLite."""
    rate: float | None = None
    """Tasks in a second that the server can take; None: those of qchaos."""


PLACES = {
    "sqlite": Place(None, in_database, None),
    "postgres": Place(servers.PostgresServer, in_database, "postgres", database=True),
    "mariadb": Place(servers.MariaDBServer, in_database, "mariadb", database=True),
    "redis": Place(servers.RedisServer, at_redis, "redis"),
    "sentinels": Place(servers.Sentinels, at_redis, "redis"),
    "redis_cluster": Place(servers.RedisCluster, at_redis, "redis"),
    "rabbitmq": Place(servers.RabbitServer, q_cluster_of(rabbitmq=lambda server: server.url), "rabbitmq"),
    "sqs": Place(servers.SqsServer, q_cluster_of(sqs=lambda server: server.options), "sqs"),
    "mongo": Place(servers.NxServer, q_cluster_of(mongo=lambda server: server.url), "nx-27017"),
    "ironmq": Place(servers.IronServer, q_cluster_of(iron_mq=lambda server: server.options), "ironmq"),
    "disque": Place(
        servers.DisqueServer,
        q_cluster_of(
            disque_nodes=lambda server: server.settings["disque_nodes"],
            disque_auth=lambda server: server.settings["disque_auth"],
        ),
        "disque",
    ),
    # It reads the whole collection for each statement: what waits makes everything slower.
    "ferretdb": Place(servers.FerretServer, q_cluster_of(mongo=lambda server: server.url), "ferretdb", rate=2.0),
}

ON_REQUEST = {"ironmq", "disque", "ferretdb"}
"""Places that run only when they are named: on the first two a killed pusher may let a task run twice, as
docs/explanation/delivery.md says, and the third is slower than the load."""


@contextmanager
def running(place: Place) -> Iterator[Any]:
    """The server that this place needs, for as long as the block lasts."""
    if place.server is None:
        yield None
        return
    server = place.server()
    try:
        yield server.start()
    finally:
        server.stop()


def environment(name: str, server: Any, folder: Path) -> dict[str, str]:
    """How ``tests.django_settings`` is told where to work."""
    place = PLACES[name]
    database_variables: Mapping[str, str] = {"TEST_DATABASE": "sqlite", "TEST_DATABASE_NAME": f"{folder}/db.sqlite3"}
    if place.database:
        server.create_database("chaos")
        entry = server.database("chaos")
        database_variables = {
            "TEST_DATABASE": name,
            **{f"TEST_DATABASE_{key}": entry[key] for key in ("NAME", "HOST", "USER")},
        }
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.django_settings",
        "TEST_Q_CLUSTER": json.dumps(place.q_cluster(server)),
        "TMPDIR": str(folder),
        **database_variables,
    }


def manage(variables: dict[str, str], report: Path, *arguments: str) -> bool:
    """Whether the command succeeds; what it says is added to the report."""
    command = [sys.executable, "-m", "django", *arguments]
    with report.open("ab") as file:
        done = subprocess.run(command, check=False, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT)
    return done.returncode == 0


def passes(name: str, arguments: list[str]) -> bool:
    """Whether every promise was kept there. If not, what happened there stays for a look.

    What was said is printed at the end, in one piece: others are at work beside it.
    """
    folder = Path(tempfile.mkdtemp(prefix="dc-"))
    report = folder / "report"
    kept = False
    try:
        with running(PLACES[name]) as server:
            variables = environment(name, server, folder)
            # Where several processes serve, none of them is the one to be paused.
            pid = server.process.pid if isinstance(server, servers.Server) and server.process else None
            pause = ["--pause-broker", str(pid)] if pid else []
            rate = ["--rate", str(PLACES[name].rate)] if PLACES[name].rate else []
            migrated = manage(variables, report, "migrate", "--verbosity", "0")
            kept = migrated and manage(variables, report, "qchaos", *DEFAULTS, *rate, *pause, *arguments)
    finally:
        # On a machine that judges changes nobody can look into a folder later.
        logs = [] if kept else [*folder.glob("qchaos-*/log")]
        ends = [line for log in logs for line in ("", f"The end of {log}:", *last_lines(log))]
        with suppress(FileNotFoundError):
            print("\n".join(["", f"--- {name} ---", report.read_text(errors="replace"), *ends]), flush=True)
    if kept:
        shutil.rmtree(folder)
    return kept


def last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-TAIL:]


def possible(names: list[str]) -> list[str]:
    """The places where this machine can run it."""
    required = os.environ.get("REQUIRE_SERVERS", "").replace(" ", "").split(",")
    found = []
    for name in names:
        needs = PLACES[name].needs
        missing = servers.SERVERS[needs].missing() if needs else []
        if not missing:
            found.append(name)
        elif needs in required:
            sys.exit(f"{needs} cannot be started here: {', '.join(missing)} missing.")
        else:
            print(f"{name} is passed over: {', '.join(missing)} missing.", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--places", type=lambda text: text.split(","), default=[name for name in PLACES if name not in ON_REQUEST]
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    options, arguments = parser.parse_known_args()
    if unknown := set(options.places) - set(PLACES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PLACES)}")
    places = possible(options.places)
    # All of them run, whatever fails.
    with ThreadPoolExecutor(options.at_once) as threads:
        kept = list(threads.map(lambda name: passes(name, arguments), places))
    failed = [name for name, well in zip(places, kept, strict=True) if not well]
    if failed:
        print(f"\nBroken on {', '.join(failed)}.", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
