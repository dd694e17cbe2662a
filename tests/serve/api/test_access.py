"""What each role may do."""

from __future__ import annotations

import pytest

from plait.serve.api import paths
from plait.serve.api.access import LOCAL, Role, User, ask, refusal

VIEWER = User(name="vera", role=Role.VIEWER)
EDITOR = User(name="ed", role=Role.EDITOR, namespaces=frozenset({"demo"}))
ADMIN = User(name="ada", role=Role.ADMIN)
RULES = "/apis/networking.istio.io/v1/namespaces"


def may(user: User, method: str, path: str) -> bool:
    return refusal(user, asked(method, path), runs=False) == ""


def asked(method: str, path: str):
    path, _, query = path.partition("?")
    parts = path.strip("/").split("/")
    target = None
    if parts[0] == "api":
        target = paths.target("", parts[1], "/".join(parts[2:]))
    elif parts[0] == "apis":
        target = paths.target(parts[1], parts[2], "/".join(parts[3:]))
    return ask(method, path, target, watch="watch" in query)


@pytest.mark.parametrize(
    ("method", "path", "viewer", "editor"),
    [
        ("GET", f"{RULES}/demo/virtualservices", True, True),
        ("GET", f"{RULES}/other/virtualservices/a", True, True),
        ("GET", "/api/v1/services?watch=1", True, True),
        ("GET", "/api/v1/namespaces/demo/pods/a/log", True, True),
        ("POST", f"{RULES}/demo/virtualservices", False, True),
        ("PUT", f"{RULES}/demo/virtualservices/a", False, True),
        ("PUT", f"{RULES}/demo/virtualservices/a/status", False, True),
        ("PATCH", f"{RULES}/demo/virtualservices/a", False, True),
        ("DELETE", f"{RULES}/demo/virtualservices/a", False, True),
        ("DELETE", f"{RULES}/demo/virtualservices", False, True),
        ("POST", f"{RULES}/other/virtualservices", False, False),
        ("DELETE", f"{RULES}/other/virtualservices/a", False, False),
        ("DELETE", "/apis/networking.istio.io/v1/virtualservices", False, False),
        ("POST", "/api/v1/namespaces", False, False),
        ("DELETE", "/api/v1/namespaces/demo", False, False),
        ("OPTIONS", f"{RULES}/demo/virtualservices", False, True),
        ("GET", "/api/v1/secrets", False, False),
        ("GET", "/api/v1/secrets?watch=1", False, False),
        ("GET", "/api/v1/namespaces/demo/secrets", False, True),
        ("GET", "/api/v1/namespaces/demo/secrets/a", False, True),
        ("GET", "/api/v1/namespaces/other/secrets/a", False, False),
        ("PATCH", "/api/v1/namespaces/demo/secrets/a", False, True),
        ("GET", "/plait/v1/status", True, True),
        ("GET", "/version", True, True),
        ("POST", "/plait/v1/anything", False, False),
        ("POST", "/plait/v1/api-tokens", False, False),
        ("DELETE", "/plait/v1/api-tokens/api-1", False, False),
        ("GET", "/plait/v1/pods/demo/web-1/entry", False, False),
    ],
)
def test_viewers_look_editors_write_in_their_namespaces_admins_do_all(
    method: str, path: str, viewer: bool, editor: bool
):
    assert may(VIEWER, method, path) is viewer
    assert may(EDITOR, method, path) is editor
    assert may(ADMIN, method, path)
    assert may(LOCAL, method, path)


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        (
            "GET",
            "/api/v1/secrets",
            'secrets is forbidden: User "vera" cannot list resource "secrets" in API group ""',
        ),
        (
            "DELETE",
            f"{RULES}/demo/virtualservices/a",
            'virtualservices.networking.istio.io "a" is forbidden: User "vera" cannot delete',
        ),
        (
            "POST",
            "/plait/v1/api-tokens",
            'forbidden: User "vera" cannot post path "/plait/v1/api-tokens"',
        ),
    ],
)
def test_a_refusal_is_in_kubernetes_words(method: str, path: str, words: str):
    assert refusal(VIEWER, asked(method, path), runs=False).startswith(words)


@pytest.mark.parametrize(
    ("method", "path", "free"),
    [
        ("POST", "/api/v1/namespaces/demo/pods", False),
        ("PATCH", "/api/v1/namespaces/demo/pods/a", False),
        ("POST", "/apis/apps/v1/namespaces/demo/deployments", False),
        ("PUT", "/apis/apps/v1/namespaces/demo/deployments/a", False),
        ("PATCH", "/apis/apps/v1/namespaces/demo/replicasets/a", False),
        ("GET", "/apis/apps/v1/namespaces/demo/deployments/a", True),
        ("PUT", "/apis/apps/v1/namespaces/demo/deployments/a/scale", True),
        ("DELETE", "/api/v1/namespaces/demo/pods/a", True),
        ("POST", "/api/v1/namespaces/demo/services", True),
    ],
)
def test_where_pods_are_programs_of_the_machine_an_admin_alone_says_what_runs(
    method: str, path: str, free: bool
):
    request = asked(method, path)

    assert refusal(EDITOR, request, runs=False) == ""
    why = refusal(EDITOR, request, runs=True)
    assert (why == "") is free
    assert free or "an admin alone may start" in why
    assert refusal(ADMIN, request, runs=True) == refusal(LOCAL, request, runs=True) == ""
