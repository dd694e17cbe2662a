"""Servers of gateways that are encrypted: what they show, whom they trust, what is behind them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds.gateway import ServerTLSMode, ServerTLSSettings
from plait.config.meta import Key
from plait.mesh import credentials, extensions, gateways, ir, security, streams, tls, trust
from plait.mesh.streams import Stream

_REQUESTS = ("h2", "http/1.1")  # ALPN, as Istio's gateways agree to
_MUTUAL = (ServerTLSMode.MUTUAL, ServerTLSMode.OPTIONAL_MUTUAL)


class Secured(Struct, frozen=True, kw_only=True, cache_hash=True):
    """One server name, or several, on an encrypted port of a gateway.

    Attributes:
        end: None: it is passed on as it is.
        server_names: empty: whatever name is asked for, and none too.
        table: of requests; empty: bytes are passed on.
        stream: where bytes go.
    """

    name: str
    server_names: tuple[str, ...] = ()
    end: tls.Server | None = None
    table: str = ""
    stream: Stream | None = None
    origin: tuple[Key, ...] = ()


def chains(q: Query, one: Secured) -> tuple[ir.Chain, ...]:
    """The filter chains of a server."""
    match = ir.ChainMatch(transport="tls", server_names=one.server_names)
    if one.table:
        action = ir.HttpChain(
            stat_prefix=f"outbound_{one.name};",
            table=one.table,
            filters=extensions.FILTERS,
            edge=True,
        )
        name, origin = one.name, one.origin
        return (ir.Chain(name=name, match=match, action=action, tls=one.end, origin=origin),)
    if one.stream is None:
        return ()
    if one.end is None:
        return q(streams.passed_on, one.stream)
    return tuple(
        structs.replace(
            chain, match=structs.replace(match, prefixes=chain.match.prefixes), tls=one.end
        )
        for chain in q(streams.chains, one.stream)
    )


def end(q: Query, view: ir.View, server: gateways.Served) -> tls.Server | None:
    """The accepting end of a server.

    None: something of it is missing or cannot be used (PLT3007 names it), so its chain is left
    out: Envoy would hold back all the listener, the good servers of the port too.  What the
    proxy's agent gives (files, identities) is left out where there is none.
    """
    written = server.tls or ServerTLSSettings()
    if written.mode is ServerTLSMode.ISTIO_MUTUAL:
        return q(identified, server) if view.certified else None
    shown = tuple(_shown(written))
    trusted, revoked = _trusted(view, written) if written.mode in _MUTUAL else (None, "")
    wanted = (*shown, *((trusted,) if trusted else ()))
    if any(one.source is tls.Source.AGENT for one in wanted) and not view.certified:
        return None
    lacking = [
        (one, lack)
        for one in wanted
        if one.source is tls.Source.PLANE and (lack := credentials.lack(q, view.namespace, one))
    ]
    for secret, lack in lacking:
        q.report(_unusable(server, view.namespace, secret, lack))
    if written.mode in _MUTUAL and trusted is None:
        q.report(_trusts_nobody(server))
        return None
    if lacking or not shown:
        return None
    return _end(q, server, shown, trusted, revoked)


def identified(q: Query, server: gateways.Served) -> tls.Server:
    """The end that shows the gateway's own identity and asks for the caller's.

    That must be one of the mesh, if nothing else is said: others may be under its roots as well.
    """
    return tls.Server(
        certificates=(tls.IDENTITY,),
        roots=tls.ROOTS,
        requires=True,
        names=_names(server.tls or ServerTLSSettings()) or q(security.trusted_names),
        applications=_REQUESTS if server.http else (),
        strength=q(trust.inside),
    )


def _end(
    q: Query,
    server: gateways.Served,
    shown: tuple[tls.Secret, ...],
    trusted: tls.Secret | None,
    revoked: str,
) -> tls.Server:
    written = server.tls or ServerTLSSettings()
    usual = q(trust.outside)
    strength = tls.Strength(
        least=tls.Version(written.min_protocol_version.value),
        most=tls.Version(written.max_protocol_version.value),
        ciphers=written.cipher_suites or usual.ciphers,
        curves=written.ecdh_curves or usual.curves,
    )
    if strength.least is tls.Version.AUTO and strength.most is tls.Version.AUTO:
        strength = structs.replace(strength, least=usual.least)
    return tls.Server(
        certificates=shown,
        roots=trusted,
        revoked=revoked,
        requires=written.mode is ServerTLSMode.MUTUAL,
        names=_names(written) if trusted else (),
        keys=written.verify_certificate_spki if trusted else (),
        hashes=written.verify_certificate_hash if trusted else (),
        applications=_REQUESTS if server.http else (),
        strength=strength,
    )


def _names(written: ServerTLSSettings) -> tuple[tls.Name, ...]:
    return tuple(tls.Name(name, is_uri="://" in name) for name in written.subject_alt_names)


def _shown(written: ServerTLSSettings) -> Iterator[tls.Secret]:
    """Certificates by name of their Secrets, else files (Istio's order)."""
    if names := written.credential_names or (written.credential_name,):
        found = [credentials.secret(name) for name in names if name]
        if found:
            yield from found
            return
    files = [(one.server_certificate, one.private_key) for one in written.tls_certificates]
    for certificate, key in files or [(written.server_certificate, written.private_key)]:
        if certificate:
            yield tls.Secret(f"file-cert:{certificate}~{key}")


def _trusted(view: ir.View, written: ServerTLSSettings) -> tuple[tls.Secret | None, str]:
    """What says whom to trust, and `tls.Server.revoked`; None: nothing does."""
    name = written.ca_cert_credential_name or written.credential_name
    name = name or next(iter(written.credential_names), "")
    if name:
        return credentials.trust(name), ""
    file = written.ca_certificates
    file = file or next((one.ca_certificates for one in written.tls_certificates), "")
    if not file:
        return None, ""
    return tls.trust_in_files(file, written.ca_crl, followed=view.revocations)


def _unusable(server: gateways.Served, namespace: str, secret: tls.Secret, lack: str) -> Diagnostic:
    name = credentials.object_name(secret)
    return Diagnostic(
        code="PLT3007",
        severity=Severity.ERROR,
        subject=server.gateway,
        path=f"spec.servers[{server.index}].tls",
        message=f"not served: Secret {namespace}/{name} {lack}",
        hint=f"Write the {credentials.needed(secret)} in the namespace of the gateway's proxies, "
        f"{namespace}",
    )


def _trusts_nobody(server: gateways.Served) -> Diagnostic:
    return Diagnostic(
        code="PLT3007",
        severity=Severity.ERROR,
        subject=server.gateway,
        path=f"spec.servers[{server.index}].tls",
        message="not served: it asks for certificates of clients, and trusts none",
        hint="Write credentialName, caCertCredentialName or caCertificates",
    )
