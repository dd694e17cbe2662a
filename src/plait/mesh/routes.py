"""Routes of requests: what a VirtualService says, and what happens without one."""

from __future__ import annotations

from collections.abc import Iterator

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import virtual_service as kinds
from plait.config.meta import Key, Object
from plait.mesh import ir, route_actions, route_match
from plait.mesh.destinations import Context

ANYTHING = kinds.HTTPMatchRequest()


def routes(q: Query, context: Context) -> tuple[ir.Route, ...]:
    """The routes that a VirtualService gives to the callers of `context`, first match first.

    Empty: none of its rules applies to this port, gateway or caller.  Rules behind one that
    takes everything are left out; PLT2006 names what an earlier rule hides.
    """
    found: Object[kinds.VirtualService] | None = q.row("VirtualService", context.key)
    if found is None:
        return ()
    hidden = _Hidden(context.key)
    result: list[ir.Route] = []
    for section, http, written in _entries(found.spec):
        if not applies(context, written, section):
            continue
        match = route_match.match(written)
        if (earlier := hidden.by(match)) is not None:
            q.report(hidden.report(section, earlier))
            continue
        name = route_name(context.key, section, len(http.match) > 1, _label(http, written))
        result.append(route_actions.route(q, context, http, match, (name, section)))
        if not _is_conditional(written):
            hidden.add(section, match)
    return tuple(result)


def _entries(
    spec: kinds.VirtualService,
) -> Iterator[tuple[str, kinds.HTTPRoute, kinds.HTTPMatchRequest]]:
    """The rules; one that only delegates leaves its requests to those behind it."""
    for i, http in enumerate(spec.http):
        if not (http.route or http.redirect or http.direct_response):
            continue
        for j, written in enumerate(http.match):
            yield f"http[{i}].match[{j}]", http, written
        if not http.match:
            yield f"http[{i}]", http, ANYTHING


def applies(
    context: Context,
    match: kinds.HTTPMatchRequest | kinds.L4MatchAttributes | kinds.TLSMatchAttributes,
    section: str,
) -> bool:
    """Whether a match is for this port, gateway and caller; its own gateways replace the rest."""
    if match.port is not None and match.port != context.port:
        return False
    if match.gateways:
        namespace = context.key.namespace
        return any(names.gateway(name, namespace) in context.gateways for name in match.gateways)
    if match.source_labels or match.source_namespace:
        return ir.Selected(context.key, section) in context.selected
    return True


def _is_conditional(match: kinds.HTTPMatchRequest) -> bool:
    """Whether other callers, ports or gateways do not have this match."""
    return bool(
        match.source_labels or match.source_namespace or match.gateways or match.port is not None
    )


def _label(http: kinds.HTTPRoute, match: kinds.HTTPMatchRequest) -> str:
    return ".".join(name for name in (http.name, match.name) if name)


def route_name(key: Key, section: str, several: bool, label: str) -> str:  # noqa: FBT001
    """``VirtualService/demo/reviews#http[0]``; ``.match[1]`` where an entry has several.

    The name that the user gave follows in parentheses.
    """
    short = section if several else section.split(".")[0]
    said = f"({label})" if label else ""
    return f"{key.kind}/{key.path}#{short}{said}"


class _Hidden:
    """Matches so far that nothing behind them can reach."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._taken: list[tuple[str, ir.Match]] = []

    def add(self, section: str, match: ir.Match) -> None:
        self._taken.append((section, match))

    def by(self, match: ir.Match) -> str | None:
        covering = (section for section, taken in self._taken if route_match.covers(taken, match))
        return next(covering, None)

    def report(self, section: str, earlier: str) -> Diagnostic:
        return Diagnostic(
            code="PLT2006",
            severity=Severity.WARNING,
            subject=self._key,
            path=f"spec.{section}",
            message=f"never matches: spec.{earlier} takes all of its requests",
            hint="Put it first, or delete it",
        )


def default_route(cluster: str, host: str, port: int, origin: tuple[Key, ...]) -> ir.Route:
    """All requests to one cluster: what a host without a VirtualService has."""
    return ir.Route(
        name="default",
        match=ir.Match(path=ir.Prefix("/")),
        action=ir.Forward(to=(ir.Weighted(cluster=cluster),)),
        retry=route_actions.DEFAULT_RETRY,
        operation=f"{host}:{port}/*",
        origin=origin,
    )


def catch_all(*, allowed: bool) -> ir.VirtualHost:
    """Requests for unknown hosts: where they were going, or 502."""
    name = "allow_any" if allowed else "block_all"
    action: ir.Action = ir.Reply(status=502)
    if allowed:
        action = ir.Forward(to=(ir.Weighted(cluster="PassthroughCluster"),))
    route = ir.Route(name=name, match=ir.Match(path=ir.Prefix("/")), action=action)
    return ir.VirtualHost(name=name, domains=("*",), routes=(route,))
