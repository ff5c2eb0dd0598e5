"""An IronMQ for tests: version 3 of its interface as its reference describes it, in memory.

Arguments: port, project, token, and the seconds of the shortest reservation (thirty at the service; a test cannot wait
for so long). It is reached under the prefix ``/behind``, too, and is its own Keystone at ``/v2.0``, for the user
``user`` with the password ``password``: ``GET /v2.0/tokens`` says how many tokens it gave, ``DELETE`` revokes them.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition
from typing import Any
from urllib.parse import unquote, urlsplit

LARGEST = 256 * 1024
LONGEST_DELAY = 604_800
LONGEST_RESERVATION = 86_400


class Refusal(Exception):
    def __init__(self, status: int, msg: str) -> None:
        super().__init__(msg)
        self.status, self.msg = status, msg


@dataclass(slots=True, eq=False)
class Message:
    id: str
    body: str
    ready_at: float
    reservation: str = ""
    count: int = 0

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, "body": self.body, "reserved_count": self.count}


@dataclass
class Queue:
    """In the order of lending: what times out or is given back goes to the front."""

    attributes: dict[str, Any] = field(default_factory=dict)
    messages: OrderedDict[str, Message] = field(default_factory=OrderedDict)

    def settle(self, now: float) -> None:
        """Reservations that have ended by now."""
        ended = [each for each in self.messages.values() if each.reservation and each.ready_at <= now]
        for message in reversed(ended):
            message.reservation = ""
            self.messages.move_to_end(message.id, last=False)

    def ready(self, now: float) -> list[Message]:
        self.settle(now)
        return [each for each in self.messages.values() if not each.reservation and each.ready_at <= now]


class Service:
    def __init__(self, shortest: int) -> None:
        self.shortest = shortest
        self.queues: dict[str, Queue] = {}
        self.changed = Condition()
        self.last = 6_000_000_000_000_000_000
        self.tokens: set[str] = set()
        self.given = 0

    def keystone(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        if verb == "DELETE":
            self.tokens.clear()
        if verb != "POST":
            return {"given": self.given}
        if body["auth"]["passwordCredentials"] != {"username": "user", "password": "password"}:
            raise Refusal(401, "Invalid user / password")
        self.given += 1
        token = f"{body['auth']['tenantName']} {self.given}"
        self.tokens.add(token)
        end = "2030-01-01T01:00:00Z" if body["auth"]["tenantName"] == "long" else "2030-01-01T00:00:05Z"
        return {"access": {"token": {"id": token, "issued_at": "2030-01-01T00:00:00.123", "expires": end}}}

    def queue(self, name: str) -> Queue:
        if name not in self.queues:
            raise Refusal(404, "Queue not found")
        self.queues[name].settle(time.monotonic())
        return self.queues[name]

    def held(self, name: str, id: str, body: dict[str, Any]) -> Message:
        """The message, if this reservation of it is the one that counts."""
        message = self.message(name, id)
        if message.reservation and "reservation_id" not in body:
            raise Refusal(403, "Message is reserved, reservation_id is required")
        if message.reservation != body.get("reservation_id", ""):
            raise Refusal(403, "Reservation timed out")
        return message

    def message(self, name: str, id: str) -> Message:
        if id not in (messages := self.queue(name).messages):
            raise Refusal(404, "Message not found")
        return messages[id]

    def timeout(self, name: str, body: dict[str, Any]) -> int:
        seconds = int(body.get("timeout") or self.queue(name).attributes.get("message_timeout", 60))
        if not self.shortest <= seconds <= LONGEST_RESERVATION:
            raise Refusal(400, f"Timeout must be between {self.shortest} and {LONGEST_RESERVATION} seconds")
        return seconds

    # -- the calls, by verb and path ----------------------------------------------------------------

    def put_queue(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self.queues.setdefault(name, Queue()).attributes |= body.get("queue", {})
        return {"queue": {"name": name, **self.queues[name].attributes}}

    def get_queue(self, name: str, _: dict[str, Any]) -> dict[str, Any]:
        queue = self.queue(name)
        return {"queue": {"name": name, "size": len(queue.messages), **queue.attributes}}

    def post_messages(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if len(body["messages"]) > 100:
            raise Refusal(400, "Maximum 100 messages per request")
        queue = self.queues.setdefault(name, Queue())
        ids = []
        for each in body["messages"]:
            delay = int(each.get("delay", 0))
            if not 0 <= delay <= LONGEST_DELAY:
                raise Refusal(400, "Delay must be between 0 and 604800 seconds")
            self.last += 1
            queue.messages[str(self.last)] = Message(str(self.last), str(each["body"]), time.monotonic() + delay)
            ids.append(str(self.last))
        self.changed.notify_all()
        return {"ids": ids, "msg": "Messages put on queue."}

    def post_reservations(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        wanted, wait = int(body.get("n", 1)), int(body.get("wait", 0))
        if not 1 <= wanted <= 100 or not 0 <= wait <= 30:
            raise Refusal(400, "n is 1 to 100, wait 0 to 30")
        seconds, deadline = self.timeout(name, body), time.monotonic() + wait
        while not (ready := self.queue(name).ready(time.monotonic())) and time.monotonic() < deadline:
            self.changed.wait(0.05)
        for message in ready[:wanted]:
            message.reservation, message.count = secrets.token_hex(16), message.count + 1
            message.ready_at = time.monotonic() + seconds
        return {"messages": [{**each.shown(), "reservation_id": each.reservation} for each in ready[:wanted]]}

    def get_message(self, name: str, id: str, _: dict[str, Any]) -> dict[str, Any]:
        return {"message": self.message(name, id).shown()}

    def post_touch(self, name: str, id: str, body: dict[str, Any]) -> dict[str, Any]:
        message = self.held(name, id, body)
        if not message.reservation:
            raise Refusal(403, "Reservation timed out")
        message.ready_at = time.monotonic() + self.timeout(name, body)
        message.reservation = secrets.token_hex(16)
        return {"reservation_id": message.reservation, "msg": "Touched"}

    def post_release(self, name: str, id: str, body: dict[str, Any]) -> dict[str, Any]:
        message = self.held(name, id, body)
        if not message.reservation:
            raise Refusal(403, "Reservation timed out")
        message.reservation, message.ready_at = "", time.monotonic() + int(body.get("delay", 0))
        self.queue(name).messages.move_to_end(id, last=False)
        self.changed.notify_all()
        return {"msg": "Released"}

    def delete_message(self, name: str, id: str, body: dict[str, Any]) -> dict[str, Any]:
        self.held(name, id, body)
        del self.queue(name).messages[id]
        return {"msg": "Deleted"}

    def delete_messages(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """All of those that are named, or none; without names, all that there are."""
        queue = self.queue(name)
        if "ids" not in body:
            queue.messages.clear()
            return {"msg": "Cleared"}
        if len(body["ids"]) > 100:
            raise Refusal(400, "Maximum 100 messages per request")
        for each in body["ids"]:
            self.held(name, str(each["id"]), each)
        for each in body["ids"]:
            queue.messages.pop(str(each["id"]), None)
        return {"msg": "Deleted"}

    def find(self, verb: str, rest: list[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        match verb, rest:
            case (("PUT" | "GET"), [name]):
                call = self.put_queue if verb == "PUT" else self.get_queue
                return lambda body: call(name, body)
            case "POST", [name, "messages" | "reservations" as what]:
                post = self.post_messages if what == "messages" else self.post_reservations
                return lambda body: post(name, body)
            case "DELETE", [name, "messages"]:
                return lambda body: self.delete_messages(name, body)
            case (("GET" | "DELETE"), [name, "messages", id]):
                one = self.get_message if verb == "GET" else self.delete_message
                return lambda body: one(name, id, body)
            case "POST", [name, "messages", id, "touch" | "release" as what]:
                do = self.post_touch if what == "touch" else self.post_release
                return lambda body: do(name, id, body)
        raise Refusal(404, "Not found")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service
    project: str
    token: str

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        try:
            status, found = 201 if self.command == "POST" else 200, self.do(raw)
        except Refusal as refusal:
            status, found = refusal.status, {"msg": refusal.msg}
        except (KeyError, TypeError, ValueError) as error:
            status, found = 400, {"msg": f"Bad request: {error!r}"}
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def do(self, raw: bytes) -> dict[str, Any]:
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        if parts == ["v2.0", "tokens"]:
            return self.service.keystone(self.command, json.loads(raw or b"{}"))
        token = str(self.headers.get("Authorization")).removeprefix("OAuth ")
        if token not in {self.token, *self.service.tokens}:
            raise Refusal(401, "You must be authorized.")
        if len(raw) > LARGEST:
            raise Refusal(400, f"Request is too large: {len(raw)} bytes")
        if parts[0] == "behind":
            parts = parts[1:]
        if parts[:4] != ["3", "projects", self.project, "queues"]:
            raise Refusal(403, "This project is not yours")
        with self.service.changed:
            return self.service.find(self.command, parts[4:])(json.loads(raw or b"{}"))

    def log_message(self, format: str, *values: Any) -> None:
        """Only errors are of interest."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main(port: str, project: str, token: str, shortest: str) -> None:
    Handler.service, Handler.project, Handler.token = Service(int(shortest)), project, token
    Listener(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
