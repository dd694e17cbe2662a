"""A small certificate authority for tests, alone and as the control plane's gRPC method."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plait.config.kinds.observed import TrustBundle
from plait.xds import certificates
from plait.xds.certificates import CertificateRequest
from tests.support.served import serving

DEMO = "spiffe://cluster.local/ns/demo/sa/web"


class Authority:
    """A root, its key, and what was asked of it."""

    def __init__(self, name: str = "root") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._key.public_key(), 3600 * 24)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), True)
        self._certificate = builder.issuer_name(self._name).sign(self._key, hashes.SHA256())
        self.root = _pem(self._certificate)

    def issue(
        self, public: Any, identity: str = DEMO, seconds: float = 3600, *, begins: float = -3600
    ) -> tuple[str, ...]:
        """The chain of a certificate for a key that is good for `seconds`."""
        kind: Any = x509.UniformResourceIdentifier
        if identity.startswith("dns:"):
            identity, kind = identity.removeprefix("dns:"), x509.DNSName
        name = x509.SubjectAlternativeName([kind(identity)])
        builder = _builder(x509.Name([]), public, seconds, begins).issuer_name(self._name)
        signed = builder.add_extension(name, True).sign(self._key, hashes.SHA256())
        return _pem(signed), self.root

    def server(self) -> tuple[str, str]:
        """A certificate for ``localhost``, and its key."""
        return self.pair("dns:localhost")

    def listen(self, server: Any, address: str, tls: str = "") -> None:
        """Add an address to a gRPC server; `tls`: ``server`` or ``mutual``; empty: without."""
        if not tls:
            server.add_insecure_port(address)
            return
        chain, key = self.server()
        is_mutual = tls == "mutual"
        roots = self.root.encode() if is_mutual else None
        pair = [(key.encode(), chain.encode())]
        server.add_secure_port(address, grpc.ssl_server_credentials(pair, roots, is_mutual))

    def pair(self, identity: str = DEMO, seconds: float = 3600) -> tuple[str, str]:
        """A chain without its root, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self.issue(key.public_key(), identity, seconds)[0], text.decode()


class Signing:
    """The method that signs.

    Attributes:
        authority: that signs; may be changed.
        refusal: status and words of the answer; None: it signs.
        requests: what was asked for, with the credential of each in `credentials`, and the
            identity of its certificate in `callers`.
    """

    def __init__(self, authority: Authority | None = None) -> None:
        self.authority = authority or Authority()
        self.identity = DEMO
        self.seconds = 3600.0
        self.refusal: tuple[Any, str] | None = None
        self.answer: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda chain: chain
        self.requests: list[CertificateRequest] = []
        self.credentials: list[str] = []
        self.callers: list[str] = []

    async def sign(self, data: bytes, context: Any) -> bytes:
        said = dict(context.invocation_metadata())
        self.credentials.append(str(said.get(certificates.CREDENTIAL, "")))
        names = context.auth_context().get("x509_subject_alternative_name", [b""])
        self.callers.append(names[0].decode())
        self.requests.append(certificates.read_request(data))
        if self.refusal is not None:
            await context.abort(*self.refusal)
        request = x509.load_pem_x509_csr(self.requests[-1].csr.encode())
        assert request.is_signature_valid
        chain = self.authority.issue(request.public_key(), self.identity, self.seconds)
        return certificates.response(self.answer(chain))

    @asynccontextmanager
    async def at(self, address: str, tls: str = "") -> AsyncIterator[None]:
        """Served there meanwhile; `tls`: ``server`` or ``mutual``; empty: without."""
        service, _, method = certificates.METHOD.strip("/").partition("/")
        server = grpc.aio.server()
        handlers = {method: grpc.unary_unary_rpc_method_handler(self.sign)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.authority.listen(server, address, tls)
        await server.start()
        try:
            yield
        finally:
            await server.stop(0.1)


class Front(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A control plane that signs: everything else is that of the one at `upstream`."""

    def __init__(self, signing: Signing, upstream: str) -> None:
        self._signing = signing
        self._upstream = upstream

    def service(self, details: Any) -> Any:
        if details.method == certificates.METHOD:
            return grpc.unary_unary_rpc_method_handler(self._signing.sign)

        async def forward(requests: Any, _: Any) -> AsyncIterator[bytes]:
            async with grpc.aio.insecure_channel(self._upstream) as channel:
                async for message in channel.stream_stream(details.method)(requests):
                    yield message

        return grpc.stream_stream_rpc_method_handler(forward)

    async def run(self, doors: Mapping[str, str]) -> None:
        """Serve until cancelled; `doors` are addresses, and how they are encrypted."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self,))
        for address, tls in doors.items():
            self._signing.authority.listen(server, address, tls)
        await server.start()
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop(0.1)


@contextmanager
def mesh_at(address: str, **doors: str) -> Iterator[Signing]:
    """A control plane that signs and says whom to trust, in a thread of its own.

    It is at `address`, and encrypted at the ports that `doors` names by ``server`` and ``mutual``.
    """
    signing = Signing()
    loop = asyncio.new_event_loop()
    addresses = {address: "", **{where: tls for tls, where in doors.items()}}
    task = loop.create_task(_mesh(signing, addresses))
    thread = threading.Thread(target=_until_done, args=(loop, task), daemon=True)
    thread.start()
    try:
        yield signing
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


async def _mesh(signing: Signing, doors: Mapping[str, str]) -> None:
    async with serving() as plane:
        roots = (signing.authority.root,)
        bundle = TrustBundle(trust_domain="cluster.local", roots=roots)
        await plane.store.observe([("TrustBundle", "mesh", bundle)])
        await Front(signing, plane.address).run(doors)


def _until_done(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def _builder(name: Any, public: Any, seconds: float, begins: float = -3600) -> Any:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).public_key(public)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(seconds=begins))
        .not_valid_after(now + dt.timedelta(seconds=seconds))
    )


def _pem(certificate: Any) -> str:
    return str(certificate.public_bytes(serialization.Encoding.PEM).decode())
