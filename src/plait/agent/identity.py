"""Who a proxy is: its key, which never leaves this process and one file, and its certificate.

When the certificate is renewed is decided here, purely; `agent.renewal` does it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct
from msgspec.structs import replace

from plait.base import pem
from plait.base.errors import PlaitError
from plait.base.pem import UNREADABLE, UnreadableError
from plait.base.tasks import Backoff

SPREAD = 3.0
"""Seconds over which the agents' requests are spread when another root becomes the first."""

_HALF, _EARLIER = 0.5, 0.1  # shares of a certificate's life: renewed then, or so much earlier
_BACKOFF = Backoff(first=0.5, limit=30.0)
_BARE = Backoff(first=0.2, limit=5.0)  # while there is no certificate that is valid
_ATTEMPTS = 4  # that should still fit into the life of a certificate
_LEAST = 0.2  # seconds between two attempts, at least
_LONGEST_WAIT = 60.0  # seconds until the next look: the clock may be set, or the machine sleep
_BACK = 60.0  # seconds by which a clock may go back unnoticed


class UnfitError(PlaitError):
    """A certificate is not what was asked for."""


class Identity(Struct, frozen=True, kw_only=True):
    """A key and its certificate.

    Attributes:
        key: in PEM.
        chain: in PEM: the certificate, intermediates, the root.
        received: when, in seconds since the epoch.
        seconds: how long it is good from then on.
    """

    key: str
    chain: tuple[str, ...]
    received: float
    seconds: float

    def __repr__(self) -> str:
        """Without the key."""
        return f"Identity(received={self.received}, seconds={self.seconds})"


class State(Struct, frozen=True, kw_only=True):
    """What the next request depends on; times in seconds since the epoch.

    Attributes:
        received: when the certificate came; None: there is none.
        seconds: how long it is good from then on.
        moved: when it became known that new identities are issued under another root than this;
            None: they are not.
        failures: requests in a row that led to nothing; `failed`: when the last one did.
        luck: between 0 and 1, drawn at each answer, so that many agents do not ask at once.
    """

    received: float | None = None
    seconds: float = 0.0
    moved: float | None = None
    failures: int = 0
    failed: float = 0.0
    luck: float = 0.0


class Ask(Struct, frozen=True):
    """Ask for a certificate now."""


class Wait(Struct, frozen=True):
    """Look again after so many seconds, or when something changed."""

    seconds: float


def step(state: State, now: float) -> Ask | Wait:
    """What to do now: half of the life is the latest moment, and another root an earlier one."""
    due = _due(state, now)
    if state.failures:
        due = max(due, state.failed + _delay(state, now))
    return Ask() if due <= now else Wait(min(due - now, _LONGEST_WAIT))


def received(state: State, identity: Identity, luck: float, *, is_wanted: bool) -> State:
    """The state with another certificate.

    One that is not wanted was issued under another root than the first: it is in force, and
    asked for again ever more seldom.
    """
    held = replace(state, received=identity.received, seconds=identity.seconds, luck=luck)
    if is_wanted:
        return replace(held, moved=None, failures=0)
    return moved(failed(held, identity.received, luck), identity.received)


def failed(state: State, now: float, luck: float) -> State:
    """The state after a request that led to nothing."""
    return replace(state, failures=state.failures + 1, failed=now, luck=luck)


def moved(state: State, now: float) -> State:
    """The state when new identities are issued under another root than the certificate's."""
    return state if state.moved is not None else replace(state, moved=now)


def _due(state: State, now: float) -> float:
    if state.received is None or now < state.received - _BACK:  # the clock was set back
        return now
    usual = state.received + max(_LEAST, state.seconds * (_HALF - _EARLIER * state.luck))
    return usual if state.moved is None else min(usual, state.moved + SPREAD * state.luck)


def _delay(state: State, now: float) -> float:
    """Seconds between the last attempt and the next: short enough for some to be in time."""
    left = 0.0 if state.received is None else state.received + state.seconds - now
    if left <= 0:
        return _BARE.delay(state.failures, state.luck)
    return min(_BACKOFF.delay(state.failures, state.luck), max(_LEAST, left / _ATTEMPTS))


# Keys and certificates


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key of the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_text(key: ec.EllipticCurvePrivateKey) -> str:
    """A key in PEM, as Envoy reads it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def request(key: ec.EllipticCurvePrivateKey, identity: str) -> str:
    """A signing request in PEM, for a SPIFFE id, or for whatever is due where that is empty."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if identity:
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        builder = builder.add_extension(name, critical=True)
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def accepted(
    key: ec.EllipticCurvePrivateKey, chain: Sequence[str], *, account: str, seconds: int, now: float
) -> Identity:
    """The identity that an answer to a request gives.

    How long it is good is told by the certificate and by what was asked for (`seconds`; 0: no
    matter): a clock that is wrong must not make it look longer, nor end it at once.

    Raises:
        UnfitError: it is not of this key, or not for ``/ns/NAMESPACE/sa/ACCOUNT`` in `account`.
    """
    certificates = parsed(chain)
    if not certificates:
        raise UnfitError("the control plane's answer has no certificate")
    leaf = certificates[0]
    if leaf.public_key() != key.public_key():
        raise UnfitError("the control plane's certificate is not of the key that was sent")
    name = pem.uri(leaf)
    if not name.startswith("spiffe://") or not name.endswith(account):
        raise UnfitError(f'the control plane\'s certificate is for "{name}", not for "{account}"')
    text = key_text(key)
    return Identity(key=text, chain=tuple(chain), received=now, seconds=_good(leaf, seconds, now))


def restored(identity: Identity, *, account: str) -> str:
    """The SPIFFE id of an identity that was kept.

    Raises:
        UnfitError: it cannot be used, or is not for `account`.
    """
    try:
        key = pem.private_key(identity.key.encode())
    except UnreadableError as error:
        raise UnfitError(f"its key {error}") from error
    certificates = parsed(identity.chain)
    if not certificates or certificates[0].public_key() != key.public_key():
        raise UnfitError("its certificate is not of its key")
    name = pem.uri(certificates[0])
    if not name.endswith(account):
        raise UnfitError(f'its certificate is for "{name}", not for "{account}"')
    return name


def parsed(chain: Sequence[str]) -> tuple[x509.Certificate, ...]:
    """Certificates in PEM, in their order.

    Raises:
        UnfitError: one cannot be read.
    """
    try:
        return tuple(one for text in chain for one in pem.certificates(text.encode()))
    except UnreadableError as error:
        raise UnfitError(f"a certificate {error}") from error


def is_under(chain: Sequence[str], roots: str) -> bool:
    """Whether a chain ends at the first of these roots, or was issued by it.

    Raises:
        UnfitError: one of them cannot be read.
    """
    first = parsed((roots,))[:1]
    return not first or any(one == first[0] or _issued(one, first[0]) for one in parsed(chain))


def _good(leaf: x509.Certificate, seconds: int, now: float) -> float:
    """Seconds for which a certificate is good that came just now."""
    begins, ends = (_seconds(at) for at in (leaf.not_valid_before_utc, leaf.not_valid_after_utc))
    whole = min(ends - begins, seconds) if seconds else ends - begins
    return min(whole, ends - now) if ends > now else whole


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _seconds(at: dt.datetime) -> float:
    return at.timestamp()
