"""What is wrong with an object in its own namespace, also when no proxy sees it yet.

Each query evaluates what the object causes there, so that the findings are those of the
configuration itself; it adds only those that no configuration comes from.  Its value says what was
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.base.query import Query
from plait.config import catalog, names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import gateway as gateway_kinds
from plait.config.kinds import pod as pod_kinds
from plait.config.kinds import virtual_service as kinds
from plait.config.meta import Key, Object
from plait.mesh import called as calls
from plait.mesh import (
    claims,
    client_tls,
    clusters,
    credentials,
    gateways,
    ir,
    listener_plans,
    placement,
    routes,
    rules,
    security,
    streams,
    tls,
    virtual_services,
    visibility,
)
from plait.mesh.destinations import Context
from plait.mesh.virtual_hosts import known_destinations


def virtual_service(q: Query, key: Key) -> tuple[Context, ...]:
    """PLT2001 to PLT2008 of a VirtualService, for every port, gateway and caller it is for."""
    rule = q(virtual_services.rule, key)
    if rule is None:
        return ()
    contexts = [*_in_mesh(q, rule), *_at_gateways(q, rule)]
    for context in contexts:
        q(routes.routes, context)
        q(streams.chains, streams.Stream(name="check", cluster="", rules=(context,)))
        q(streams.passed_on, streams.Stream(name="check", cluster="", rules=(context,)))
    return tuple(contexts)


def gateway(q: Query, key: Key) -> tuple[str, ...]:
    """PLT3001 and PLT3007 of a Gateway, beside the others that select the same proxies.

    Its Secrets are looked for where its Pods are; without any, in its own namespace.
    """
    found: Object[gateway_kinds.Gateway] | None = q.row("Gateway", key)
    if found is None:
        return ()
    labels = tuple(sorted(found.spec.selector.items()))
    plans: dict[str, None] = {}
    for space in q(_proxied, key):
        identity = ir.Identity(role=ir.Role.GATEWAY, namespace=space, labels=labels, certified=True)
        view = q(placement.placement, identity).view
        plans |= dict.fromkeys(plan.name for plan in q(listener_plans.plans, view))
    return tuple(plans)


def _proxied(q: Query, key: Key) -> tuple[str, ...]:
    """The namespaces of the Pods that a Gateway selects; without any, its own."""
    found: Object[gateway_kinds.Gateway] | None = q.row("Gateway", key)
    labels = tuple(found.spec.selector.items()) if found else ()
    pods = _gateway_pods(q)
    spaces = {pod.namespace for pod in pods if virtual_services.selects(labels, q(_labels, pod))}
    return tuple(sorted(spaces)) or (key.namespace,)


def _gateway_pods(q: Query) -> tuple[Key, ...]:
    return q.keys("Pod", "gateway", True)  # noqa: FBT003 - the one bucket


def _labels(q: Query, key: Key) -> Mapping[str, str]:
    found: Object[pod_kinds.Pod] | None = q.row("Pod", key)
    return found.labels if found else {}


def destination_rule(q: Query, key: Key) -> tuple[str, ...]:
    """PLT3004 and PLT3009 of a DestinationRule; namespaces in which its Secrets are looked for.

    A rule with a selector is about workloads of its own namespace.  Any other names Secrets for
    gateways: one of the namespaces that have some is enough, because nothing says which of them
    route to the host; without any, its own is looked at.
    """
    q(clusters.rule_check, key)
    found = q(rules.rule, key)
    if found is None or not q(rules.names_secrets, key):
        return ()
    spaces = () if found.selects else tuple(sorted({pod.namespace for pod in _gateway_pods(q)}))
    spaces = tuple(one for one in spaces if found.serves(one, ())) or (key.namespace,)
    for policy in q(rules.written_tls, (key,)):
        asked = tuple(client_tls.asked_for(policy.tls))
        lacking = [_first_lack(q, space, asked) for space in spaces]
        if policy.tls_by is not None and lacking[0] and all(lacking):
            q.report(_unusable(policy.tls_by, spaces, *lacking[0]))
    return spaces


def _first_lack(
    q: Query, space: str, asked: tuple[tls.Secret, ...]
) -> tuple[tls.Secret, str] | None:
    """The first of some secrets that cannot be used, and why; None: all can."""
    lacks = ((one, credentials.lack(q, space, one)) for one in asked)
    return next(((one, lack) for one, lack in lacks if lack), None)


def _unusable(by: rules.Place, spaces: tuple[str, ...], one: tls.Secret, lack: str) -> Diagnostic:
    name = credentials.object_name(one)
    who = "workloads" if by.selects else "gateways"
    return Diagnostic(
        code="PLT3009",
        severity=Severity.ERROR,
        subject=by.key,
        path=f"{by.path}.credentialName",
        message=f"requests are answered 503: Secret {spaces[0]}/{name} {lack}",
        hint=f"Write the {credentials.needed(one)} in the namespace of the {who} that call, "
        f"{' or '.join(spaces)}",
    )


def secret(q: Query, key: Key) -> None:
    """Nothing: all that is wrong with a Secret is found when it is read."""
    del q, key


def sidecar(q: Query, key: Key) -> tuple[Key, ...]:
    """PLT3003 of a Sidecar: a second default of its namespace is not in force."""
    return tuple(one.key for one in q(placement.scopes_in, key.namespace))


def peer_authentication(q: Query, key: Key) -> tuple[Key, ...]:
    """PLT3003 of a PeerAuthentication: an older one is in force for the same workloads."""
    return tuple(one.key for one in q(security.written_in, key.namespace))


def host(q: Query, key: Key) -> tuple[str, ...]:
    """PLT3001 of a Service or ServiceEntry: another host, or the proxy itself, has its address.

    Only the hosts that want one of its addresses are looked at, not the listeners of the mesh.
    """
    view = _own_view(q, key.namespace)
    found = q(visibility.definition, key)
    known = [q(calls.called_host, view, name) for name in (found.hosts if found else ())]
    wanted = [claim for one in known if one for claim in _claims(q, view, one)]
    for one in (port for host_id in known if host_id for port in _ports(q, host_id)):
        if problem := claims.reserved(one):
            q.report(problem)
    for loser, winner, address in wanted:
        if winner is not None and winner != loser:
            q.report(claims.conflict(loser, winner, address))
    return tuple(f"{address}_{loser.port.number}" for loser, _, address in wanted)


def _claims(
    q: Query, view: ir.View, host_id: ir.HostId
) -> Iterator[tuple[calls.Called, calls.Called | None, str]]:
    """The addresses that a host wants for its bytes, with who has them."""
    for one in _ports(q, host_id):
        number = one.port.number
        if claims.takes_rest(one):
            yield one, q(claims.remainder, view, number), listener_plans.ANY_ADDRESS
        elif not one.port.protocol.is_http:
            for address in claims.addresses(q, one):
                yield one, q(claims.owner, view, address, number), address


def _ports(q: Query, host_id: ir.HostId) -> tuple[calls.Called, ...]:
    return q(calls.ports, host_id, ir.Addressing.WRITTEN)


def _own_view(q: Query, namespace: str) -> ir.View:
    identity = ir.Identity(role=ir.Role.SIDECAR, namespace=namespace)
    return q(placement.placement, identity).view


def _in_mesh(q: Query, rule: virtual_services.Rule) -> Iterator[Context]:
    if names.MESH not in rule.gateways:
        return
    if rule.passed_on:
        q.report(_only_at_gateways(rule.key))
    view = _own_view(q, rule.key.namespace)
    numbers: set[int] = set()
    for i, name in enumerate(rule.hosts):
        winner = q(virtual_services.chosen, view, name)
        other = q(virtual_services.rule, winner) if winner and winner != rule.key else None
        if other is not None and name in other.hosts:
            q.report(_lost(rule.key, i, name, other.key))
        known = q(visibility.visible_host, view, name)
        found = _ports(q, known) if known else ()
        numbers |= {one.port.number for one in found} or {80}
    for number in sorted(numbers):
        yield _context(q, rule.key, view, number, names.MESH)


def _context(q: Query, key: Key, view: ir.View, port: int, bound: str) -> Context:
    """As every caller at once sees it."""
    matches = q(virtual_services.source_matches, key)
    return Context(
        key=key,
        port=port,
        gateways=(bound,),
        selected=tuple(ir.Selected(key, match.section) for match in matches),
        known=q(known_destinations, view, key),
        rules=q.keys("DestinationRule", "selecting", key.namespace),
    )


def _at_gateways(q: Query, rule: virtual_services.Rule) -> Iterator[Context]:
    row: Object[kinds.VirtualService] | None = q.row(virtual_services.TABLE, rule.key)
    served: set[str] = set()
    known: list[str] = []
    for i, written in enumerate(row.spec.gateways if row else ()):
        name = names.gateway(written, rule.key.namespace)
        if name == names.MESH:
            continue
        space, _, short = name.partition("/")
        key = catalog.KINDS["Gateway"].key(space, short)
        if q.row("Gateway", key) is None:
            q.report(_unknown_gateway(rule.key, i, name))
            continue
        spaces = q(_proxied, key)
        if not any(q(virtual_services.seen, rule.key, one, None) for one in spaces):
            q.report(_kept_from(rule.key, name, spaces))
            continue
        known.append(name)
        view = ir.View(ir.Role.GATEWAY, space, selected=(ir.Selected(key),))
        for server in q(gateways.servers, key):
            fits = rule.http if server.http else rule.streams
            fits = rule.passed_on if server.passes_on else fits
            met = gateways.narrower(rule, server.hosts) if fits else []
            served.update(met)
            if met:
                yield _context(q, rule.key, view, server.port, name)
    if known:
        _report_unserved(q, rule, served, known)


def _report_unserved(
    q: Query, rule: virtual_services.Rule, served: set[str], known: list[str]
) -> None:
    for i, host_ in enumerate(rule.hosts):
        if not any(names.matches(host_, one) for one in served):
            q.report(
                Diagnostic(
                    code="PLT2008",
                    severity=Severity.WARNING,
                    subject=rule.key,
                    path=f"spec.hosts[{i}]",
                    message=f'no server of {", ".join(known)} serves "{host_}" '
                    f"for namespace {rule.key.namespace}",
                    hint="Add it to the hosts of a server, or correct it",
                )
            )


def _only_at_gateways(key: Key) -> Diagnostic:
    return Diagnostic(
        code="PLT1007",
        severity=Severity.WARNING,
        subject=key,
        path="spec.tls",
        message="these routes are in force at gateways only, not in the mesh yet",
        hint="do not rely on them there",
    )


def _kept_from(key: Key, name: str, spaces: tuple[str, ...]) -> Diagnostic:
    return Diagnostic(
        code="PLT2008",
        severity=Severity.WARNING,
        subject=key,
        path="spec.exportTo",
        message=f"not served at {name}: it is not exported to its proxies",
        hint=f"Add their namespace: {', '.join(spaces)}",
    )


def _unknown_gateway(key: Key, i: int, name: str) -> Diagnostic:
    return Diagnostic(
        code="PLT2007",
        severity=Severity.ERROR,
        subject=key,
        path=f"spec.gateways[{i}]",
        message=f'there is no Gateway "{name}"',
        hint="Write it, or correct the name; another namespace's is written namespace/name",
    )


def _lost(key: Key, i: int, name: str, winner: Key) -> Diagnostic:
    return Diagnostic(
        code="PLT2005",
        severity=Severity.ERROR,
        subject=key,
        path=f"spec.hosts[{i}]",
        message=f'not in force for "{name}" in the mesh: the older {winner} routes it',
        hint="Merge the two, or give each its own hosts",
        related=(winner,),
    )
