"""Arbitrary meshes: objects of every kind that configures proxies, as validation lets them through.

Each field of a kind may be written, with values that users write and some that nobody should.
What validation refuses is left out: so what is left must compile, and Envoy must take it.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from enum import Enum
from random import Random
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from plait.config import catalog, codec
from plait.config.catalog import Kind
from plait.config.kinds import core, service_entry, sidecar, virtual_service
from plait.config.kinds.sidecar import OutboundTrafficPolicyMode as Mode
from plait.config.mesh_config import MeshConfig, OutboundTrafficPolicy
from plait.config.meta import Object
from plait.config.ports import Change
from tests.support import objects

SPACES = ("demo", "other", "istio-system")
LABELS: tuple[dict[str, str], ...] = ({"app": "a"}, {"app": "b", "version": "v1"})
KINDS = (
    *("Service", "ServiceEntry", "VirtualService", "VirtualService", "DestinationRule"),
    *("Gateway", "Sidecar", "WorkloadEntry", "PeerAuthentication", "EndpointSlice"),
)
_NAMES = ("a", "b", "c")
_SHORT = ("a", "b", "c.other", "a.demo.svc.cluster.local", "b.other.svc.cluster.local")
_HOSTS = (
    *_SHORT,
    "ext.com",
    "Api.Ext.com",
    "*.ext.com",
    "*.com",
    "192.0.2.9",
    "ext.com.",
    "*x.com",
)
_WORDS = ("x", "%REQ(:path)%", "é", "a" * 300)
_PATHS = ("/", "/a", "/a/", "a", "/A?b#c", "//", "/é", "/a b", "/%2e")
_REGEXES = ("/a.*", ".*", "[ab]+", "(a)(b)", "a{1,900}", r"\w+", "(?i)x", "(?P<n>a)")
_ADDRESSES = ("192.0.2.1", "192.0.2.1/32", "fd00::1", "FD00:0::1")
_PROTOCOLS = ("HTTP", "TCP", "HTTPS", "TLS", "GRPC", "HTTP2", "UDP", "MONGO", "http", "GRPC-WEB")
_NUMBERS = (80, 443, 9080, 3306)
_COUNTS = (1, 2, 3, 80, 200, 301, 503)
_ODD_NUMBERS = (0, 15001, 15006, 15021, 15090, 65535, 2**31, 2**32 - 1)
_ODD_WORDS = ("", "1%", "tab\there", "line\nbreak", "\x01", "a b", "x\ny", "é", "*", "%BAD%")
_TEXTS: Mapping[str, Sequence[str]] = {
    "host": _HOSTS,
    "hosts": _HOSTS,
    "sni_hosts": ("ext.com", "*.ext.com", "Api.Ext.com", "*x.com"),
    "sni": ("ext.com", "x" * 300),
    "exact": _PATHS,
    "prefix": _PATHS,
    "regex": _REGEXES,
    "match": _REGEXES,
    "rewrite": (r"\1", r"\2/x", r"\9", "\\", "/x", "%"),
    "uri": _PATHS,
    "prefix_rewrite": _PATHS,
    "authority": ("ext.com", "ext.com:80", "%REQ(x)%"),
    "scheme": ("http", "https"),
    "subset": ("v1", "v2"),
    "retry_on": ("5xx,503", "reset", "200,", "gateway-error,cancelled", "599"),
    "addresses": _ADDRESSES,
    "address": ("192.0.2.7", "fd00::7", "ext.com", "unix:///run/a", "10.1.1.1"),
    "destination_subnets": (*_ADDRESSES, "10.0.0.0/8", "fd00::/64"),
    "protocol": _PROTOCOLS,
    "app_protocol": ("http", "tcp", "kubernetes.io/h2c", "kubernetes.io/wss", "what"),
    "name": ("http", "tcp-x", "grpc", "https", "v1", "v2", "x"),
    "export_to": (".", "*", "other", "~"),
    "gateways": ("mesh", "istio-system/gw", "istio-system/gw"),
    "bind": ("10.0.0.9", "127.0.0.1", "fd00::9", "unix:///run/e", "0.0.0.0"),
    "default_endpoint": ("127.0.0.1:80", "0.0.0.0:81", "[::1]:80", "unix:///run/a", "unix://@a"),
    "cluster_ip": ("10.9.0.1", "None", "fd00::9:1", "FD00:0::9:1"),
    "cluster_ips": ("10.9.0.1", "fd00::9:1", "None"),
    "type": ("ClusterIP", "ExternalName", "LoadBalancer"),
    "external_name": ("ext.com", "a.demo.svc.cluster.local", "192.0.2.3"),
    "address_type": ("IPv4", "IPv6", "FQDN"),
    "source_namespace": ("demo", "other"),
    "locality": ("r/z/s", "r", "r/z/s/more", "/", "é/z"),
    "service_account": ("default", "é", "a/b"),
    "credential_name": ("shop",),
    "cipher_suites": ("ECDHE-RSA-AES128-SHA", "what"),
    "ecdh_curves": ("P-256", "what"),
    "subject_alt_names": ("ext.com", "spiffe://cluster.local/ns/demo/sa/a", "é"),
    "server_certificate": ("/etc/cert.pem",),
    "private_key": ("/etc/key.pem",),
    "ca_certificates": ("/etc/ca.pem",),
    "client_certificate": ("/etc/cert.pem",),
    "remove": ("x-a", "X-B"),
}
_TIMES = ("1s", "1.5s", "1ms", "0s", "9000000000s")
_TRANSPORTS = ("TCP", "TCP", "UDP")
_KEYS: Mapping[str, Sequence[str]] = {
    "headers": ("x-a", ":path", ":method", "Host", "@request.auth.claims.sub", "x_y"),
    "set": ("x-a", "Host", ":authority", "X-A", "x_y", "content-length"),
    "add": ("x-a", "Host", "X-B", "transfer-encoding"),
    "ports": ("http", "tcp-x", "x"),
    "query_params": ("q", "é", "a&b"),
    "port_level_mtls": ("80", "9080", "15006"),
    "without_headers": ("x-a", ":path", "Host"),
}
_SPREAD = {"servers", "ports", "http", "hosts", "egress", "endpoints", "subsets"}
_NEEDED = _SPREAD | {
    *(
        "route",
        "weight",
        "host",
        "destination",
        "number",
        "port",
        "name",
        "address",
        "protocol",
        "selector",
    ),
    *("match_labels", "labels", "sni_hosts", "match", "status", "addresses"),
}
_SELDOM = {"tcp", "tls", "delegate", "redirect", "direct_response", "mirror", "fault", "tunnel"}


class Maker:
    """Writes documents at random; equal numbers write the same."""

    def __init__(self, number: int) -> None:
        self.random = Random(number)

    def objects(self, count: int) -> list[Object[Any]]:
        """Objects that validation lets through, each key once."""
        found: dict[Any, Object[Any]] = {}
        for _ in range(count):
            made = self.one(catalog.KINDS[self.random.choice(KINDS)])
            found[made.key] = made
        for address in ("192.0.2.7", "10.1.1.1"):
            made = self.pod(address)
            found[made.key] = made
        return list(found.values())

    def pod(self, address: str) -> Object[Any]:
        """A Pod that selectors may pick."""
        choose = self.random.choice
        labels = {**choose(LABELS), **choose(({}, {"security.istio.io/tlsMode": "istio"}))}
        ports = [{"name": "http", "containerPort": 8080}]
        return objects.pod(
            address,
            choose(SPACES),
            labels=labels,
            ready=choose((True, True, False)),
            account=choose(("", "a")),
            containers=[{"name": "main", "ports": ports}],
        )

    def settings(self) -> MeshConfig:
        """The mesh's settings."""
        choose = self.random.choice
        return MeshConfig(
            outbound_traffic_policy=OutboundTrafficPolicy(mode=choose([*Mode])),
            access_log_file=choose(("", "/dev/null")),
            protocol_detection_timeout=choose((0.0, 0.1)),
            default_service_export_to=choose((("*",), (".",))),
            default_virtual_service_export_to=choose((("*",), (".",))),
            default_destination_rule_export_to=choose((("*",), (".", "other"))),
            trust_domain_aliases=choose(((), ("old.example",))),
            enable_auto_mtls=choose((True, True, False)),
        )

    def one(self, kind: Kind) -> Object[Any]:
        """The first of many that is let through."""
        while True:
            change = codec.decode(self.document(kind))
            if isinstance(change, Change) and change.object is not None:
                return change.object

    def document(self, kind: Kind) -> dict[str, Any]:
        """A document of a kind."""
        name = "gw" if kind.kind == "Gateway" else self.random.choice(_NAMES)
        space = "istio-system" if kind.kind == "Gateway" else self.random.choice(SPACES)
        metadata: dict[str, Any] = {"name": name, "namespace": space}
        metadata["labels"] = self.random.choice(LABELS)
        metadata["creationTimestamp"] = f"2026-01-0{self.random.randint(1, 2)}T00:00:00Z"
        if kind.kind == "EndpointSlice":
            metadata["labels"] = {"kubernetes.io/service-name": name}
        body = self.struct(kind.spec)
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        return {**head, kind.body: body} if kind.body else {**head, **body}

    def struct(self, wanted: type[msgspec.Struct]) -> dict[str, Any]:
        """Some fields of a struct, in the form of its document."""
        found: dict[str, Any] = {}
        fields = msgspec.structs.fields(wanted)
        if wanted is virtual_service.StringMatch:
            fields = (self.random.choice(fields),)
        for one in fields:
            if self.random.random() < self.chance(one.name, len(fields)):
                found[one.encode_name] = self.value(one.type, one.name, wanted)
        if wanted is service_entry.ServiceEntry and self.random.random() < 0.7:
            found.pop("endpoints", None)
        elif wanted is service_entry.ServiceEntry:
            found |= {"resolution": self.random.choice(("STATIC", "DNS"))}
            found.pop("workloadSelector", None)
        return found

    def chance(self, name: str, fields: int) -> float:
        """How often a field is written."""
        if name in _NEEDED:
            return 0.97
        return (0.5 if name in _SELDOM else 1.5) / (fields + 1)

    def value(self, wanted: Any, name: str, inside: Any = None) -> Any:
        """A value of a field of the struct `inside`, as a document has it."""
        origin, args = get_origin(wanted), get_args(wanted)
        if origin is Annotated:
            is_time = (args[1].extra or {}).get("unit") == "seconds"
            return self.random.choice(_TIMES) if is_time else self.number(name)
        if origin is tuple:
            most = 3 if name in _SPREAD else 2
            found = [self.value(args[0], name, inside) for _ in range(self.random.randint(1, most))]
            return self.apart(found)
        if origin in (Union, types.UnionType):
            known = [arg for arg in args if arg is not type(None)]
            return self.value(self.random.choice(known), name, inside)
        if origin is not None:
            return self.mapping(args[1], name)
        return self.plain(wanted, name, inside)

    def mapping(self, wanted: Any, name: str) -> dict[str, Any]:
        """Labels, or one value under a name."""
        if name.endswith("labels") or name == "selector":
            return self.random.choice((*LABELS, {"istio": "ingressgateway"}))
        key = self.random.choice(_KEYS.get(name, ("a",)))
        key += str(self.random.randint(0, 2)) if name == "ports" else ""
        return {key: self.value(wanted, key)}

    def plain(self, wanted: Any, name: str, inside: Any) -> Any:
        """A struct, a word of an enum, a number, a truth or a text."""
        if wanted in (bool, int, float):
            found = self.number(name)
            return {bool: bool(found % 2), int: found, float: float(found % 101)}[wanted]
        if issubclass(wanted, msgspec.Struct):
            return self.struct(wanted)
        if issubclass(wanted, Enum):
            return self.random.choice(list(wanted)).value
        return self.text(name, inside)

    def apart(self, found: list[Any]) -> list[Any]:
        """Ports and subsets with names and numbers of their own, which validation asks for."""
        if self.random.random() < 0.1:
            return found
        for i, one in enumerate(found):
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                one["name"] += str(i) if one["name"] else ""
            inner = one.get("port") if isinstance(one, dict) else None
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                inner["name"] += str(i)
        return found

    def text(self, name: str, inside: Any) -> str:
        """A text, by the name of its field."""
        if self.random.random() < 0.03:
            return self.random.choice(_ODD_WORDS)
        if name == "protocol" and inside is core.ServicePort:
            return self.random.choice(_TRANSPORTS)
        text = self.random.choice(_TEXTS.get(name, _WORDS))
        if inside is sidecar.IstioEgressListener and name == "hosts":
            return f"{self.random.choice(('*', '.', 'demo', '~other'))}/{text}"
        return text

    def number(self, name: str) -> int:
        """A number: of a port where the field is one."""
        if self.random.random() < 0.04:
            return self.random.choice(_ODD_NUMBERS)
        ports = ("number", "port", "target_port", *_KEYS["ports"])
        return self.random.choice(_NUMBERS if name in ports else _COUNTS)
