"""The servers of the tests: they can be hurt, and they never outlive the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.servers import SERVERS, RedisServer, Server, require

START_AND_WAIT = """
import sys
from tests.servers import SERVERS

server = SERVERS[sys.argv[1]]().start()
print(server.process.pid, server.folder, flush=True)
sys.stdin.read()
"""


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


def test_a_killed_server_comes_back_at_the_same_address(server: Server) -> None:
    address = server.command()

    server.kill()

    assert not server.answers()
    server.restart()
    assert server.answers()
    assert server.command() == address


def test_a_stopped_server_leaves_nothing_behind(server: Server) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)

    server.stop()

    assert not process.is_running()
    assert not server.folder.exists()


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
