"""The API behind TLS and tokens, for raw HTTP, kubectl and plait."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jwt

from plait.base import private
from plait.base.clock import ManualClock, WallClock
from plait.base.errors import SettingsError
from plait.config import catalog
from plait.serve.api import lock as locks
from plait.serve.api import tokens as api_tokens
from plait.serve.api.access import Role, User
from plait.serve.api.lock import Lock, from_files
from plait.serve.api.tokens import LONGEST, TokenError, Tokens, UnknownTokenError
from tests.support.api_server import Api, api
from tests.support.authority import Authority
from tests.support.plane import PLAIT, ROOT

RULES = "/apis/networking.istio.io/v1/namespaces/demo/virtualservices"
VIEWER = User(name="vera", role=Role.VIEWER)
EDITOR = User(name="ed", role=Role.EDITOR, namespaces=frozenset({"demo"}))
ADMIN = User(name="ada", role=Role.ADMIN)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


class Locked:
    """A server with a lock, and what opens it."""

    def __init__(self, server: Api, tokens: Tokens, authority: Authority) -> None:
        self.server = server
        self.tokens = tokens
        self.authority = authority

    def token(self, user: User) -> str:
        return self.tokens.issue(user, 3600)[0]

    async def ask(self, user: User | None, method: str, path: str, body: Any = None) -> Any:
        shown = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return await self.server.request(method, path, body, **shown)


@asynccontextmanager
async def locked(home: Path) -> AsyncIterator[Locked]:
    authority, tokens = Authority(), Tokens(home / "doors", WallClock())
    pair = authority.server_certificate(["127.0.0.1"])
    lock = Lock(tokens, lambda: pair)
    async with api(home, lock=lock) as server:
        server.tls = ssl.create_default_context(cadata=authority.root())
        yield Locked(server, tokens, authority)


def rule(name: str = "reviews") -> dict[str, Any]:
    host = {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": host,
    }


def test_roles_are_obeyed_and_refusals_are_statuses(tmp_path: Path):
    async def story() -> None:
        async with locked(tmp_path) as at:
            assert (await at.ask(EDITOR, "POST", RULES, rule())).code == 201
            assert (await at.ask(VIEWER, "GET", RULES)).code == 200
            assert (await at.ask(VIEWER, "GET", "/plait/v1/version")).code == 200
            refused = await at.ask(VIEWER, "DELETE", f"{RULES}/reviews")
            unknown = await at.ask(None, "GET", RULES)
            secrets = await at.ask(VIEWER, "GET", "/api/v1/namespaces/demo/secrets")
            open_ = await at.ask(None, "GET", "/healthz")

        assert (refused.code, refused.json["kind"], refused.json["reason"]) == (
            403,
            "Status",
            "Forbidden",
        )
        assert (unknown.code, unknown.json["kind"], unknown.json["reason"]) == (
            401,
            "Status",
            "Unauthorized",
        )
        assert secrets.code == 403
        assert (open_.code, open_.text) == (200, "ok")

    run(story)


def test_who_wrote_is_in_the_history(tmp_path: Path):
    async def story() -> None:
        async with locked(tmp_path) as at:
            await at.ask(EDITOR, "POST", RULES, rule())
            record = at.server.store.record(catalog.KINDS["VirtualService"].key("demo", "reviews"))

        assert record is not None
        assert record.who == "ed"

    run(story)


def test_kubectl_works_with_a_token_and_shows_refusals(tmp_path: Path):
    async def story() -> None:
        async with locked(tmp_path) as at:
            await at.ask(ADMIN, "POST", RULES, rule())
            bundle = tmp_path / "roots.pem"
            bundle.write_text(at.authority.root())
            known = ("--certificate-authority", str(bundle), "-n", "demo")
            mine = ("--token", at.token(VIEWER))
            got = await at.server.kubectl("get", "virtualservices", *known, *mine)
            refused = await at.server.kubectl("delete", "vs", "reviews", *known, *mine)
            unknown = await at.server.kubectl("get", "vs", *known, "--token", "nonsense")

        assert (got.code, "reviews" in got.out) == (0, True)
        assert 'User "vera" cannot delete resource "virtualservices"' in refused.err
        assert "Unauthorized" in unknown.err or "logged in" in unknown.err

    run(story)


def test_plait_works_with_a_token_and_makes_some(tmp_path: Path):
    async def story() -> None:
        async with locked(tmp_path) as at:
            await at.ask(ADMIN, "POST", RULES, rule())
            bundle = tmp_path / "roots.pem"
            bundle.write_text(at.authority.root())

            async def plait(token: str, *words: str) -> tuple[int, str]:
                environment = {**os.environ, "PLAIT_TOKEN": token, "HOME": str(tmp_path)}
                given = ("--server", at.server.url, "--certificate-authority", str(bundle))
                process = await asyncio.create_subprocess_exec(
                    *(*PLAIT, *given, *words),
                    env=environment,
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                out, err = await process.communicate()
                assert process.returncode is not None
                return process.returncode, (out + err).decode()

            admin = at.token(ADMIN)
            made = await plait(admin, "token", "api", "vera", "--role", "viewer", "--ttl", "5m")
            token, _, identifier = made[1].strip().partition("\nid: ")
            got = await plait(token, "get", "vs", "-n", "demo")
            refused = await plait(token, "token", "api", "x", "--role", "admin")
            shown = await plait(admin, "token", "list")
            unseen = await plait(token, "token", "list")
            typo = await plait(admin, "token", "revoke", "api-0123456789abcdef")
            await plait(admin, "token", "revoke", identifier)
            revoked = await plait(token, "get", "vs", "-n", "demo")
            other = tmp_path / "other.pem"
            other.write_text(Authority().root())
            strange = await plait(admin, "--certificate-authority", str(other), "get", "vs")

        assert strange[0] == 1
        assert "cannot be trusted: " in strange[1]
        assert "plait ca roots > roots.pem" in strange[1]
        assert made[0] == 0, made
        assert (got[0], "reviews" in got[1]) == (0, True), got
        assert re.search(rf"{identifier} +api +vera +viewer +\d+m\d+s", shown[1]), shown
        assert token not in shown[1]
        assert (unseen[0], "admins alone" in unseen[1], identifier in unseen[1]) == (0, True, False)
        assert (typo[0], 'no API token "api-0123456789abcdef"' in typo[1]) == (1, True), typo
        assert (refused[0], "cannot post path" in refused[1]) == (1, True), refused
        assert (revoked[0], "revoked" in revoked[1]) == (1, True), revoked

    run(story)


@pytest.mark.parametrize(
    "wanted",
    [
        {"subject": "a", "role": "editor"},
        {"subject": "a", "role": "viewer", "namespaces": ["demo"]},
        {"subject": "", "role": "viewer"},
        {"subject": "a", "role": "owner"},
        {"subject": "a", "role": "viewer", "seconds": 0},
        {"subject": "a", "role": "viewer", "seconds": 10**9},
        {"subject": "a", "role": "viewer", "more": 1},
        [],
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(tmp_path: Path, wanted: Any):
    async def story() -> None:
        async with locked(tmp_path) as at:
            assert (await at.ask(ADMIN, "POST", locks.PAGE, wanted)).code == 400

    run(story)


def test_without_a_lock_there_are_no_tokens(tmp_path: Path):
    async def story() -> None:
        async with api(tmp_path) as server:
            wanted = {"subject": "a", "role": "viewer"}
            answer = await server.request("POST", locks.PAGE, wanted)

        assert (answer.code, "--api-tls" in answer.text) == (400, True)

    run(story)


def test_a_token_ends_and_may_be_revoked_also_for_the_next_control_plane(tmp_path: Path):
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock)
    token, identifier, end = tokens.issue(EDITOR, 60)
    second, _, _ = tokens.issue(VIEWER, 60)

    assert tokens.grant(token).user == EDITOR
    assert end == clock.now() + 60
    tokens.revoke(identifier)
    later = Tokens(tmp_path, clock)
    assert later.grant(second).user == VIEWER
    with pytest.raises(TokenError, match="revoked"):
        later.grant(token)
    clock.advance(60)
    with pytest.raises(TokenError, match="over"):
        later.grant(second)


def test_given_tokens_are_listed_without_what_they_are_until_they_end(tmp_path: Path):
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock)
    token, first, end = tokens.issue(EDITOR, 60)
    _, second, _ = tokens.issue(VIEWER, 90)
    _, third, _ = tokens.issue(ADMIN, 90)
    tokens.revoke(third)
    shown = {one["id"]: one for one in Tokens(tmp_path, clock).shown()}

    assert shown.keys() == {first, second}
    assert shown[first] == {
        "id": first,
        "subject": "ed",
        "role": "editor",
        "namespaces": ("demo",),
        "given": end - 60,
        "expires": end,
        "left": 60,
    }
    for part in token.split("."):
        assert part not in (tmp_path / "given.json").read_text()
    clock.advance(60)
    assert [one["id"] for one in tokens.shown()] == [second]
    tokens.issue(VIEWER, 60)
    assert first not in (tmp_path / "given.json").read_text()


def test_what_is_no_token_is_not_revoked(tmp_path: Path):
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock)
    _, over, _ = tokens.issue(EDITOR, 60)
    clock.advance(60)

    for identifier in ("api-0123456789abcdef", "api-0", over):
        with pytest.raises(UnknownTokenError, match=identifier):
            tokens.revoke(identifier)


def test_a_token_that_is_older_than_the_list_is_good_and_may_be_revoked(tmp_path: Path):
    clock = ManualClock()
    token, identifier, _ = Tokens(tmp_path, clock).issue(EDITOR, 60)
    (tmp_path / "given.json").unlink()
    tokens = Tokens(tmp_path, clock)

    assert tokens.grant(token).user == EDITOR
    assert tokens.revoke(identifier) is False
    with pytest.raises(TokenError, match="revoked"):
        tokens.grant(token)
    with pytest.raises(UnknownTokenError):
        tokens.revoke("api-0")
    clock.advance(LONGEST)
    with pytest.raises(UnknownTokenError):
        Tokens(tmp_path, clock).revoke("api-0123456789abcdef")


def test_there_are_not_more_tokens_than_can_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api_tokens, "MOST", 1)
    tokens = Tokens(tmp_path, ManualClock())
    _, identifier, _ = tokens.issue(VIEWER, 60)
    with pytest.raises(TokenError, match="revoke some first"):
        tokens.issue(VIEWER, 60)
    tokens.revoke(identifier)

    tokens.issue(VIEWER, 60)


def test_of_two_tokens_that_are_revoked_at_once_none_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tokens = Tokens(tmp_path, ManualClock())
    given = [tokens.issue(VIEWER, 60) for _ in range(2)]
    both, write = threading.Barrier(2), private.write

    def slow(path: Path, data: bytes, *, lasting: bool) -> None:
        with suppress(threading.BrokenBarrierError):  # the other waits for its turn
            both.wait(0.2)
        write(path, data, lasting=lasting)

    monkeypatch.setattr(private, "write", slow)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(tokens.revoke, [identifier for _, identifier, _ in given]))

    for now in (tokens, Tokens(tmp_path, ManualClock())):
        for token, _, _ in given:
            with pytest.raises(TokenError, match="revoked"):
                now.grant(token)


@pytest.mark.parametrize("ending", ["revoked", "over"])
def test_a_watch_ends_with_its_token(tmp_path: Path, ending: str):
    async def story() -> None:
        async with locked(tmp_path) as at:
            seconds = 2 if ending == "over" else 3600
            token, identifier, _ = at.tokens.issue(VIEWER, seconds)
            shown = {"Authorization": f"Bearer {token}"}
            url = f"{at.server.url}{RULES}?watch=1"
            async with at.server.session.get(url, headers=shown, ssl=at.server.tls or True) as got:
                assert got.status == 200
                if ending == "revoked":
                    page = f"{locks.PAGE}/{identifier}"
                    twice = [at.ask(ADMIN, "DELETE", page) for _ in range(2)]
                    assert [one.code for one in await asyncio.gather(*twice)] == [200, 200]
                with suppress(aiohttp.ClientError):
                    while await got.content.readany():
                        pass
            assert (await at.server.request("GET", RULES, **shown)).code == 401

    run(story)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "somebody"},
        {"aud": ["plait-api", "somebody"]},
        {"iss": "somebody"},
        {"exp": None},
        {"exp": "9999999999"},
        {"role": "owner"},
        {"role": None},
    ],
)
def test_claims_that_are_not_ours_prove_nothing(tmp_path: Path, change: dict[str, Any]):
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock)
    key = jwk.ECKey.import_key((tmp_path / "tokens.pem").read_text())
    claims = {"iss": "plait", "aud": "plait-api", "sub": "a", "exp": int(clock.now()) + 9}
    claims |= {"role": "viewer", **change}

    with pytest.raises(TokenError):
        tokens.grant(jwt.encode({"alg": "ES256"}, claims, key))


def test_another_key_and_no_signature_prove_nothing(tmp_path: Path):
    here, there = Tokens(tmp_path / "a", ManualClock()), Tokens(tmp_path / "b", ManualClock())
    token, _, _ = there.issue(ADMIN, 60)
    head, body, _ = token.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"

    for forged in (token, f"{none}.{body}.", f"{head}.{body}.", body, "", "a" * 9000, "é.é.é"):
        with pytest.raises(TokenError):
            here.grant(forged)


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("doors"), ManualClock())


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
def test_any_text_is_no_token(some: Tokens, text: str):
    with pytest.raises(TokenError):
        some.grant(text)


def test_keys_are_for_our_own_user_and_in_no_message(tmp_path: Path):
    Tokens(tmp_path / "doors", ManualClock())
    key = tmp_path / "doors" / "tokens.pem"

    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    key.write_text("-----BEGIN PRIVATE KEY-----\nsecret\n")
    with pytest.raises(SettingsError, match=r"tokens in .*doors") as raised:
        Tokens(tmp_path / "doors", ManualClock())
    assert "secret" not in str(raised.value)


def test_a_certificate_in_files_is_followed_and_half_a_pair_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(locks, "LOOK", 0.01)
    authority = Authority()
    files = (tmp_path / "chain.pem", tmp_path / "key.pem")

    def write(*parts: str) -> None:
        for path, part in zip(files, parts, strict=False):
            path.write_text(part)

    first, second = (authority.server_certificate(["127.0.0.1"]) for _ in range(2))
    write(first.chain, first.key)
    lock = Lock(Tokens(tmp_path / "doors", WallClock()), from_files(*files))

    async def serial(url: str) -> str:
        def shown() -> str:
            host, port = url.removeprefix("https://").split(":")
            return ssl.get_server_certificate((host, int(port)), timeout=10)

        return await asyncio.to_thread(shown)

    async def story() -> None:
        async with api(tmp_path, lock=lock) as server:
            one = await serial(server.url)
            write(second.chain)
            await asyncio.sleep(0.1)
            half = await serial(server.url)
            write(second.chain, second.key)
            async with asyncio.timeout(20):
                while await serial(server.url) == one:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        assert (one.strip(), half) == (first.chain.strip(), one)

    run(story)


@pytest.mark.parametrize("key", ["", "nonsense"])
def test_a_certificate_that_cannot_be_used_is_said_at_the_start(tmp_path: Path, key: str):
    (tmp_path / "chain.pem").write_text(Authority().root())
    (tmp_path / "key.pem").write_text(key)

    with pytest.raises(SettingsError, match="certificate cannot be used"):
        Lock(
            Tokens(tmp_path / "doors", WallClock()),
            from_files(tmp_path / "chain.pem", tmp_path / "key.pem"),
        )
