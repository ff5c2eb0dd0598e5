"""The servers of the tests: they can be hurt, and they never outlive the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.servers import SERVERS, RedisServer, Server, require
from tests.servers.base import listens

START_AND_WAIT = """
import sys
from tests.servers import SERVERS

server = SERVERS[sys.argv[1]]().start()
print(server.process.pid, server.folder, flush=True)
sys.stdin.read()
"""

UNLIKE = {"redis", "postgres", "rabbitmq"}
"""One process; a process with children, of another user; a script that starts another program."""


@pytest.fixture(params=sorted(SERVERS))
def name(request: pytest.FixtureRequest) -> str:
    require(request.param)
    return str(request.param)


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    started = SERVERS[name]().start()
    yield started
    started.stop()


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that an idle container has not yet buried."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_server_comes_back_at_the_same_address_and_a_stopped_one_leaves_nothing_behind(server: Server) -> None:
    address = server.command()

    server.kill()

    assert not server.answers()
    server.restart()
    assert server.answers()
    assert server.command() == address

    assert server.process is not None
    process = psutil.Process(server.process.pid)

    server.stop()

    assert not process.is_running()
    assert not server.folder.exists()


@pytest.mark.parametrize(
    "name",
    [each if each in UNLIKE else pytest.param(each, marks=pytest.mark.before_release) for each in sorted(SERVERS)],
    indirect=True,
)
def test_a_server_does_not_outlive_killed_tests(name: str) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, name],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tests.stdout is not None
    pid, folder = tests.stdout.readline().split()

    tests.kill()

    wait_until(lambda: has_ended(int(pid)), because="the watchdog ends the server")
    wait_until(lambda: not Path(folder).exists(), because="the watchdog deletes its folder")
    tests.communicate()


@pytest.mark.server("redis")
def test_an_append_only_redis_remembers_across_a_kill() -> None:
    server = RedisServer(aof=True).start()
    client = [server.program("redis-cli"), "-e", "-p", str(server.port)]
    server.run(*client, "set", "word", "kept")

    server.kill()
    server.restart()

    answer = subprocess.run([*client, "get", "word"], check=True, capture_output=True, text=True)
    server.stop()
    assert answer.stdout.strip() == "kept"


USE_AND_WAIT = """
import sys
from pathlib import Path
from tests.servers import RedisServer
from tests.servers.shared import shared

with shared(RedisServer, Path(sys.argv[1])) as server:
    print(server.port, server.folder, server.says("ping"), flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the server which it shares with others."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USE_AND_WAIT, str(folder)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        port, folder_of_server, answer = self.process.stdout.readline().split()
        self.port, self.folder = int(port), Path(folder_of_server)
        assert answer == "PONG"

    def leave(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def die(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def new_user(tmp_path: Path) -> Iterator[Callable[[], User]]:
    require("redis")
    users: list[User] = []

    def make() -> User:
        users.append(User(tmp_path))
        return users[-1]

    yield make
    for user in users:
        user.die()


def test_a_shared_server_ends_with_the_last_who_uses_it(new_user: Callable[[], User]) -> None:
    first, second = new_user(), new_user()
    assert (first.port, first.folder) == (second.port, second.folder)

    first.leave()  # who has started it
    assert new_user().port == second.port
    second.leave()
    third = new_user()
    assert third.port == second.port
    assert listens(third.port)


def test_a_shared_server_is_gone_when_the_last_has_left(new_user: Callable[[], User]) -> None:
    first, second = new_user(), new_user()

    second.leave()
    assert listens(first.port)
    first.leave()

    assert not listens(first.port)
    assert not first.folder.exists()
    another = new_user()
    assert another.folder != first.folder


def test_a_shared_server_does_not_outlive_killed_users(new_user: Callable[[], User]) -> None:
    first, second = new_user(), new_user()

    first.die()
    assert listens(second.port)
    second.die()

    wait_until(lambda: not listens(second.port) and not second.folder.exists(), 10, "nobody uses it any more")
    assert new_user().folder != second.folder
