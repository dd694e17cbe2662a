"""Which VirtualService routes a host, and for whom.

What is asked often and changes seldom (hosts, gateways, visibility, selectors) is kept apart from
the routes themselves, so that a new weight is no reason to look again for who routes what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from plait.base.query import Query
from plait.config import indexes, names
from plait.config.kinds import virtual_service as kinds
from plait.config.meta import Key, Object
from plait.mesh import ir, scopes

TABLE = "VirtualService"


class Rule(Struct, frozen=True, kw_only=True):
    """What a VirtualService applies to.

    Attributes:
        exports: namespaces that see it; ``*``: all.
        hosts: full names; wildcards as written.
        gateways: ``mesh`` and ``namespace/name``.
        destinations: full names of all hosts that it sends to, sorted.
        http: it has routes for requests.
        streams: it has routes for connections.
        passed_on: it has routes for connections that stay encrypted.
    """

    key: Key
    created: float
    exports: tuple[str, ...]
    hosts: tuple[str, ...]
    gateways: tuple[str, ...]
    destinations: tuple[str, ...]
    http: bool
    streams: bool
    passed_on: bool = False


class SourceMatch(Struct, frozen=True, kw_only=True):
    """A match that only some callers may use; `section` such as ``http[0].match[1]``."""

    section: str
    labels: tuple[tuple[str, str], ...]
    namespace: str


def rule(q: Query, key: Key) -> Rule | None:
    """What the VirtualService `key` applies to; None: there is none."""
    found: Object[kinds.VirtualService] | None = q.row(TABLE, key)
    if found is None:
        return None
    spec, namespace = found.spec, key.namespace
    exported = spec.export_to or q(scopes.exported_by_default, TABLE)
    return Rule(
        key=key,
        created=found.created,
        exports=names.exports(exported, namespace),
        hosts=tuple(names.resolve(host, namespace) for host in spec.hosts),
        gateways=indexes.route_gateway(found),
        destinations=tuple(sorted(set(_destinations(spec, namespace)))),
        http=bool(spec.http),
        streams=bool(spec.tcp),
        passed_on=bool(spec.tls),
    )


def _destinations(spec: kinds.VirtualService, namespace: str) -> Iterator[str]:
    written = [to.destination for http in spec.http for to in http.route]
    written += [to.destination for tcp in spec.tcp for to in tcp.route]
    written += [to.destination for tls in spec.tls for to in tls.route]
    for destination in written:
        yield names.resolve(destination.host, namespace)


def candidates(q: Query, host: str) -> tuple[Key, ...]:
    """VirtualServices that may route `host` in the mesh, in order of precedence.

    The exact name before wildcards, the longer wildcard before the shorter, then the older object
    (Istio's rule for sidecars: they are not merged).
    """
    found: list[Key] = []
    for pattern in (host, *_wildcards(q, host)):
        keys = q.keys(TABLE, "host", pattern)
        rules = [rule_ for key in keys if (rule_ := q(rule, key))]
        found += [rule_.key for rule_ in sorted(rules, key=_age)]
    return tuple(dict.fromkeys(found))


def served(q: Query, gateway: str, namespace: str) -> tuple[Key, ...]:
    """VirtualServices bound to `gateway` that its proxies in `namespace` know of, older first."""
    return tuple(key for key in q(bound, gateway) if q(seen, key, namespace, None))


def _wildcards(q: Query, host: str) -> tuple[str, ...]:
    """The wildcards by which a VirtualService may route `host`, the longer first."""
    found = set(names.wildcards(host))
    for key in q.keys(TABLE, "host", names.PARTIAL):
        written = q(rule, key)
        hosts = written.hosts if written else ()
        found |= {one for one in hosts if names.is_partial(one) and names.matches(one, host)}
    return tuple(sorted(found, key=lambda one: (-len(one), one)))


def bound(q: Query, gateway: str) -> tuple[Key, ...]:
    """VirtualServices bound to `gateway` (``mesh`` or ``namespace/name``), older first."""
    rules = [rule_ for key in q.keys(TABLE, "gateway", gateway) if (rule_ := q(rule, key))]
    return tuple(rule_.key for rule_ in sorted(rules, key=_age))


def _age(rule_: Rule) -> tuple[float, Key]:
    return (rule_.created, rule_.key)


def seen(q: Query, key: Key, namespace: str, scope: Key | None) -> bool:
    """Whether proxies of `namespace`, in the Sidecar `scope`, know of a VirtualService."""
    found = q(rule, key)
    if found is None or not ({"*", namespace} & set(found.exports)):
        return False
    return scope is None or q(scopes.imports, scope, namespace, key.namespace, found.hosts)


def chosen(q: Query, view: ir.View, host: str) -> Key | None:
    """The VirtualService that routes `host` for sidecars of `view`; None: nobody does."""
    for key in q(candidates, host):
        if q(seen, key, view.namespace, view.scope):
            return key
    return None


def source_matches(q: Query, key: Key) -> tuple[SourceMatch, ...]:
    """Matches of a VirtualService that depend on the caller's labels or namespace.

    A match that names gateways looks at those alone (Istio's rule).
    """
    found: Object[kinds.VirtualService] | None = q.row(TABLE, key)
    if found is None:
        return ()
    written: list[tuple[str, kinds.HTTPMatchRequest | kinds.L4MatchAttributes]] = []
    for i, http in enumerate(found.spec.http):
        written += [(f"http[{i}].match[{j}]", match) for j, match in enumerate(http.match)]
    for i, tcp in enumerate(found.spec.tcp):
        written += [(f"tcp[{i}].match[{j}]", match) for j, match in enumerate(tcp.match)]
    return tuple(
        SourceMatch(
            section=section,
            labels=tuple(sorted(match.source_labels.items())),
            namespace=match.source_namespace,
        )
        for section, match in written
        if (match.source_labels or match.source_namespace) and not match.gateways
    )


def selects(selector: Iterable[tuple[str, str]], labels: Mapping[str, str]) -> bool:
    """Whether `labels` have every pair of `selector`; an empty one selects all."""
    return all(labels.get(name) == value for name, value in selector)


def covers_any(pattern: str, hosts: set[str]) -> bool:
    """Whether a host as a VirtualService writes it is, or covers, one of `hosts`."""
    if not pattern.startswith("*"):
        return pattern in hosts
    return any(names.matches(pattern, host) for host in hosts)
