"""One system set up for one measurement: a fresh database, an empty Redis, an agent that asks, processes that work."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.marks import VARIABLE, Marks
from benchmarks.measure import cpu_seconds, in_sessions, pss_megabytes
from benchmarks.servers import Servers
from benchmarks.systems.base import Addresses, System
from benchmarks.venvs import ROOT, Venv

PATIENCE = 600.0
"""Seconds within which an agent answers; a million tasks take a while to send."""
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.003


class AgentFailed(Exception):
    """The agent could not do what it was asked for."""


class Agent:
    """The near end of a ``benchmarks.agent`` process."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603  our own command
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._log = log

    def ask(self, verb: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([verb, *arguments]).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AgentFailed(f"the agent has ended; see {self._log}") from None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                raise AgentFailed(f"{verb} was not answered within {PATIENCE:.0f} seconds")
        line = self._process.stdout.readline()
        if not line:
            raise AgentFailed(f"the agent ended over {verb}:\n{tail(self._log)}")
        answer = json.loads(line)
        if "error" in answer:
            raise AgentFailed(f"{verb}: {answer['error']}")
        return answer["value"]

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


class ProcessGroup:
    """The processes of a system that do the work: one session for each of its commands."""

    def __init__(self, commands: Sequence[Sequence[str]], environment: dict[str, str], log: Path) -> None:
        self._commands, self._environment, self._log = commands, environment, log
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with self._log.open("ab") as log:
            for command in self._commands:
                parts = [Template(part).safe_substitute(self._environment) for part in command]
                self._programs.append(
                    subprocess.Popen(  # noqa: S603  so is this
                        parts,
                        cwd=ROOT,
                        env=self._environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )

    @property
    def sessions(self) -> list[int]:
        return [program.pid for program in self._programs]

    @property
    def alive(self) -> bool:
        return all(program.poll() is None for program in self._programs)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.sessions)

    def pss_megabytes(self) -> float:
        return pss_megabytes(self.sessions)

    def stop(self) -> None:
        """Ask, wait, and end whoever is left."""
        for program in self._programs:
            program.terminate()
        until = time.monotonic() + STOP_TIMEOUT_SECONDS
        for program in self._programs:
            with suppress(subprocess.TimeoutExpired):
                program.wait(max(0.0, until - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        for each in in_sessions(self.sessions):
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        for program in self._programs:
            program.wait()
        self._programs.clear()


class Harness:
    """What a scenario plays on."""

    def __init__(self, system: System, servers: Servers, database: str, folder: Path) -> None:
        self.system, self.servers = system, servers
        self.entry = servers.entry(system.database, database)
        self.log = folder / "log"
        self.marks = Marks(folder / "marks")
        venv = Venv.of(system)
        environment = {
            **clean_environment(),
            **system.environment(Addresses(servers.redis_address, self.entry)),
            VARIABLE: str(self.marks.path),
        }
        command = venv.command(["python", "-m", "benchmarks.agent", system.name])
        self.agent = Agent(command, environment, self.log)
        self.processes = ProcessGroup([venv.command(command) for command in system.commands()], environment, self.log)

    def wait_for_marks(self, count: int, patience: float) -> None:
        """Until so many tasks have begun."""
        until = time.monotonic() + patience
        while self.marks.count < count:
            if not self.processes.alive:
                raise AgentFailed(f"the workers have ended:\n{tail(self.log)}")
            if time.monotonic() > until:
                raise AgentFailed(f"{self.marks.count} of {count} tasks began within {patience:.0f} seconds")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        self.processes.kill()
        self.agent.stop()


@contextmanager
def set_up(system: System, servers: Servers) -> Iterator[Harness]:
    """A harness for one measurement."""
    servers.calm()
    servers.copy(system.database, template_of(system), "bench")
    with opened(system, servers, "bench") as harness:
        harness.agent.ask("prepare")
        yield harness


@contextmanager
def opened(system: System, servers: Servers, database: str) -> Iterator[Harness]:
    with tempfile.TemporaryDirectory(prefix="dc-bench-", dir=memory_folder()) as folder:
        harness = Harness(system, servers, database, Path(folder))
        try:
            yield harness
        finally:
            harness.close()


def install(system: System, servers: Servers) -> None:
    """Make the database of which every harness gets a copy."""
    servers.create(system.database, template_of(system))
    with opened(system, servers, template_of(system)) as harness:
        harness.agent.ask("install")


def template_of(system: System) -> str:
    return "template_" + system.name.replace("/", "_")


def memory_folder() -> str | None:
    """A folder that no disk slows down, where there is one."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  a folder of our own is made in it


def clean_environment() -> dict[str, str]:
    """Ours, without what would reach into the others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTHON", "Q_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
