"""What all bookinfo services share: a small HTTP/1.1 server and calls to the others.

Calls go where ``http_proxy`` says, as in any program that uses the standard library: nothing here
knows of a mesh.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import socketserver
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

FORWARDED = (
    *("x-request-id", "traceparent", "tracestate", "b3"),
    *("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),
    *("end-user", "user-agent"),
)
"""Headers that a service hands on to those it calls, so that one request stays one story."""

UNREACHABLE = 503
"""Status that stands for "nobody answered"."""


class Request(NamedTuple):
    """One request; `headers` are looked up without regard to case."""

    method: str
    url: SplitResult
    headers: Message
    body: bytes = b""

    @property
    def path(self) -> str:
        """Without the query, and without a slash at the end."""
        return self.url.path.rstrip("/") or "/"


class Reply(NamedTuple):
    """One answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """What another service said; `status` is 503 where nobody answered."""

    status: int
    value: Any = None

    @property
    def is_good(self) -> bool:
        """Whether there is a value to show."""
        return self.status == HTTPStatus.OK


Answering = Callable[[Request], Reply]


class Service(NamedTuple):
    """Who answers: shown on the page."""

    name: str
    version: str

    def signed(self, value: dict[str, Any]) -> Reply:
        """A JSON object that says who made it."""
        return in_json({**value, "servedBy": self.name, "version": self.version})


def in_json(value: Any, status: int = 200) -> Reply:
    """`value` as an answer."""
    return Reply(json.dumps(value, indent=1).encode() + b"\n", status)


def not_found() -> Reply:
    """The answer to a path that is not there."""
    return in_json({"error": "no such page"}, 404)


def product_id(request: Request, prefix: str) -> int | None:
    """The number in ``PREFIX/NUMBER``; None: the path is another."""
    head, _, number = request.path.rpartition("/")
    return int(number) if head == prefix and number.isascii() and number.isdigit() else None


def forwarded(headers: Message) -> dict[str, str]:
    """The headers of a request that go on to the services called because of it."""
    return {name: value for name in FORWARDED if (value := headers.get(name))}


def ask(url: str, headers: Mapping[str, str], seconds: float) -> Answer:
    """GET a JSON document of another service."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - our own peers
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            return Answer(response.status, json.load(response))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code)
    except (OSError, ValueError):
        return Answer(UNREACHABLE)


class Server(ThreadingHTTPServer):
    """Binds without asking DNS for its own name, and ends without waiting for idle clients."""

    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind, and take the address as the name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


def server(answering: Answering, host: str, port: int) -> Server:
    """A server that listens; port 0: a free one."""

    class Handler(_Handler):
        answer = staticmethod(answering)

    return Server((host, port), Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "bookinfo"
    sys_version = ""
    wbufsize = -1  # headers and body leave in one segment ...
    disable_nagle_algorithm = True  # ... and at once
    answer: Answering

    def do_GET(self) -> None:
        length = self.headers.get("content-length") or "0"
        if "transfer-encoding" in self.headers or not length.isdigit():
            self.close_connection = True
            self._send(in_json({"error": "a body needs a length"}, 411))
            return
        body = self.rfile.read(int(length))
        self._send(self.answer(Request(self.command, urlsplit(self.path), self.headers, body)))

    do_HEAD = do_POST = do_GET  # noqa: N815 - names that http.server looks for

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("content-length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """A line for each request, but for those of probes."""
        if self.path != "/health":
            super().log_request(code, size)


def options(description: str | None, **defaults: str) -> argparse.Namespace:
    """Flags of a service: where it listens, who it says it is, and what is in `defaults`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9080)
    here = socket.gethostname()
    parser.add_argument("--name", default=here, help="of this instance; by default the host's")
    for name, default in {"version": "v1", **defaults}.items():
        parser.add_argument(f"--{name}", default=default, help=f"default: {default}")
    return parser.parse_args()


def run(answering: Answering, given: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        listening = server(answering, given.host, given.port)
    except OSError as error:
        sys.exit(f"error: cannot listen on {given.host}:{given.port}: {error.strerror}")
    with listening:
        listening.serve_forever()
