"""Certificates over real gRPC: who gets one, who does not, and what is said of it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from plait.config.catalog import KINDS
from plait.serve.ca import run
from plait.xds import certificates
from tests.support.certifying import DEMO, Office, asked, called, certifying, played, pod, refused
from tests.support.issuing import Authority, csr, names, private, text, uri

NOTHING: dict[str, str] = {}
PROXY = {"Proxy": "sidecar~1~web.demo~x"}
WEB = {"Pod": "demo/web", "ImpersonatedIdentity": f"{DEMO}/default"}


def pod_key(name: str):
    return KINDS["Pod"].key("demo", name)


def test_the_agent_of_the_machine_gets_the_identity_of_a_pod_that_runs_here(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("web"), pod("billing-1", "billing"))
            chain = await asked(office.private, WEB)
            other = await asked(
                office.private,
                {"Pod": "demo/billing-1", "ImpersonatedIdentity": f"{DEMO}/billing"},
            )

            unsaid = await asked(office.private, {"Pod": "demo/billing-1"})

            assert names(chain[0]) == [uri(f"{DEMO}/default")]
            assert names(unsaid[0]) == [uri(f"{DEMO}/billing")]
            assert names(other[0]) == [uri(f"{DEMO}/billing")]
            assert chain[-1] == office.ca.roots.trusted[0]

    played(story)


REFUSED = {
    "another identity": ({**WEB, "ImpersonatedIdentity": f"{DEMO}/billing"}, "and not"),
    "another trust domain": (
        {**WEB, "ImpersonatedIdentity": "spiffe://other/ns/demo/sa/default"},
        "and not",
    ),
    "no Pod": ({"ImpersonatedIdentity": f"{DEMO}/default"}, "is missing"),
    "an unknown Pod": ({**WEB, "Pod": "demo/nobody"}, "no Pod"),
    "a Pod of another machine": ({**WEB, "Pod": "demo/away"}, "no Pod"),
    "a Pod that has ended": ({**WEB, "Pod": "demo/done"}, "has ended"),
    "a Pod without a proxy": ({**WEB, "Pod": "demo/plain"}, "no proxy"),
    "a path": ({**WEB, "Pod": "demo/web/../web"}, "no Pod"),
}


@pytest.mark.parametrize(("said", "why"), REFUSED.values(), ids=REFUSED)
def test_an_agent_asks_for_nothing_but_the_pods_that_run_here(tmp_path: Path, said, why):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            office.elsewhere.add(pod_key("away"))
            plain = pod("plain", labels={"sidecar.istio.io/inject": "false"})
            await office.plane.apply(pod("web"), pod("away"), pod("done", phase="Succeeded"), plain)
            with capture_logs() as logs:
                for _ in range(3):
                    code, words = await refused(asked(office.private, said))
                    assert (code, why in words) == ("PERMISSION_DENIED", True), words
            told = [line for line in logs if line["event"] == "certificate refused"]
            assert len(told) == 1, "logged once"

    played(story)


def test_at_any_other_door_a_pods_name_alone_gives_nothing(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("web"))
            for address in (office.tcp, office.open):
                code, words = await refused(asked(address, WEB))
                assert (code, "bearer token" in words) == ("UNAUTHENTICATED", True)

    played(story)


@pytest.mark.parametrize("token", ["nonsense", "plait-join-aa.bb", "plait-join-"])
def test_a_token_that_is_not_known_gives_nothing(tmp_path: Path, token: str):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            with capture_logs() as logs:
                code, words = await refused(asked(office.tcp, token=token))
            assert code == "UNAUTHENTICATED"
            assert token not in words + str(logs)

    played(story)


def test_a_join_token_is_not_used_up_by_who_expects_another_identity(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            token = await made(office)
            other = {certificates.ACCOUNT: "/ns/demo/sa/admin"}
            code, words = await refused(asked(office.tcp, other, token=token))
            mine = {certificates.ACCOUNT: "/ns/demo/sa/billing"}
            chain = await asked(office.tcp, mine, token=token)

        assert code == "PERMISSION_DENIED"
        assert words.endswith(f'is of "{DEMO}/billing", and not of "/ns/demo/sa/admin"')
        assert names(chain[0]) == [uri(f"{DEMO}/billing")]

    played(story)


def test_a_join_token_gives_its_identity_once(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            token = await made(office)
            chain = await asked(office.tcp, token=token)
            assert names(chain[0]) == [uri(f"{DEMO}/billing")]
            with capture_logs() as logs:
                code, words = await refused(asked(office.tcp, token=token))
            assert (code, "used before" in words) == ("UNAUTHENTICATED", True)
            assert token.rpartition(".")[2] not in words + str(logs)
        async with certifying(tmp_path) as office:
            assert (await refused(asked(office.tcp, token=token)))[0] == "UNAUTHENTICATED"

    played(story)


def test_of_many_who_use_a_token_at_once_one_gets_a_certificate(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            token = await made(office)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(outcome(office, token)) for _ in range(20)]
            assert sorted(task.result() for task in tasks) == ["OK", *["UNAUTHENTICATED"] * 19]

    async def outcome(office: Office, token: str) -> str:
        try:
            await asked(office.tcp, token=token)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    played(story)


WRONG = {
    "another identity": ({"ImpersonatedIdentity": f"{DEMO}/admin"}, None, "PERMISSION_DENIED"),
    "another name": (NOTHING, csr([uri(f"{DEMO}/admin")]), "INVALID_ARGUMENT"),
    "no CSR": (NOTHING, "garbage", "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize(("said", "text", "code"), WRONG.values(), ids=WRONG)
def test_what_a_token_does_not_give_leaves_it_as_it_is(tmp_path: Path, said, text, code):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            token = await made(office)

            why, _ = await refused(asked(office.tcp, said, token=token, text=text))

            assert why == code
            assert not office.ca.ledger.entries
            assert names((await asked(office.tcp, token=token))[0]) == [uri(f"{DEMO}/billing")]

    played(story)


def test_a_refusal_shows_the_beginning_of_an_identity_that_has_no_end(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            said = {"ImpersonatedIdentity": f"{DEMO}/{'a' * 60_000}"}
            code, words = await refused(asked(office.tcp, said, token=await made(office)))
            assert (code, len(words) < 1_000) == ("PERMISSION_DENIED", True)

    played(story)


@pytest.mark.parametrize(
    "body",
    [
        certificates.request("", 0, WEB),
        b"\x0a\x05abc",
        certificates.request("garbage", 0, WEB),
        certificates.request(csr([uri(f"{DEMO}/admin")]), 0, WEB),
        certificates.request("x" * certificates.LONGEST, 0, WEB),
    ],
    ids=["empty", "truncated", "garbage", "foreign name", "oversized"],
)
def test_what_is_no_request_is_told_so(tmp_path: Path, body: bytes):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("web"))
            async with grpc.aio.insecure_channel(office.private) as channel:
                assert (await refused(called(channel, body)))[0] == "INVALID_ARGUMENT"

    played(story)


def test_a_life_is_as_long_as_is_asked_for_and_no_longer_than_is_allowed(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path, life=600.0) as office:
            await office.plane.apply(pod("web"))
            lives = []
            for seconds in (0, 60, 86_400):
                await asked(office.private, WEB, seconds=seconds)
                lives.append(round(office.ca.ledger.entries["demo/web"].life / 10) * 10)
            assert lives == [600, 60, 600]

    played(story)


def test_too_many_at_once_are_sent_away_and_may_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("web"))
            busy = threading.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(office.ca.work(busy.wait, 20))
                first = [group.create_task(asked(office.private, WEB)) for _ in range(2)]
                try:
                    await office.until(lambda: office.ca.pending == 2, "two wait")
                    code, words = await refused(asked(office.private, WEB))
                finally:
                    busy.set()
            assert (code, "busy" in words) == ("RESOURCE_EXHAUSTED", True)
            assert all(task.result() for task in first)
            assert await asked(office.private, WEB)

    monkeypatch.setattr(run, "PENDING", 2)
    played(story)


def test_strangers_take_nobodys_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("web"))
            busy = threading.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(office.ca.work(busy.wait, 20))
                try:
                    for token in ("", "nonsense", "plait-join-aa.bb"):
                        answer = refused(asked(office.tcp, token=token))
                        assert (await answer)[0] == "UNAUTHENTICATED"
                    assert office.ca.pending == 0
                finally:
                    busy.set()

    monkeypatch.setattr(run, "PENDING", 1)
    played(story)


def test_a_certificate_renews_itself_over_mutual_tls(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            key = private()
            chain = await asked(office.tcp, token=await made(office), text=csr(key=key))
            door = Authority("localhost")
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((office.ca.service(trusts=False),))
            roots = "".join(office.ca.roots.trusted).encode()
            credentials = grpc.ssl_server_credentials(
                [(text(door.key), door.pem.encode())], roots, require_client_auth=True
            )
            port = server.add_secure_port("localhost:0", credentials)
            await server.start()
            shown = grpc.ssl_channel_credentials(
                door.pem.encode(), text(key), "".join(chain).encode()
            )
            try:
                async with grpc.aio.secure_channel(f"localhost:{port}", shown) as channel:
                    again = await called(channel, certificates.request(csr(), 0, {}))
                    other = {"ImpersonatedIdentity": f"{DEMO}/admin"}
                    body = certificates.request(csr(), 0, other)
                    assert (await refused(called(channel, body)))[0] == "PERMISSION_DENIED"
            finally:
                await server.stop(None)
            assert names(again[0]) == [uri(f"{DEMO}/billing")]

    played(story)


def test_a_proxy_of_another_identity_cannot_be_spoken_for(tmp_path: Path):
    async def story() -> None:
        async with certifying(tmp_path) as office:
            await office.plane.apply(pod("web"))
            await asked(office.private, {**WEB, **PROXY})
            await asked(office.tcp, PROXY, token=await made(office))

            held = office.ca.ledger.entries
            assert held["sidecar~1~web.demo~x"].identity == f"{DEMO}/default"
            assert held[f"{DEMO}/billing"].proxy == ""

    played(story)


async def made(office: Office) -> str:
    """A token for the account ``billing``."""
    now = office.ca.now()
    token: str = await office.ca.work(office.ca.tokens.create, "demo", "billing", 60.0, now)
    return token
