"""``kubectl auth`` for each role, and for who needs no token."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plait.base import peers
from plait.serve.api import reviews
from plait.serve.api.access import Role, User
from plait.serve.api.status import StatusError
from tests.serve.api.test_lock import ADMIN, EDITOR, VIEWER, Locked, locked
from tests.support.api_server import api

Ask = Callable[..., Awaitable[str]]


def asked(home: Path, user: User, story: Callable[[Ask], Awaitable[None]]) -> None:
    """A story that is told with ``kubectl auth``, as a user with a token."""

    async def main() -> None:
        async with asyncio.timeout(60), locked(home) as at:
            await story(_asker(at, home, user))

    asyncio.run(main())


def _asker(at: Locked, home: Path, user: User) -> Ask:
    bundle = home / "roots.pem"
    bundle.write_text(at.authority.root())
    known = ("--certificate-authority", str(bundle), "--token", at.token(user))

    async def ask(*words: str) -> str:
        ran = await at.server.kubectl("auth", *words, *known)
        return ran.out.strip() or ran.err

    return ask


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (VIEWER, ["yes", "no", "no", "no", "no", "yes", "no"]),
        (EDITOR, ["yes", "yes", "no", "yes", "no", "yes", "no"]),
        (ADMIN, ["yes", "yes", "yes", "yes", "yes", "yes", "yes"]),
    ],
)
def test_kubectl_tells_what_a_role_may(tmp_path: Path, user: User, expected: list[str]):
    async def story(ask: Ask) -> None:
        found = [
            await ask("can-i", "list", "pods", "-A"),
            await ask("can-i", "create", "virtualservices", "-n", "demo"),
            await ask("can-i", "delete", "vs/reviews", "-n", "other"),
            await ask("can-i", "get", "secrets", "-n", "demo"),
            await ask("can-i", "*", "*"),
            await ask("can-i", "get", "/plait/v1/version"),
            await ask("can-i", "get", "/plait/v1/api-tokens"),
        ]

        # kubectl also says why, after a dash
        assert [line.splitlines()[-1].split()[0] for line in found] == expected

    asked(tmp_path, user, story)


def test_kubectl_lists_what_a_viewer_may(tmp_path: Path):
    async def story(ask: Ask) -> None:
        listed = await ask("can-i", "--list", "-n", "demo")

        assert re.search(r"virtualservices\.networking\.istio\.io .*\[get list watch\]", listed)
        assert re.search(r"selfsubjectreviews\.authentication\.k8s\.io .*\[create\]", listed)
        assert "[/plait/v1/version]" in listed
        assert not re.search(r"secrets|api-tokens|delete", listed)

    asked(tmp_path, VIEWER, story)


def test_kubectl_lists_what_an_editor_may_where(tmp_path: Path):
    async def story(ask: Ask) -> None:
        here = await ask("can-i", "--list", "-n", "demo")
        there = await ask("can-i", "--list", "-n", "other")

        assert re.search(r"secrets .*\[create delete .*watch\]", here)
        assert "secrets" not in there

    asked(tmp_path, EDITOR, story)


def test_kubectl_lists_that_an_admin_may_everything(tmp_path: Path):
    async def story(ask: Ask) -> None:
        assert re.search(r"\*\.\* .*\[\*\]", await ask("can-i", "--list"))

    asked(tmp_path, ADMIN, story)


def test_kubectl_tells_who_asks(tmp_path: Path):
    async def story(ask: Ask) -> None:
        said = await ask("whoami")

        assert re.search(r"Username +ed\n", said)
        assert re.search(r"Groups +\[plait:editor system:authenticated\]", said)
        assert re.search(r"Extra: namespaces +\[demo\]", said)

    asked(tmp_path, EDITOR, story)


def test_without_a_lock_the_kernel_names_an_admin(tmp_path: Path):
    async def main() -> None:
        async with api(tmp_path) as server:
            who = await server.kubectl("auth", "whoami")
            may = await server.kubectl("auth", "can-i", "*", "*")
            kinds = await server.kubectl("api-resources")

        assert re.search(rf"Username +{peers.name(os.geteuid())}\n", who.out), who.err
        assert "plait:admin" in who.out
        assert may.out == "yes\n"
        for name in ("selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"):
            assert re.search(rf"{name} .* false ", kinds.out)

    asyncio.run(main())


def test_reviews_are_discovered_in_plain_form_too(tmp_path: Path):
    async def main() -> None:
        async with api(tmp_path) as server:
            groups = await server.request("GET", "/apis")
            listed = await server.request("GET", "/apis/authorization.k8s.io/v1")

        assert "authentication.k8s.io" in [one["name"] for one in groups.json["groups"]]
        assert [one["name"] for one in listed.json["resources"]] == [
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
        ]

    asyncio.run(main())


def may(user: User, said: Any, *, runs: bool = False) -> bool:
    return not reviews.objection(user, {"resourceAttributes": said}, runs=runs)


def test_what_starts_programs_is_for_admins_also_when_it_is_asked_about():
    pods = {"verb": "create", "resource": "pods", "namespace": "demo"}

    assert (may(EDITOR, pods), may(EDITOR, pods, runs=True)) == (True, False)
    assert may(ADMIN, pods, runs=True)


def test_what_there_is_not_is_for_admins_alone():
    editor = User(name="e", role=Role.EDITOR, namespaces=frozenset({"demo"}))
    for said in ({"verb": "escalate", "resource": "pods"}, {"verb": "get", "resource": "lamps"}):
        assert not may(editor, {**said, "namespace": "demo"})
        assert may(ADMIN, said)


def test_many_pages_are_open_if_all_are():
    def pages(path: str) -> bool:
        spec = {"nonResourceAttributes": {"verb": "get", "path": path}}
        return not reviews.objection(VIEWER, spec, runs=False)

    assert pages("/openapi/*")
    assert not pages("*")
    assert not pages("/plait/v1/api-tokens/*")


def test_a_review_of_nothing_is_refused():
    with pytest.raises(StatusError, match="needed"):
        reviews.objection(VIEWER, {}, runs=False)
