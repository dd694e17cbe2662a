"""What workloads ask of their callers: PeerAuthentication, and the identities of the mesh."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import peer_authentication as kinds
from plait.config.meta import Key, Object
from plait.mesh import tls, trust
from plait.mesh.workloads import Pairs, has, pairs

TABLE = "PeerAuthentication"
HTTP_MARKS = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
"""ALPN of requests between workloads of the mesh, as Istio's proxies offer it."""
BYTES_MARKS = ("istio-peer-exchange", "istio")
"""ALPN of other bytes between them."""


class Mode(Enum):
    """What a port takes."""

    DISABLE = "DISABLE"  # nothing that the proxy decrypts
    PERMISSIVE = "PERMISSIVE"  # both
    STRICT = "STRICT"  # callers with an identity alone


_MODES = {
    kinds.MutualTLSMode.DISABLE: Mode.DISABLE,
    kinds.MutualTLSMode.PERMISSIVE: Mode.PERMISSIVE,
    kinds.MutualTLSMode.STRICT: Mode.STRICT,
}


class Policy(Struct, frozen=True, kw_only=True):
    """A PeerAuthentication as written.

    Attributes:
        labels: of the workloads it is for; None: all of its namespace.
        mode: None: as the wider policy says; so too in `ports`.
    """

    key: Key
    created: float
    labels: Pairs | None
    mode: Mode | None
    ports: tuple[tuple[int, Mode | None], ...] = ()


class Decision(Struct, frozen=True, kw_only=True):
    """What a port takes, and the policy that says so at `path`; None: the default."""

    mode: Mode = Mode.PERMISSIVE
    by: Key | None = None
    path: str = ""


def policy(q: Query, key: Key) -> Policy | None:
    """One PeerAuthentication; None: there is none.

    Modes of ports count only together with a selector (Istio's rule).
    """
    found: Object[kinds.PeerAuthentication] | None = q.row(TABLE, key)
    if found is None:
        return None
    written = found.spec
    labels = pairs(written.selector.match_labels) if written.selector else ()
    ports = [(int(n), _MODES.get(one.mode)) for n, one in written.port_level_mtls.items()]
    return Policy(
        key=key,
        created=found.created,
        labels=labels or None,
        mode=_MODES.get(written.mtls.mode) if written.mtls else None,
        ports=tuple(sorted(ports)) if labels else (),
    )


def written_in(q: Query, namespace: str) -> tuple[Policy, ...]:
    """The policies of a namespace, the older first; PLT3003: a second of one width counts not."""
    tried = [q.attempt(policy, key) for key in q.keys(TABLE, "namespace", namespace)]
    found = [one for one in tried if isinstance(one, Policy)]
    found.sort(key=lambda one: (one.created, one.key))
    oldest: dict[Pairs | None, Policy] = {}
    for one in found:
        if (winner := oldest.setdefault(one.labels, one)) is not one:
            q.report(_second(one, winner.key))
    return tuple(found)


def _second(loser: Policy, winner: Key) -> Diagnostic:
    width = "these workloads" if loser.labels else "the namespace"
    if not loser.labels and loser.key.namespace == names.ROOT_NAMESPACE:
        width = "the mesh"
    return Diagnostic(
        code="PLT3003",
        severity=Severity.WARNING,
        subject=loser.key,
        path="spec.selector",
        message=f"not in force: the older {winner} is already the policy of {width}",
        hint="Merge the two, or give each a selector of its own",
        related=(winner,),
    )


def is_governed(q: Query, namespace: str) -> bool:
    """Whether any policy may be about workloads of a namespace."""
    return bool(q(written_in, namespace) or q(written_in, names.ROOT_NAMESPACE))


def in_force(q: Query, namespace: str, labels: Pairs) -> tuple[Key, ...]:
    """The policies for workloads of a namespace with these labels, the narrower first.

    At most one that selects them, one of their namespace and one of the mesh; of several of one
    width the oldest (Istio's rule).
    """
    own = q(written_in, namespace)
    mine = dict(labels)
    chosen = [
        next((one for one in own if one.labels and has(mine, one.labels)), None),
        next((one for one in own if one.labels is None), None),
    ]
    if namespace != names.ROOT_NAMESPACE:
        root = q(written_in, names.ROOT_NAMESPACE)
        chosen.append(next((one for one in root if one.labels is None), None))
    return tuple(one.key for one in chosen if one is not None)


def decision(q: Query, policies: tuple[Key, ...], port: int) -> Decision:
    """What a port of workloads takes under these policies, the narrower first.

    `port` is the number on the workload; 0: any that no policy names.
    """
    found = [one for key in policies if (one := q(policy, key)) is not None]
    for one in found:
        said = dict(one.ports).get(port)
        if said is not None:
            return Decision(mode=said, by=one.key, path=f"spec.portLevelMtls.{port}")
    for one in found:
        if one.mode is not None:
            return Decision(mode=one.mode, by=one.key, path="spec.mtls")
    return Decision()


def named_ports(q: Query, policies: tuple[Key, ...]) -> frozenset[int]:
    """The ports of workloads that one of these policies says something of."""
    found = [one for key in policies if (one := q(policy, key)) is not None]
    return frozenset(port for one in found for port, mode in one.ports if mode is not None)


def takes_tls(
    q: Query,
    namespace: str,
    labels: Pairs,
    port: int,
    able: bool,  # noqa: FBT001 - an argument of a query
) -> bool:
    """Whether callers use mutual TLS for an endpoint; `able`: it says that its sidecar takes it.

    One that takes nothing else is called so though it says nothing (Istio's rule).
    """
    mode = q(decision, q(in_force, namespace, labels), port).mode
    return mode is Mode.STRICT or (able and mode is not Mode.DISABLE)


# Identities


def trusted_names(q: Query) -> tuple[tls.Name, ...]:
    """What SPIFFE ids of the mesh begin with: its trust domain, then the aliases."""
    return tuple(tls.Name(f"spiffe://{one}/", is_prefix=True) for one in q(trust.domains))


def accepting(q: Query, applications: tuple[str, ...]) -> tls.Server:
    """The workload's end of mutual TLS; `applications` is the ALPN that it agrees to."""
    return tls.Server(
        certificates=(tls.IDENTITY,),
        roots=tls.ROOTS,
        requires=True,
        names=q(trusted_names),
        applications=applications,
        strength=q(trust.inside),
    )
