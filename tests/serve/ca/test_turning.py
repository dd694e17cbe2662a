"""A rotation with connected proxies: told over xDS, waited for, and gone on with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plait.base.errors import RefusedError
from plait.config.mesh_config import MeshConfig
from plait.serve.ca import overview
from plait.serve.ca.rotation import Phase
from plait.xds import protos
from plait.xds.resource import SECRET
from plait.xds.secrets import ROOTS
from tests.support.certifying import DEMO, Office, asked, certifying, played, pod
from tests.support.issuing import Authority, names, plug, uri
from tests.support.xds_client import Client, connected, node

A = "sidecar~10.0.0.1~a.demo~demo.svc.cluster.local"
B = "sidecar~10.0.0.2~b.demo~demo.svc.cluster.local"


@asynccontextmanager
async def proxy(office: Office, who: str = A, *, silent: bool = False) -> AsyncIterator[Client]:
    """A proxy whose agent asks for the roots."""
    about = node(who, PLAIT_SDS="true")
    async with connected(office.tcp, node=about, silent=silent) as client:
        await client.subscribe(SECRET, ROOTS)
        await client.has(SECRET, ROOTS)
        yield client


def roots(client: Client) -> str:
    """The roots that a proxy was told."""
    secret = protos.Secret.FromString(client.resources[SECRET][ROOTS])
    return str(secret.validation_context.trusted_ca.inline_bytes.decode())


async def renewed(office: Office, who: str, name: str) -> None:
    said = {"Pod": f"demo/{name}", "ImpersonatedIdentity": f"{DEMO}/default", "Proxy": who}
    await asked(office.private, said)


async def reaches(office: Office, phase: Phase) -> None:
    await office.until(lambda: office.ca.roots.state.phase is phase, phase.value)


async def waits(office: Office, *expected: tuple[str, str]) -> None:
    """Until the rotation waits for these, each with a reason."""
    await office.until(
        lambda: [(w.proxy, w.reason) for w in office.ca.waits()] == list(expected), str(expected)
    )


def test_a_rotation_tells_proxies_and_waits_for_what_they_renew(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office, proxy(office) as client:
            await office.plane.apply(pod("a"))
            await renewed(office, A, "a")
            old = office.ca.roots.trusted[0]
            assert roots(client) == old
            await office.ca.rotate(force=False)
            await reaches(office, Phase.SIGNING)
            new = office.ca.roots.trusted[0]
            await client.until(lambda: roots(client) == new + old, "both, the new one first")
            await waits(office, (A, "has a certificate of the old root"))
            await renewed(office, A, "a")
            await reaches(office, Phase.STEADY)
            await client.until(lambda: roots(client) == new, "the new one")

    played(story)


def test_a_proxy_that_does_not_acknowledge_holds_the_new_root_back(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            async with proxy(office, silent=True) as client:
                old = office.ca.roots.trusted[0]
                await office.ca.rotate(force=True)
                await waits(office, (A, "has not acknowledged the roots"))
                assert office.ca.roots.signer.root == old
                assert roots(client) == old
            await reaches(office, Phase.STEADY)

    played(story)


def test_a_proxy_that_refuses_the_roots_holds_the_new_one_back(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            async with proxy(office) as client:
                client.judge = lambda response: "not today"
                await office.ca.rotate(force=False)
                await waits(office, (A, "has not acknowledged the roots"))
                assert office.ca.roots.state.phase is Phase.TRUSTING
            await reaches(office, Phase.STEADY)

    played(story)


def test_a_proxy_without_an_identity_is_not_waited_for(tmp_path: Path):
    async def story() -> None:
        async with (
            certifying(tmp_path) as office,
            connected(office.tcp, node=node(A), silent=True) as client,
        ):
            await client.subscribe(SECRET, ROOTS)
            await client.has(SECRET, ROOTS)
            await office.ca.rotate(force=False)
            await reaches(office, Phase.STEADY)

    played(story)


def test_a_proxy_that_is_away_with_an_old_certificate_holds_it_until_forced(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path, grace=0.0) as office:
            await office.plane.apply(pod("a"), pod("b"))
            await renewed(office, B, "b")
            await office.ca.rotate(force=False)
            why = "is not connected, and has a certificate of the old root"
            await waits(office, (B, why))
            assert office.ca.roots.state.phase is Phase.SIGNING
            await office.ca.rotate(force=True)
            await reaches(office, Phase.STEADY)

    played(story)


def test_a_pod_that_is_gone_is_not_waited_for(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path, grace=0.0) as office:
            await office.plane.apply(pod("b"))
            await renewed(office, B, "b")
            await office.ca.rotate(force=False)
            await reaches(office, Phase.SIGNING)
            [record] = office.store.records("Pod")
            await office.plane.delete(record.key)
            await reaches(office, Phase.STEADY)
            await office.until(lambda: not office.ca.ledger.entries, "it is forgotten")

    played(story)


@pytest.mark.parametrize("phase", [Phase.TRUSTING, Phase.SIGNING])
def test_a_rotation_is_gone_on_with_by_the_next_control_plane(tmp_path: Path, phase: Phase):
    async def story() -> None:
        grace = 300.0 if phase is Phase.TRUSTING else 0.0
        async with certifying(tmp_path, grace=grace) as office:
            await office.plane.apply(pod("a"))
            await renewed(office, A, "a")
            await office.ca.rotate(force=False)
            await reaches(office, phase)
            both = set(office.ca.roots.trusted)
        async with certifying(tmp_path, grace=grace) as office, proxy(office) as client:
            assert office.ca.roots.state.phase is phase
            assert set(office.ca.roots.trusted) == both
            await reaches(office, Phase.SIGNING)
            await renewed(office, A, "a")
            await reaches(office, Phase.STEADY)
            await client.until(lambda: roots(client) in both, "one root")

    played(story)


def test_an_aborted_rotation_ends_with_the_old_root_alone(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office, proxy(office) as client:
            await office.plane.apply(pod("a"))
            await renewed(office, A, "a")
            old = office.ca.roots.trusted[0]
            await office.ca.rotate(force=False)
            await reaches(office, Phase.SIGNING)
            await renewed(office, A, "a")
            await office.ca.abort()
            await waits(office, (A, "has a certificate of the old root"))
            await renewed(office, A, "a")
            await reaches(office, Phase.STEADY)
            await client.until(lambda: roots(client) == old, "the old root")
            with pytest.raises(RefusedError, match="no rotation"):
                await office.ca.abort()

    played(story)


def test_files_of_the_users_own_authority_are_followed(tmp_path: Path):
    async def story() -> None:
        one, two = Authority("one"), Authority("two")
        plug(tmp_path / "own", one)
        async with (
            certifying(tmp_path, plugged=tmp_path / "own", grace=0.0) as office,
            proxy(office) as client,
        ):
            assert roots(client) == one.pem
            plug(tmp_path / "own", two)
            await client.until(lambda: roots(client) == two.pem, "the other root")
            (tmp_path / "own" / "ca-key.pem").write_text("broken")
            await office.until(lambda: office.ca.roots.problem, "the problem is told")
            assert office.ca.roots.trusted == (two.pem,)
            [alarm] = overview.alarms(office.ca)
            assert "ca-key.pem" in alarm

    played(story)


def test_another_trust_domain_is_told_and_issued(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("a"))
            assert office.ca.bundle.trust_domain == "cluster.local"
            settings = MeshConfig(trust_domain="example.org")
            await office.store.observe([("MeshConfig", "mesh", settings)])
            other = "spiffe://example.org/ns/demo/sa/default"
            chain = await asked(office.private, {"Pod": "demo/a", "ImpersonatedIdentity": other})

            assert names(chain[0]) == [uri(other)]
            assert office.ca.bundle.trust_domain == "example.org"

    played(story)
