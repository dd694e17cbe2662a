"""A secret discovery service as another mesh's agent would have it: state of the world, pushed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc

from plait.xds import protos
from plait.xds.resource import SECRET
from tests.support.pki import Pair

SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"


class Secrets:
    """Serves secrets by name on a Unix socket; what is replaced is pushed."""

    def __init__(self, path: Path, identity: Pair | None, *roots: str) -> None:
        self._path = path
        self._secrets: dict[str, Any] = {}
        self._streams: dict[queue.Queue[bytes | None], set[str]] = {}
        self._lock = threading.Lock()
        if identity is not None:
            self.certificate("default", identity)
        if roots:
            self.roots("ROOTCA", *roots)

    def certificate(self, name: str, pair: Pair) -> None:
        """Hand out a certificate with its key."""
        secret = protos.Secret(name=name)
        secret.tls_certificate.certificate_chain.inline_string = pair.chain
        secret.tls_certificate.private_key.inline_string = pair.key
        self._put(secret)

    def roots(self, name: str, *roots: str) -> None:
        """Hand out certificates to trust."""
        secret = protos.Secret(name=name)
        secret.validation_context.trusted_ca.inline_string = "".join(roots)
        self._put(secret)

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(64))
        handler = grpc.stream_stream_rpc_method_handler(self._stream)
        methods = {"StreamSecrets": handler}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods),)
        )
        self._server.add_insecure_port(f"unix:{self._path}")
        self._server.start()
        self._path.chmod(0o777)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for stream in self._streams:
                stream.put(None)
        self._server.stop(0).wait(5)

    def _put(self, secret: Any) -> None:
        with self._lock:
            self._secrets[secret.name] = secret
            for stream, names in self._streams.items():
                if secret.name in names:
                    stream.put(self._answer({secret.name}))

    def _stream(self, requests: Iterable[bytes], _: Any) -> Iterator[bytes]:
        answers: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, args=(requests, answers), daemon=True).start()
        while (answer := answers.get()) is not None:
            yield answer

    def _read(self, requests: Iterable[bytes], answers: queue.Queue[bytes | None]) -> None:
        try:
            for data in requests:
                request = protos.DiscoveryRequest.FromString(data)
                names = set(request.resource_names)
                with self._lock:
                    asked = self._streams.setdefault(answers, set())
                    fresh = (names - asked) & self._secrets.keys()
                    self._streams[answers] = names
                    if fresh:
                        answers.put(self._answer(fresh))
        except grpc.RpcError:
            pass
        with self._lock:
            self._streams.pop(answers, None)
        answers.put(None)

    def _answer(self, names: Iterable[str]) -> bytes:
        response = protos.DiscoveryResponse(type_url=SECRET, nonce="n", version_info="1")
        for name in sorted(names):
            response.resources.add().Pack(self._secrets[name])
        data: bytes = response.SerializeToString()
        return data
