"""A node of Disque for tests: the commands and the manners of version 1.0-rc1, in memory, on its own.

No distribution has Disque any more. This follows its README and, where that is silent, its source: when a job comes
back and which counter that moves, what WORKING does to a queued job, which error has which first word.
"""

from __future__ import annotations

import asyncio
import base64
import bisect
import random
import secrets
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

TIME_ERROR = 0.5
"""Seconds by which a job comes back earlier or later."""


class Refusal(Exception):
    """An error that goes to the client."""


@dataclass(slots=True, eq=False)
class Job:
    id: bytes
    queue: bytes
    body: bytes
    ctime: int
    ttl: int
    delay: int
    retry: int
    state: str = "active"
    nacks: int = 0
    deliveries: int = 0
    was_queued: bool = False
    requeue_at: float = 0.0
    timer: asyncio.TimerHandle | None = None

    @property
    def place(self) -> tuple[int, bytes]:
        return self.ctime, self.id

    def shown(self) -> list[Any]:
        within = max(0, int((self.requeue_at - time.time()) * 1000)) if self.requeue_at else None
        left = max(0, int(self.ctime / 1e9 + self.ttl - time.time()))
        return [
            *(b"id", self.id, b"queue", self.queue, b"state", self.state.encode(), b"repl", 1, b"ttl", left),
            *(b"ctime", self.ctime, b"delay", self.delay, b"retry", self.retry),
            *(b"nacks", self.nacks, b"additional-deliveries", self.deliveries),
            *(b"nodes-delivered", [], b"nodes-confirmed", []),
            *(b"next-requeue-within", within, b"next-awake-within", within, b"body", self.body),
        ]


@dataclass
class Node:
    password: bytes
    name: str = field(default_factory=lambda: secrets.token_hex(20))
    jobs: dict[bytes, Job] = field(default_factory=dict)
    queues: defaultdict[bytes, list[tuple[tuple[int, bytes], Job]]] = field(default_factory=lambda: defaultdict(list))
    waiters: defaultdict[bytes, deque[asyncio.Future[list[Any]]]] = field(default_factory=lambda: defaultdict(deque))
    last: int = 0

    # -- the life of a job --------------------------------------------------------------------------

    def put(self, job: Job, *, nack: bool = False) -> bool:
        """Into the queue; false if it is there."""
        if job.state == "queued":
            return False
        if nack:
            job.nacks += 1
        elif job.was_queued:
            job.deliveries += 1
        job.was_queued, job.state = True, "queued"
        if job.retry:
            self.requeue(job, job.retry + random.uniform(-TIME_ERROR, TIME_ERROR))
        else:
            self.requeue(job, None)
        bisect.insort(self.queues[job.queue], (job.place, job))
        waiting = self.waiters[job.queue]
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result([self.take(job.queue)])
                break
        return True

    def requeue(self, job: Job, seconds: float | None) -> None:
        if job.timer:
            job.timer.cancel()
        job.requeue_at, job.timer = 0.0, None
        if seconds is not None:
            job.requeue_at = time.time() + seconds
            job.timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self.come_back, job)

    def come_back(self, job: Job) -> None:
        if job.state == "queued":
            self.requeue(job, job.retry)
        else:
            self.put(job)

    def take(self, queue: bytes) -> Job:
        _, job = self.queues[queue].pop(0)
        job.state = "active"
        return job

    def remove(self, job: Job) -> None:
        if job.state == "queued":
            entries = self.queues[job.queue]
            del entries[bisect.bisect_left(entries, (job.place,))]
            job.state = "active"

    def forget(self, job: Job) -> None:
        self.remove(job)
        self.requeue(job, None)
        del self.jobs[job.id]

    # -- commands -----------------------------------------------------------------------------------

    def addjob(self, queue: bytes, body: bytes, _timeout: bytes, *rest: bytes) -> str:
        numbers = options(rest, values=("REPLICATE", "DELAY", "RETRY", "TTL", "MAXLEN"), flags=("ASYNC",))
        ttl, delay = numbers.get("TTL", 86_400), numbers.get("DELAY", 0)
        if numbers.get("REPLICATE", 1) > 1:
            raise Refusal("NOREPL Not enough reachable nodes for the requested replication level")
        if delay >= ttl:
            raise Refusal("ERR The specified DELAY is greater than TTL. Job refused since would never be delivered")
        self.last = max(self.last + 1, int(time.time() * 1000) * 1_000_000)
        word = base64.b64encode(secrets.token_bytes(18)).decode()
        id = f"D-{self.name[:8]}-{word}-{min(ttl // 60, 0xFFFF):04x}".encode()
        job = Job(id, queue, body, self.last, ttl, delay, numbers.get("RETRY", max(1, ttl // 10)))
        self.jobs[id] = job
        if delay:
            self.requeue(job, delay)
        else:
            self.put(job)
        return id.decode()

    async def getjob(self, *words: bytes) -> Any:
        at = [word.upper() for word in words].index(b"FROM")
        numbers = options(words[:at], values=("TIMEOUT", "COUNT"), flags=("NOHANG", "WITHCOUNTERS"))
        counters, queues = "WITHCOUNTERS" in numbers, words[at + 1 :]
        jobs: list[Job] = []
        for queue in queues:
            while self.queues[queue] and len(jobs) < numbers.get("COUNT", 1):
                jobs.append(self.take(queue))
        if not jobs and "NOHANG" not in numbers:
            jobs = await self.wait(queues, numbers.get("TIMEOUT", 0) / 1000)
        return [self.lent(job, counters) for job in jobs] or None

    async def wait(self, queues: tuple[bytes, ...], seconds: float) -> list[Job]:
        waiter: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        for queue in queues:
            self.waiters[queue].append(waiter)
        await asyncio.wait({waiter}, timeout=seconds or None)  # wait_for may drop a job that came in the last moment
        if waiter.done():
            return waiter.result()
        waiter.cancel()
        return []

    @staticmethod
    def lent(job: Job, counters: bool) -> list[Any]:
        more = [b"nacks", job.nacks, b"additional-deliveries", job.deliveries] if counters else []
        return [job.queue, job.id, job.body, *more]

    def known(self, ids: tuple[bytes, ...]) -> list[Job]:
        for id in ids:
            if not (id.startswith(b"D-") and len(id) == 40):
                raise Refusal("BADID Invalid Job ID format.")
        return [self.jobs[id] for id in ids if id in self.jobs]

    def ackjob(self, *ids: bytes) -> int:
        jobs = self.known(ids)
        for job in jobs:
            self.forget(job)
        return len(jobs)

    fastack = deljob = ackjob

    def nack(self, *ids: bytes) -> int:
        return sum(self.put(job, nack=True) for job in self.known(ids))

    def enqueue(self, *ids: bytes) -> int:
        return sum(self.put(job) for job in self.known(ids))

    def dequeue(self, *ids: bytes) -> int:
        jobs = [job for job in self.known(ids) if job.state == "queued"]
        for job in jobs:
            self.remove(job)
        return len(jobs)

    def working(self, id: bytes) -> int:
        for job in self.known((id,)):
            if time.time() - job.ctime / 1e9 > job.ttl / 2:
                raise Refusal(
                    "TOOLATE Half of job TTL already elapsed, you are no longer allowed to postpone the next delivery."
                )
            self.remove(job)
            self.requeue(job, job.retry + random.uniform(-TIME_ERROR, TIME_ERROR))
            return job.retry
        raise Refusal("NOJOB Job not known in the context of this node.")

    def show(self, id: bytes) -> Any:
        return next((job.shown() for job in self.known((id,))), None)

    def qlen(self, queue: bytes) -> int:
        return len(self.queues[queue])

    def qpeek(self, queue: bytes, count: bytes) -> list[Any]:
        return [self.lent(job, counters=False) for _, job in self.queues[queue][: int(count)]]

    def jscan(self, cursor: bytes, *rest: bytes) -> list[Any]:
        """The cursor is the number of jobs that were looked at; the real one survives changes in between."""
        words = dict(zip(rest[::2], rest[1::2], strict=True))
        states = {value.decode() for word, value in zip(rest[::2], rest[1::2], strict=True) if word == b"STATE"}
        start, count = int(cursor), int(words.get(b"COUNT", 100))
        looked = list(self.jobs.values())[start : start + count]
        found = [job for job in looked if job.queue == words.get(b"QUEUE", job.queue)]
        found = [job for job in found if not states or job.state in states]
        end = start + count if start + count < len(self.jobs) else 0
        whole = words.get(b"REPLY") == b"all"
        return [str(end).encode(), [job.shown() if whole else job.id for job in found]]

    def ping(self) -> str:
        return "PONG"

    def hello(self) -> list[Any]:
        return [1, self.name.encode(), [self.name.encode(), b"127.0.0.1", b"7711", b"1"]]

    def info(self, _section: bytes = b"") -> bytes:
        return b"# Server\r\ndisque_version:1.0-rc1\r\n"

    # -- the protocol -------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        let_in = not self.password
        try:
            while words := await command(reader):
                name = words[0].decode().lower()
                if name == "auth":
                    let_in = words[1] == self.password
                    answer: Any = "OK" if let_in else Refusal("ERR invalid password")
                elif not let_in:
                    answer = Refusal("NOAUTH Authentication required.")
                else:
                    answer = await self.do(name, words[1:])
                writer.write(encoded(answer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def do(self, name: str, words: list[bytes]) -> Any:
        method = getattr(self, name, None) if name in COMMANDS else None
        if method is None:
            return Refusal(f"ERR unknown command '{name}'")
        try:
            answer = method(*words)
            return await answer if asyncio.iscoroutine(answer) else answer
        except Refusal as refusal:
            return refusal
        except (TypeError, ValueError, KeyError, IndexError):
            return Refusal("ERR syntax error")


JOBS = ("addjob", "getjob", "ackjob", "fastack", "deljob", "nack", "enqueue", "dequeue", "working", "show", "jscan")
COMMANDS = frozenset((*JOBS, "qlen", "qpeek", "ping", "hello", "info"))


def options(words: tuple[bytes, ...], *, values: tuple[str, ...], flags: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    rest = deque(words)
    while rest:
        name = rest.popleft().decode().upper()
        if name in flags:
            found[name] = 1
        elif name in values and rest:
            found[name] = int(rest.popleft())
        else:
            raise Refusal("ERR syntax error")
    return found


async def command(reader: asyncio.StreamReader) -> list[bytes]:
    """Empty at the end of the connection."""
    head = await reader.readline()
    if not head:
        return []
    words = []
    for _ in range(int(head[1:])):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words


def encoded(answer: Any) -> bytes:
    if answer is None:
        return b"$-1\r\n"
    if isinstance(answer, Refusal):
        return f"-{answer}\r\n".encode()
    if isinstance(answer, str):
        return f"+{answer}\r\n".encode()
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    if isinstance(answer, bytes):
        return b"$%d\r\n%b\r\n" % (len(answer), answer)
    return b"*%d\r\n" % len(answer) + b"".join(map(encoded, answer))


async def main(port: int, password: str) -> None:
    server = await asyncio.start_server(Node(password.encode()).serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
