"""The IR of encrypted connections: what an end shows, whom it trusts, and what it speaks inside.

Keys and certificates are never here: they are secrets, asked for by name where they are used.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct


class Source(Enum):
    """Who hands a secret to the proxy."""

    AGENT = "agent"  # beside it, by Istio's cluster sds-grpc
    PLANE = "plane"  # the control plane, by ADS


class Secret(Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """A secret by its name: a certificate with its key, or certificates to trust."""

    name: str
    source: Source = Source.AGENT


IDENTITY: Final = Secret("default")
"""The certificate of the workload's own identity, as in Istio."""
ROOTS: Final = Secret("ROOTCA")
"""The certificates under which identities of the mesh are trusted, as in Istio."""


SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
"""The file of the certificates that a machine trusts by itself."""


class Version(Enum):
    """Versions of TLS; the values are those of Istio's `TLSProtocol`."""

    AUTO = "TLS_AUTO"
    V1_0 = "TLSV1_0"
    V1_1 = "TLSV1_1"
    V1_2 = "TLSV1_2"
    V1_3 = "TLSV1_3"


class Strength(Struct, frozen=True, kw_only=True, cache_hash=True):
    """What is accepted of TLS itself; empty and AUTO: Envoy's defaults, TLS 1.2 and up."""

    least: Version = Version.AUTO
    most: Version = Version.AUTO
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()


class Name(Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """A subject alternative name that a peer's certificate must have.

    Attributes:
        value: the whole name, or what it begins with.
        is_uri: such as a SPIFFE id; else a DNS name.
    """

    value: str
    is_uri: bool = True
    is_prefix: bool = False


class Server(Struct, frozen=True, kw_only=True, cache_hash=True):
    """The accepting end.

    Attributes:
        certificates: shown to the client; one for each sort of key.
        roots: whom a client's certificate is trusted under; None: it is not looked at.
        requires: a client without a certificate is refused.
        names: one of these a client's certificate must have; empty: any.
        keys, hashes: SHA-256 of a client's public key in base64, of its certificate in
            hexadecimal digits: one of all these it must have; both empty: any.
        revoked: a file, on the proxy's machine, of certificates that are not trusted; empty: none.
        applications: ALPN that is agreed to.
    """

    certificates: tuple[Secret, ...]
    roots: Secret | None = None
    requires: bool = False
    names: tuple[Name, ...] = ()
    keys: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    revoked: str = ""
    applications: tuple[str, ...] = ()
    strength: Strength = Strength()


class Client(Struct, frozen=True, kw_only=True, cache_hash=True):
    """The calling end.

    Attributes:
        certificate: shown to the server; None: none.
        roots: whom the server's certificate is trusted under; None: those of the system, or none
            where `verifies` says so.
        verifies: False: whatever the server shows is taken.
        names: one of these the server's certificate must have; empty: any, or what was called
            where `sni` is empty.
        revoked: a file, on the proxy's machine, of certificates that are not trusted; empty: none.
        sni: the server name that is asked for; empty: the one that was called.
        applications: ALPN that is offered.
    """

    certificate: Secret | None = None
    roots: Secret | None = None
    verifies: bool = True
    names: tuple[Name, ...] = ()
    revoked: str = ""
    sni: str = ""
    applications: tuple[str, ...] = ()
    strength: Strength = Strength()


def trust_in_files(roots: str, revoked: str, *, followed: bool) -> tuple[Secret | None, str]:
    """What says whom to trust, and the file of those revoked that is left for Envoy to read.

    Where the agent reads lists of those revoked (`followed`) it hands them out with the roots,
    ``file-root:ROOTS~REVOKED``, and anew when the file changes.  Envoy reads one when it gets the
    roots, and no more.  None: those of the system; an empty `revoked`: none are.
    """
    if revoked and followed:
        return Secret(f"file-root:{roots or SYSTEM_ROOTS}~{revoked}"), ""
    return Secret(f"file-root:{roots}") if roots else None, revoked
