"""A server outside the mesh that speaks TLS and says which certificate its client showed."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.pki import Pair

_PATIENCE = 10.0  # seconds for a handshake


def fingerprint(pair: Pair) -> str:
    """The digest by which the server names a client."""
    found = x509.load_pem_x509_certificate(pair.chain.encode())
    return hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()


class Answer(BaseHTTPRequestHandler):
    """One connection, and one request on it: so each request is a handshake."""

    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        shown = self.connection.getpeercert(binary_form=True)
        client = hashlib.sha256(shown).hexdigest() if shown else "nobody"
        body = json.dumps({"name": client}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Outside(ThreadingHTTPServer):
    """The server, on a port of its own of 127.0.0.1.

    Args:
        directory: where its certificate is put.
        pair: what it shows.
        clients: the root that a client's certificate must be under; empty: none is asked for.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, directory: Path, pair: Pair, clients: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.port: int = self.server_address[1]
        self._directory = directory
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # a client that comes back is shown the certificate again
        self._context.options |= ssl.OP_NO_TICKET
        self._context.num_tickets = 0
        if clients:
            self._context.load_verify_locations(cadata=clients)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.show(pair)

    def show(self, pair: Pair) -> None:
        """Show this certificate from the next connection on."""
        file = self._directory / f"{self.port}.pem"
        file.write_text(pair.chain + pair.key)
        self._context.load_cert_chain(file)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.settimeout(_PATIENCE)
        wrapped = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        return wrapped, address

    def handle_error(self, *_: Any) -> None:
        """A handshake that fails is the client's business."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
