"""A proxy's certificate: asked for over gRPC, kept in a file, renewed, and never lost."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from plait.agent.renewal import Claim, Renewal
from plait.agent.secrets import IDENTITY, Secrets
from plait.base.clock import WallClock
from plait.xds import protos
from tests.support.plane import free_port
from tests.support.signing import DEMO, Authority, Signing

CLAIM = Claim(
    namespace="demo",
    service_account="web",
    pod="demo/web-1",
    proxy="sidecar~10.0.0.1~web-1.demo~demo.svc.cluster.local",
)


class Kept:
    """A renewal that runs in a directory."""

    def __init__(self, directory: Path, claim: Claim, address: str) -> None:
        self.secrets = Secrets()
        self.file = directory / "identity"
        address = address or f"unix:{directory}/plane.sock"
        self.renewal = Renewal(claim, self.file, address, self.secrets, WallClock())

    @property
    def number(self) -> int:
        """Of the certificate in force."""
        return self.secrets.number(IDENTITY)

    def shown(self) -> tuple[x509.Certificate, str]:
        """The certificate in force, and its key."""
        found = self.secrets.resource(IDENTITY)
        assert found is not None
        pair = protos.Secret.FromString(found.body).tls_certificate
        [leaf] = x509.load_pem_x509_certificates(pair.certificate_chain.inline_bytes)
        return leaf, pair.private_key.inline_bytes.decode()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not holds():  # noqa: ASYNC110 - what is looked at has no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def kept(directory: Path, claim: Claim = CLAIM, address: str = "") -> AsyncIterator[Kept]:
    found = Kept(directory, claim, address)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(found.renewal.run())
        try:
            yield found
        finally:
            task.cancel()


def served(signing: Signing, directory: Path):
    return signing.at(f"unix:{directory}/plane.sock")


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_a_proxy_is_given_its_identity_and_says_for_which_pod_it_asks(tmp_path: Path):
    async def story() -> None:
        signing = Signing()
        async with served(signing, tmp_path), kept(tmp_path) as found:
            await found.until(lambda: found.number)
            leaf, _ = found.shown()
            [asked] = signing.requests

            assert leaf.subject.rfc4514_string() == ""
            assert asked.metadata == {"Pod": "demo/web-1", "Proxy": CLAIM.proxy}
            assert asked.seconds == 0
            names = x509.load_pem_x509_csr(asked.csr.encode()).extensions
            assert list(names) == []
            assert stat.S_IMODE(found.file.stat().st_mode) == 0o600
            assert "PRIVATE KEY" not in repr(asked)

    run(story)


def test_where_the_trust_domain_is_known_the_identity_is_asked_for_by_name(tmp_path: Path):
    async def story() -> None:
        signing = Signing()
        claim = Claim(
            namespace="demo", service_account="web", trust_domain="cluster.local", seconds=77
        )
        async with served(signing, tmp_path), kept(tmp_path, claim) as found:
            await found.until(lambda: found.number)
            [asked] = signing.requests
            names = x509.load_pem_x509_csr(asked.csr.encode()).extensions
            [name] = names.get_extension_for_class(x509.SubjectAlternativeName).value

            wanted = {"ImpersonatedIdentity": DEMO, "Account": "/ns/demo/sa/web"}
            assert (asked.metadata, asked.seconds) == (wanted, 77)
            assert name.value == DEMO

    run(story)


def test_a_certificate_is_renewed_with_another_key_before_it_ends(tmp_path: Path):
    async def story() -> None:
        signing = Signing()
        signing.seconds = 2
        claim = Claim(namespace="demo", service_account="web", seconds=2)
        async with served(signing, tmp_path), kept(tmp_path, claim) as found:
            await found.until(lambda: found.number)
            first = found.shown()
            await found.until(lambda: found.number > 2)
            later = found.shown()

            assert later[0].serial_number != first[0].serial_number
            assert later[1] != first[1]

    run(story)


def test_while_nobody_signs_the_last_certificate_stays_and_a_new_agent_has_it(tmp_path: Path):
    async def story() -> None:
        signing = Signing()
        claim = Claim(namespace="demo", service_account="web", seconds=4)
        async with served(signing, tmp_path), kept(tmp_path, claim) as found:
            await found.until(lambda: found.number)
            before = found.shown()
        with capture_logs() as logs:
            async with kept(tmp_path, claim) as later:
                await later.until(lambda: later.number)
                await later.until(lambda: logs)
                assert later.shown() == before
                async with served(signing, tmp_path):
                    await later.until(lambda: later.number > 1)

        told = [one["event"] for one in logs]
        assert told == ["certificate not renewed", "certificate received"]

    run(story)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", None])
def test_an_identity_that_cannot_be_used_is_asked_for_anew(tmp_path: Path, content: bytes | None):
    async def story() -> None:
        signing = Signing()
        signing.identity = DEMO if content else "spiffe://cluster.local/ns/demo/sa/other"
        claim = Claim(namespace="demo", service_account="web" if content else "other")
        async with served(signing, tmp_path):
            async with kept(tmp_path, claim) as found:
                await found.until(lambda: found.number)
            if content is not None:
                found.file.write_bytes(content)
            signing.identity = DEMO
            async with kept(tmp_path) as found:
                await found.until(lambda: found.number)

        assert len(signing.requests) == 2

    run(story)


def test_a_refusal_is_logged_once_and_tried_again(tmp_path: Path):
    async def story() -> None:
        signing = Signing()
        signing.refusal = (grpc.StatusCode.PERMISSION_DENIED, "Pod demo/web-1 does not run here")
        with capture_logs() as logs:
            async with served(signing, tmp_path), kept(tmp_path) as found:
                await found.until(lambda: len(signing.requests) > 2)
                signing.refusal = None
                await found.until(lambda: found.number)

        refused, given = logs
        assert refused["error"] == "PERMISSION_DENIED: Pod demo/web-1 does not run here"
        assert (given["event"], given["key"]) == ("certificate received", DEMO)

    run(story)


def test_a_certificate_of_somebody_else_is_not_shown(tmp_path: Path):
    async def story() -> None:
        signing = Signing()
        signing.identity = "spiffe://cluster.local/ns/demo/sa/admin"
        with capture_logs() as logs:
            async with served(signing, tmp_path), kept(tmp_path) as found:
                await found.until(lambda: len(signing.requests) > 1)

                assert found.number == 0
                assert not found.file.exists()

        assert "/ns/demo/sa/admin" in logs[0]["error"]

    run(story)


def test_when_another_root_becomes_the_first_a_certificate_under_it_is_asked_for(tmp_path: Path):
    async def story() -> None:
        old, new = Authority("old"), Authority("new")
        signing = Signing(old)
        async with served(signing, tmp_path), kept(tmp_path) as found:
            found.renewal.trust(old.root)
            await found.until(lambda: found.number)
            found.renewal.trust(old.root + new.root)
            await asyncio.sleep(0)
            assert len(signing.requests) == 1

            signing.authority = new
            found.renewal.trust(new.root + old.root)
            await found.until(lambda: found.number > 1)
            leaf, _ = found.shown()
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(new.root.encode()))

    run(story)


def test_a_token_is_shown_once_over_tls_and_the_certificate_it_gave_from_then_on(tmp_path: Path):
    async def story() -> None:
        token = tmp_path / "token"
        token.write_text("canary-token\n")
        signing = Signing()
        signing.seconds = 3
        join, door = (f"localhost:{free_port()}" for _ in range(2))
        claim = Claim(
            namespace="demo",
            service_account="web",
            token=token,
            join=join,
            roots=signing.authority.root,
            seconds=3,
        )
        with capture_logs() as logs:
            async with (
                signing.at(join, tls="server"),
                signing.at(door, tls="mutual"),
                kept(tmp_path, claim, door) as found,
            ):
                await found.until(lambda: found.number > 2)
                shown = found.renewal.door()

            async with signing.at(join, tls="server"), kept(tmp_path, claim, door) as found:
                await found.until(lambda: found.number)
                await found.until(lambda: len(logs) > 1)  # what was kept is used, and no token

        assert signing.credentials[0] == "Bearer canary-token"
        assert set(signing.credentials[1:3]) == {""}
        assert signing.callers[:2] == ["", DEMO]
        assert shown is not None
        assert "PRIVATE" in shown.key
        assert "PRIVATE" not in f"{shown} {logs}"
        assert "canary" not in f"{shown} {logs}"

    run(story)


def test_a_control_plane_under_other_roots_is_not_shown_the_token(tmp_path: Path):
    async def story() -> None:
        (token := tmp_path / "token").write_text("canary-token")
        signing, join = Signing(), f"localhost:{free_port()}"
        claim = Claim(
            namespace="demo",
            service_account="web",
            token=token,
            join=join,
            roots=Authority().root,
        )
        with capture_logs() as logs:
            async with signing.at(join, tls="server"), kept(tmp_path, claim) as found:
                await found.until(lambda: logs)

        assert "not known by the roots given: plait ca roots" in logs[0]["error"]
        assert signing.credentials == []

    run(story)


def test_without_a_token_or_a_certificate_nobody_is_asked(tmp_path: Path):
    async def story() -> None:
        claim = Claim(namespace="demo", service_account="web", roots=Authority().root)
        with capture_logs() as logs:
            async with kept(tmp_path, claim) as found:
                await found.until(lambda: logs)
                assert found.renewal.door() is None

        assert "no token" in logs[0]["error"]

    run(story)


@pytest.mark.parametrize("content", [b"", b"canary\nof two lines", b"canary\xff"])
def test_a_file_that_holds_no_token_is_named_and_not_shown(tmp_path: Path, content: bytes):
    async def story() -> None:
        token = tmp_path / "token"
        token.write_bytes(content)
        roots = Authority().root
        claim = Claim(namespace="demo", service_account="web", token=token, roots=roots)
        with capture_logs() as logs:
            async with kept(tmp_path, claim) as found:
                await found.until(lambda: logs)

        assert logs[0]["error"] == f"there is no token in {token}"
        assert "canary" not in str(logs)

    run(story)
