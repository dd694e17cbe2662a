"""``plait serve`` open to other machines: a token, a certificate by it, a stream by that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from plait.base import unix_http
from plait.serve.doors import Pair
from plait.xds import certificates
from plait.xds.resource import CLUSTER
from tests.support import mesh
from tests.support.authority import credentials
from tests.support.plane import Plane, PlaneEndedError, free_port
from tests.support.xds_client import connected, node


class Far(Plane):
    """With doors for other machines; the command line uses the socket of our own user."""

    def __init__(self, directory: Path) -> None:
        self.far = f"127.0.0.1:{free_port()}"
        self.join = f"127.0.0.1:{free_port()}"
        files = directory / "mesh"
        files.mkdir()
        (files / "reviews.yaml").write_text(mesh.service("reviews", "http:9080", ip="10.96.0.1"))
        doors = ("--xds-tls", self.far, "--join", self.join, "--api-tls")
        super().__init__(directory, *doors, files=files)
        self.environment["PLAIT_SERVER"] = f"unix:{self.data / 'api.sock'}"

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        connection = unix_http.Connection(str(self.data / "api.sock"), 5.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    @property
    def root(self) -> str:
        """As a user gets it."""
        return self.run("ca", "roots")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with Far(tmp_path_factory.mktemp("far")) as running:
        yield running


def test_a_machine_joins_with_a_token_and_is_served_as_what_it_is(far: Far):
    token = far.run("token", "create", "-n", "demo", "--service-account", "web").strip()
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    asked = csr.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    async def ask(address: str, door: object) -> tuple[str, ...]:
        metadata = (("authorization", f"Bearer {token}"),)
        async with grpc.aio.secure_channel(address, door) as channel:
            call = channel.unary_unary(certificates.METHOD)
            return certificates.read_response(
                await call(certificates.request(asked, 0, {}), metadata=metadata)
            )

    async def story() -> tuple[str | None, grpc.StatusCode]:
        chain = await ask(far.join, credentials(far.root))
        mine = credentials(far.root, Pair(chain="".join(chain), key=private.decode()))
        names = x509.load_pem_x509_certificate(chain[0].encode()).extensions
        (uri,) = names.get_extension_for_class(x509.SubjectAlternativeName).value
        claimed = node(NAMESPACE="demo", SERVICE_ACCOUNT="web")
        async with connected(far.far, node=claimed, credentials=mine) as client:
            await client.subscribe(CLUSTER)
            await client.has(CLUSTER, "outbound|9080||reviews.demo.svc.cluster.local")
        other = node(NAMESPACE="demo", SERVICE_ACCOUNT="bank")
        async with connected(far.far, node=other, credentials=mine) as client:
            await client.subscribe(CLUSTER)
            await client.ended.wait()
        assert client.error is not None
        return uri.value, client.error.code()

    identity, refused = asyncio.run(asyncio.wait_for(story(), 30))

    assert identity == "spiffe://cluster.local/ns/demo/sa/web"
    assert refused is grpc.StatusCode.PERMISSION_DENIED


def test_the_api_knows_who_asks_by_a_token_and_our_own_user_by_the_socket(far: Far, tmp_path: Path):
    bundle = tmp_path / "roots.pem"
    bundle.write_text(far.root)
    token = far.run("token", "api", "vera", "--role", "editor", "-n", "demo").splitlines()[0]
    environment = dict(far.environment)
    far.environment["PLAIT_SERVER"] = f"https://{far.api}"
    far.environment["PLAIT_CERTIFICATE_AUTHORITY"] = str(bundle)
    try:
        unknown = far.run("get", "services", "-A", ok=False)
        far.environment["PLAIT_TOKEN"] = token
        known = far.run("get", "services", "-A")
    finally:
        far.environment.clear()
        far.environment.update(environment)

    assert "a bearer token is needed" in unknown
    assert "reviews" in known
    assert (far.data / "api.sock").stat().st_mode & 0o777 == 0o600
    assert (far.data / "doors").stat().st_mode & 0o777 == 0o700
    assert token not in far.log.read_text()


def test_plain_text_for_other_machines_is_refused_at_the_start(tmp_path: Path):
    plane = Plane(tmp_path, "--xds", "0.0.0.0:0")

    with pytest.raises(PlaneEndedError, match="--insecure-xds"):
        plane.start()


def test_an_open_api_is_refused_at_the_start(tmp_path: Path):
    plane = Plane(tmp_path, "--api", "0.0.0.0:0")

    with pytest.raises(PlaneEndedError, match="--api-tls"):
        plane.start()
