"""A service on this machine that takes error reports as Sentry and Rollbar do."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conftest import wait_until


@dataclass
class ErrorService:
    """What has arrived, in the order of arrival. ``gate``: while it is closed, every answer waits."""

    port: int = 0
    sentry: list[dict[str, Any]] = field(default_factory=list)
    """Events, out of their envelopes."""
    rollbar: list[dict[str, Any]] = field(default_factory=list)
    """The ``data`` of items."""
    tokens: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.port}/1"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/1/"

    def wait_for_sentry(self, number: int = 1) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.sentry) >= number, 20, f"{number} events should have come, not {self.sentry}")
        return self.sentry

    def wait_for_rollbar(self, number: int = 1) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.rollbar) >= number, 20, f"{number} items should have come, not {self.rollbar}")
        return self.rollbar

    def take(self, path: str, token: str, body: bytes) -> None:
        if path.endswith("/envelope/"):
            self.sentry.extend(_events(body))
        elif path == "/api/1/item/":
            item = json.loads(body)
            self.tokens.append(token or item.get("access_token", ""))
            self.rollbar.append(item["data"])


def _events(envelope: bytes) -> Iterator[dict[str, Any]]:
    """An envelope is a line of JSON, and then pairs: a header that names type and length, and a body."""
    _, _, rest = envelope.partition(b"\n")
    while rest:
        head, _, rest = rest.partition(b"\n")
        header = json.loads(head)
        length = header.get("length", rest.find(b"\n"))
        body, rest = rest[:length], rest[length:].lstrip(b"\n")
        if header["type"] == "event":
            yield json.loads(body)


@contextmanager
def run_error_service() -> Iterator[ErrorService]:
    """The service runs in threads of this process until the block ends."""
    error_service = ErrorService()
    error_service.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            error_service.gate.wait(20)
            error_service.take(self.path, self.headers.get("X-Rollbar-Access-Token", ""), body)
            answer = b'{"id": "1", "err": 0, "result": {"uuid": "1"}}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Tests say what they want to know."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    error_service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield error_service
    finally:
        error_service.gate.set()
        server.shutdown()
        server.server_close()
