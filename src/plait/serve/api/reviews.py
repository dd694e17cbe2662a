"""Who somebody is, and what they may do: what ``kubectl auth`` asks for."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiohttp import web
from msgspec import Struct

from plait.base import peers
from plait.config.catalog import KINDS, Kind
from plait.serve.api import access, bodies, discovery, paths, status
from plait.serve.api.access import LOCAL, Ask, Role, User
from plait.serve.api.discovery import REVIEWS, Review
from plait.serve.api.lock import Lock
from plait.serve.api.paths import Target
from plait.serve.api.replies import reply

_EVERYTHING = "*"
_CREATE = "create"


class Rule(Struct, frozen=True, kw_only=True, rename="camel"):
    """Verbs for resources; ``*`` is all there are."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]


def routes(lock: Lock | None) -> list[web.RouteDef]:
    """The paths at which reviews are made."""
    runs = lock.runs if lock else False

    async def whoami(request: web.Request, _spec: Mapping[str, Any]) -> Any:
        return {"userInfo": _info(request)}

    async def can(request: web.Request, spec: Mapping[str, Any]) -> Any:
        why = objection(_user(request), spec, runs=runs)
        return {"allowed": not why, "reason": why}

    async def rules(request: web.Request, spec: Mapping[str, Any]) -> Any:
        user, namespace = _user(request), str(spec.get("namespace", ""))
        pages = tuple(_pages(request.app.router.routes()))
        return {
            "resourceRules": resource_rules(user, namespace, runs=runs),
            "nonResourceRules": page_rules(user, pages),
            "incomplete": False,
        }

    answers = {
        "SelfSubjectReview": whoami,
        "SelfSubjectAccessReview": can,
        "SelfSubjectRulesReview": rules,
    }

    def route(review: Review) -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = (await bodies.read(request, bodies.OBJECTS)).value
            spec = body.get("spec") if isinstance(body, dict) else None
            spec = spec if isinstance(spec, dict) else {}
            found = {"kind": review.kind, "apiVersion": f"{review.group}/{review.version}"}
            answer = await answers[review.kind](request, spec)
            return reply({**found, "metadata": {}, "spec": spec, "status": answer}, 201)

        return web.post(review.path, handle)

    return [route(review) for review in REVIEWS]


def objection(user: User, spec: Mapping[str, Any], *, runs: bool) -> str:
    """Why a user may not do what an access review is about; empty: they may.

    ``*`` is asked for each verb and resource there is.

    Raises:
        StatusError: 400; it is about nothing.
    """
    resource, page = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict):
        said = {name: str(value) for name, value in resource.items()}
        asks = _resource_asks(said)
        if asks is None:
            return "" if user.role is Role.ADMIN else "there is no such verb or resource"
    elif isinstance(page, dict):
        asks = [Ask(verb=str(page.get("verb", "")), path=str(page.get("path", "")))]
    else:
        raise status.bad_request("resourceAttributes or nonResourceAttributes are needed")
    found = (access.refusal(user, one, runs=runs) for one in asks)
    return next(filter(None, found), "")


def resource_rules(user: User, namespace: str, *, runs: bool) -> tuple[Rule, ...]:
    """What a user may do with objects of a namespace, and with those that have none."""
    own = [
        Rule(verbs=(_CREATE,), api_groups=(one.group,), resources=(one.plural,)) for one in REVIEWS
    ]
    if user.role is Role.ADMIN:
        everything = (_EVERYTHING,)
        return (*own, Rule(verbs=everything, api_groups=everything, resources=everything))
    found: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for kind in sorted(KINDS.values(), key=lambda one: (one.group, one.plural)):
        for below, offered in _parts(kind):
            verbs = tuple(
                verb
                for verb in offered
                if not access.refusal(user, _ask(kind, verb, namespace, below), runs=runs)
            )
            if verbs:
                resource = f"{kind.plural}/{below}" if below else kind.plural
                found[kind.group, verbs].append(resource)
    shown = (
        Rule(verbs=verbs, api_groups=(group,), resources=tuple(names))
        for (group, verbs), names in found.items()
    )
    return (*own, *shown)


def page_rules(user: User, pages: Iterable[str]) -> list[dict[str, Any]]:
    """The pages that a user may read; ``*`` at the end of one is anything."""
    if user.role is Role.ADMIN:
        return [{"verbs": [_EVERYTHING], "nonResourceURLs": [_EVERYTHING]}]
    asks = [(page, Ask(verb="get", path=page)) for page in sorted(set(pages))]
    open_ = [page for page, one in asks if not access.refusal(user, one, runs=False)]
    return [{"verbs": ["get"], "nonResourceURLs": open_}]


def _resource_asks(said: Mapping[str, str]) -> list[Ask] | None:
    """What an access review of a resource asks for; None: there is none of that name."""
    group, plural, verb = (said.get(name, "") for name in ("group", "resource", "verb"))
    if (group, plural) in ((one.group, one.plural) for one in REVIEWS) and verb == _CREATE:
        return []
    kinds = [
        kind
        for kind in KINDS.values()
        if plural in (_EVERYTHING, kind.plural) and group in (_EVERYTHING, kind.group)
    ]
    verbs = [one for one in discovery.VERBS if verb in (_EVERYTHING, one)]
    if not kinds or not verbs:
        return None
    namespace, below = said.get("namespace", ""), said.get("subresource", "")
    name = said.get("name", "")
    return [_ask(kind, one, namespace, below, name) for kind in kinds for one in verbs]


def _ask(kind: Kind, verb: str, namespace: str, below: str, name: str = "") -> Ask:
    place = (namespace or None) if kind.namespaced else None
    target = Target(
        kind=kind, version=kind.versions[0], namespace=place, name=name, subresource=below
    )
    return Ask(verb=verb, path="", target=target)


def _parts(kind: Kind) -> Iterator[tuple[str, Iterable[str]]]:
    """The resource itself and those below it, each with the verbs it has."""
    yield "", discovery.VERBS
    yield "status", discovery.STATUS_VERBS
    for name, below in discovery.SUBRESOURCES.get(kind.table, {}).items():
        yield name, below.verbs


def _pages(known: Iterable[web.AbstractRoute]) -> Iterator[str]:
    """What can be read, as rules name it: a path up to what varies in it."""
    for route in known:
        if route.method == "GET" and route.resource is not None:
            fixed, varies, _ = route.resource.canonical.partition("{")
            yield fixed + (_EVERYTHING if varies else "")


def _user(request: web.Request) -> User:
    user: User = request.get(access.CALLER, LOCAL)
    return user


def _info(request: web.Request) -> dict[str, Any]:
    user = _user(request)
    extra = {"extra": {"namespaces": sorted(user.namespaces)}} if user.namespaces else {}
    return {
        "username": request.get(paths.USER) or _beside(request),
        "groups": [f"plait:{user.role.value}", "system:authenticated"],
        **extra,
    }


def _beside(request: web.Request) -> str:
    """Who is at the other end of a Unix socket; our own user where the kernel cannot say."""
    found = request.transport.get_extra_info("socket") if request.transport else None
    if found is None or found.family != socket.AF_UNIX:
        return peers.name(os.geteuid())
    return peers.name(peers.holder(found)[1])
