"""Istio's Gateway: what proxies at the edge listen to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from plait.config.kinds.port import Port


class ServerTLSMode(Enum):
    """How a server of a gateway is secured."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class TLSProtocol(Enum):
    """A version of TLS."""

    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class TLSCertificate(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Files of one certificate."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """TLS of the server's side; names of files, or of secrets.

    Attributes:
        https_redirect: plain requests are answered with 301.
        ca_crl: file of revoked certificates.
    """

    https_redirect: bool = False
    mode: ServerTLSMode = ServerTLSMode.PASSTHROUGH
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: tuple[str, ...] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: tuple[TLSCertificate, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    max_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()


class Server(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One port of a gateway and the hosts served there.

    Attributes:
        bind: address; empty: all.
        hosts: ``host``, ``*.host``, ``*``, each optionally ``namespace/host``: VirtualServices of
            that namespace only; ``./host``: of the Gateway's own.
    """

    port: Port = Port()
    bind: str = ""
    hosts: tuple[str, ...] = ()
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class Gateway(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Servers of the proxies that have all labels of `selector`."""

    servers: tuple[Server, ...] = ()
    selector: Mapping[str, str] = {}
