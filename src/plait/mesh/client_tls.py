"""How endpoints of a host are called: by mutual TLS, as a DestinationRule says, or plainly."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from plait.base.query import Query
from plait.config.kinds.destination_rule import ClientTLSSettings, TLSMode
from plait.config.meta import Key
from plait.mesh import credentials, endpoints, ir, rules, security, tls, trust
from plait.mesh.hosts import host as host_query
from plait.mesh.workloads import Pairs


class Calling(Struct, frozen=True, kw_only=True):
    """How a cluster calls.

    Attributes:
        end: None: not encrypted.
        automatic: only endpoints that take it are called so.
        possible: False: what is asked for cannot be had.
        names_host: the name that was called is asked for and checked, as nothing else is said.
        because: why it is not encrypted though no rule says so, or cannot be had, or what the
            certificates are from, for people.
    """

    end: tls.Client | None = None
    automatic: bool = False
    possible: bool = True
    names_host: bool = False
    because: str = ""


PLAIN = Calling()
IMPOSSIBLE = Calling(possible=False, because="it needs an identity that the caller has not")
_NOBODY = Calling(because="the caller has no identity")
_OUTSIDE = Calling(because="the host is outside the mesh")
_OFF = Calling(because="enableAutoMtls is off in the mesh configuration")
_MIXED = Calling(because="callers go where they were going, and not every endpoint takes it")


_UNSELECTED = "credentialName counts at gateways, and beside workloads that a selector selects"


class Who(Struct, frozen=True, cache_hash=True):
    """What of a caller decides how it calls.

    Attributes:
        certified: has an identity, and an agent that hands out what is in files.
        revocations: that agent reads files of revoked certificates too.
        secrets: namespace of the Secrets that the rule may name for it; empty: it may name none.
    """

    certified: bool = False
    revocations: bool = False
    secrets: str = ""


class Target(Struct, frozen=True, kw_only=True, cache_hash=True):
    """What is called: a port of a host, or a subset of its endpoints."""

    host: ir.HostId
    port: ir.Port
    subset: str
    labels: Pairs


def calling(
    q: Query,
    target: Target,
    written: ClientTLSSettings | None,
    resolution: ir.Resolution,
    who: Who,
) -> Calling:
    """How proxies call a target, where a DestinationRule says `written` of it.

    Without a word, endpoints of the mesh are called by mutual TLS if they take it, and who has no
    identity calls plainly.  What a rule asks for and cannot be had is not replaced by less: such
    a cluster is not there, and requests are answered 503.
    """
    if written is None:
        return _automatic(q, target, resolution) if who.certified else _NOBODY
    match written.mode:
        case TLSMode.DISABLE:
            return PLAIN
        case TLSMode.ISTIO_MUTUAL:
            return Calling(end=_mutual(q, target, written)) if who.certified else IMPOSSIBLE
        case TLSMode.SIMPLE | TLSMode.MUTUAL:
            return _written(q, target, written, who)


def _automatic(q: Query, target: Target, resolution: ir.Resolution) -> Calling:
    external = q(host_query, target.host).external
    if external:
        return _OUTSIDE
    if not q(trust.automatic):
        return _OFF
    end = _mutual(q, target, ClientTLSSettings())
    if resolution is not ir.Resolution.ORIGINAL:
        return Calling(end=end, automatic=True)
    # where the caller was going: nothing tells Envoy about that endpoint, so all must take it
    return Calling(end=end) if q(all_take_tls, target) else _MIXED


def all_take_tls(q: Query, target: Target) -> bool:
    """Whether there are endpoints, and each of them takes mutual TLS."""
    found = q(endpoints.endpoint_set, target.host, target.port.number, target.labels)
    every = [one.tls for group in found.groups for one in group.endpoints]
    return bool(every) and all(every)


def identities(q: Query, host_id: ir.HostId) -> tuple[str, ...]:
    """Who may serve a host: what a ServiceEntry says, else the identities of its endpoints.

    Each in all trust domains of the mesh: who has a certificate of a former one, which is an alias
    now, keeps it until it is renewed (Istio's rule).
    """
    said = q(host_query, host_id).identities
    found = {one.identity for one in q(endpoints.endpoints, host_id) if one.identity}
    known = [f"spiffe://{one}/" for one in q(trust.domains)]
    every: list[str] = []
    for name in said or sorted(found):
        begin = next((one for one in known if name.startswith(one)), "")
        every += [one + name.removeprefix(begin) for one in known] if begin else [name]
    return tuple(dict.fromkeys(every))


def _mutual(q: Query, target: Target, written: ClientTLSSettings) -> tls.Client:
    expected = written.subject_alt_names or q(identities, target.host)
    return tls.Client(
        certificate=tls.IDENTITY,
        roots=tls.ROOTS,
        names=tuple(map(_name, expected)) or q(security.trusted_names),
        sni=written.sni or _sni(target),
        applications=_marks(target.port.protocol),
        strength=q(trust.inside),
    )


def _sni(target: Target) -> str:
    """Istio's server name, by which its gateways pass connections on."""
    return f"outbound_.{target.port.number}_.{target.subset}_.{target.host.name}"


def _marks(protocol: ir.Protocol) -> tuple[str, ...]:
    """ALPN by which the other end knows what is spoken inside.

    On a port whose protocol is detected these are requests; other bytes there say so themselves
    (`ir.TcpChain.marked`).
    """
    if protocol.is_http2:
        return ("istio-h2", "istio", "h2")
    if protocol.is_http or protocol is ir.Protocol.AUTO:
        return ("istio-http/1.1", "istio")
    return ("istio",)


# Servers outside the mesh


def _written(q: Query, target: Target, written: ClientTLSSettings, who: Who) -> Calling:
    """TLS to somebody outside the mesh, with certificates of a Secret or in files."""
    by_name = bool(written.credential_name and who.secrets)
    shown, trusted, revoked = _named(written) if by_name else _in_files(written, who)
    if written.mode is TLSMode.MUTUAL and shown is None:
        return Calling(possible=False, because=_UNSELECTED)
    wanted = tuple(one for one in (shown, trusted) if one is not None)
    if any(one.source is tls.Source.AGENT for one in wanted) and not who.certified:
        return IMPOSSIBLE
    for one in wanted if by_name else ():
        if lack := credentials.lack(q, who.secrets, one):
            because = f"Secret {who.secrets}/{credentials.object_name(one)} {lack}"
            return Calling(possible=False, because=because)
    expected = written.subject_alt_names or q(host_query, target.host).identities
    end = tls.Client(
        certificate=shown,
        roots=trusted,
        verifies=not written.insecure_skip_verify,
        names=tuple(map(_name, expected)),
        revoked=revoked,
        sni=written.sni,
        applications=_spoken(target.port.protocol),
        strength=q(trust.outside),
    )
    because = _UNSELECTED if written.credential_name else ""
    if by_name:
        because = f"the certificates are of Secret {who.secrets}/{written.credential_name}"
    return Calling(end=end, names_host=not (written.sni or expected), because=because)


_Wanted = tuple[tls.Secret | None, tls.Secret | None, str]
"""What is shown, and what says whom to trust (None: nothing does); and `tls.Client.revoked`."""


def _named(written: ClientTLSSettings) -> _Wanted:
    """Those of the Secret: it alone says whom to trust, never the system (Istio's rule)."""
    name = written.credential_name
    shown = credentials.secret(name) if written.mode is TLSMode.MUTUAL else None
    return shown, None if written.insecure_skip_verify else credentials.trust(name), ""


def _in_files(written: ClientTLSSettings, who: Who) -> _Wanted:
    shown = None
    if written.mode is TLSMode.MUTUAL and written.client_certificate:
        shown = tls.Secret(f"file-cert:{written.client_certificate}~{written.private_key}")
    if written.insecure_skip_verify:
        return shown, None, ""
    roots, revoked = written.ca_certificates, written.ca_crl
    return shown, *tls.trust_in_files(roots, revoked, followed=who.revocations)


def secrets(q: Query, namespace: str, keys: tuple[Key, ...]) -> tuple[tls.Secret, ...]:
    """The Secrets that rules name for the workloads of `namespace` that they select, by name."""
    seen = ((key, q(rules.rule, key)) for key in keys)
    found = {
        one
        for key, rule in seen
        if rule is not None and rule.serves(namespace, keys)
        for policy in q(rules.written_tls, (key,))
        for one in asked_for(policy.tls)
    }
    return tuple(sorted(found, key=lambda one: one.name))


def asked_for(written: ClientTLSSettings | None) -> Iterator[tls.Secret]:
    """What is asked for of the Secret that is named, if one is."""
    if written is not None and written.credential_name and written.mode in _OUTSIDE_MODES:
        yield from (one for one in _named(written)[:2] if one is not None)


_OUTSIDE_MODES = (TLSMode.SIMPLE, TLSMode.MUTUAL)


def _spoken(protocol: ir.Protocol) -> tuple[str, ...]:
    if protocol.is_http2:
        return ("h2",)
    return ("http/1.1",) if protocol is ir.Protocol.HTTP else ()


def _name(written: str) -> tls.Name:
    return tls.Name(written, is_uri="://" in written)
