"""What people are shown of the certificate authority: roots, the rotation, certificates, alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from cryptography import x509
from msgspec import Struct

from plait.base import pem
from plait.serve.ca import authority
from plait.serve.ca.ledger import Entry
from plait.serve.ca.rotation import Phase
from plait.serve.ca.run import CertificateAuthority

DUE: Final = 1 / 3
"""Share of its life that a certificate should not fall below: it is renewed at half."""
ALARM: Final = 1 / 10
"""Share of its life at which an authority's certificate is about to expire."""
_NAMED: Final = 3  # proxies in one alarm


class Root(Struct, frozen=True, kw_only=True, rename="camel"):
    """A certificate of an authority; times in seconds since the epoch.

    Attributes:
        role: ``signing``, ``trusted``, or ``intermediate`` for one that signs and is no root.
        left: seconds until it expires; less than 0: it has.
        is_due: it is about to expire.
        pem: the certificate itself, which is no secret.
    """

    fingerprint: str
    subject: str
    role: str
    not_before: float
    not_after: float
    left: float
    is_due: bool
    pem: str


class Waiting(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whom a rotation waits for; `left`: seconds until that ends by itself, None: it does not."""

    proxy: str
    reason: str
    left: float | None


class Overview(Struct, frozen=True, kw_only=True, rename="camel"):
    """The authority.

    Attributes:
        source: directory of the user's own authority; empty: roots are of our own making.
        problem: why what is there is not in force; empty: it is.
        phase: of the rotation; ``steady``: there is none.
        age: seconds since the phase began.
        forced: the rotation does not wait for proxies that are not connected.
    """

    trust_domain: str
    source: str
    problem: str
    roots: tuple[Root, ...]
    phase: str
    age: float
    forced: bool
    waits: tuple[Waiting, ...]
    alarms: tuple[str, ...]


class Certificate(Struct, frozen=True, kw_only=True, rename="camel"):
    """The newest certificate of a proxy; times in seconds since the epoch.

    Attributes:
        proxy: its node id, or else the Pod or the identity that has the certificate.
        issuer: fingerprint of the root.
        life: seconds from when it was given to its end; `left`: from now.
        connected: the proxy is.
        state: ``OK``, ``DUE`` if it should have been renewed, or ``EXPIRED``.
    """

    proxy: str
    pod: str
    identity: str
    issuer: str
    serial: str
    not_before: float
    not_after: float
    life: float
    left: float
    connected: bool
    state: str


def overview(ca: CertificateAuthority) -> Overview:
    """The authority as it is now."""
    now, state = ca.now(), ca.roots.state
    waits = ca.waits() if state.phase is not Phase.STEADY else ()
    return Overview(
        trust_domain=ca.bundle.trust_domain,
        source=str(ca.roots.source or ""),
        problem=ca.roots.problem,
        roots=tuple(_roots(ca, now)),
        phase=state.phase.value,
        age=now - state.since,
        forced=state.forced,
        waits=tuple(
            Waiting(
                proxy=wait.proxy,
                reason=wait.reason,
                left=None if wait.until is None else wait.until - now,
            )
            for wait in waits
        ),
        alarms=alarms(ca),
    )


def certificates(ca: CertificateAuthority) -> tuple[Certificate, ...]:
    """The newest certificate of each proxy, by name."""
    now, connected = ca.now(), ca.evidence().connected
    found = [_certificate(entry, now, connected) for entry in _entries(ca).values()]
    return tuple(sorted(found, key=lambda one: one.proxy))


def alarms(ca: CertificateAuthority) -> tuple[str, ...]:
    """What is about to expire, or has, and what to do about it; one line each."""
    return (*_alarms_of_roots(ca), *_alarms_of_proxies(ca))


def _alarms_of_roots(ca: CertificateAuthority) -> Iterator[str]:
    cure = f"put a new one into {ca.roots.source}" if ca.roots.source else "run: plait ca rotate"
    if ca.roots.problem:
        yield f"certificate authority: {ca.roots.problem}; what was in force before stays"
    for root in _roots(ca, ca.now()):
        if root.is_due:
            name = "intermediate" if root.role == "intermediate" else "root"
            told = f"{name} {root.fingerprint[:16]} {_ends(root.left)}"
            yield f"certificate authority: the {told}: {cure}"


def _alarms_of_proxies(ca: CertificateAuthority) -> Iterator[str]:
    late = [one for one in certificates(ca) if one.connected and one.state != "OK"]
    if late:
        named = ", ".join(f"{_name(one.proxy)} {_ends(one.left)}" for one in late[:_NAMED])
        more = f" and {len(late) - _NAMED} more" if len(late) > _NAMED else ""
        yield f"certificates that are not renewed: {named}{more}; see: plait cert"


def _name(proxy: str) -> str:
    """What people call a proxy: ``name.namespace`` of its workload, where its node id says it."""
    return (*proxy.split("~"), "", "")[2] or proxy


def _roots(ca: CertificateAuthority, now: float) -> Iterator[Root]:
    signer = ca.roots.signer
    if signer.intermediates:
        yield _root(signer.certificate, "intermediate", now)
    for fingerprint, found in ca.roots.certificates().items():
        is_signing = fingerprint == ca.roots.state.signing
        yield _root(found, "signing" if is_signing else "trusted", now)


def _root(found: x509.Certificate, role: str, now: float) -> Root:
    begins, ends = authority.beginning(found), authority.expiry(found)
    return Root(
        fingerprint=authority.fingerprint(found),
        subject=found.subject.rfc4514_string(),
        role=role,
        not_before=begins,
        not_after=ends,
        left=ends - now,
        is_due=ends - now < (ends - begins) * ALARM,
        pem=pem.text(found),
    )


def _entries(ca: CertificateAuthority) -> Mapping[str, Entry]:
    return dict(ca.ledger.entries)


def _certificate(entry: Entry, now: float, connected: frozenset[str]) -> Certificate:
    left = entry.not_after - now
    state = "EXPIRED" if left <= 0 else "DUE" if left < entry.life * DUE else "OK"
    return Certificate(
        proxy=entry.holder,
        pod=entry.pod,
        identity=entry.identity,
        issuer=entry.root,
        serial=entry.serial,
        not_before=entry.not_before,
        not_after=entry.not_after,
        life=entry.life,
        left=left,
        connected=entry.proxy in connected,
        state=state,
    )


def _ends(left: float) -> str:
    if left <= 0:
        return "has expired"
    whole = int(left)
    said = f"{whole // 86_400} days" if whole >= 172_800 else f"{whole // 60} minutes"
    return f"expires in {said if whole >= 120 else f'{whole} seconds'}"
