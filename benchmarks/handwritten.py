"""A pair of Envoys as one would write it by hand: mutual TLS and nothing else.

It runs in Pods of the same mesh, without sidecars, so its network is that of all others: the same
namespaces, the same capture.  Each Envoy has one listener, one cluster, and the router alone.
With a log they write what ``plait up`` has proxies write of each request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import machine
from plait.agent import identity
from plait.agent.binary import envoy_binary
from plait.config.capture import Capture, rules
from plait.serve.ca import authority
from plait.xds.filters import JSON_FORMAT

USER = 1400  # of both Envoys: the capture leaves their own connections alone
_TYPES = "type.googleapis.com/envoy.extensions."
_MANAGER = "filters.network.http_connection_manager.v3.HttpConnectionManager"
_OPTIONS = "upstreams.http.v3.HttpProtocolOptions"
_IDENTITY = "spiffe://cluster.local/ns/default/sa/{}"
_NOW = 1_700_000_000.0  # certificates begin then, and end ten years later, as the root does


class HandWritten:
    """The files of pairs in a directory that everybody may read.

    Args:
        port: of the application, and at which it is called.
    """

    def __init__(self, top: Path, port: int) -> None:
        self._top = top
        self._port = port
        self._root = authority.self_signed("cluster.local", _NOW)
        self._write("root.pem", self._root.root)
        for name in ("client", "server"):
            self._certify(name)
        self._write("capture", rules(Capture(proxy_uid=USER)))

    def _certify(self, name: str) -> None:
        key, who = identity.new_key(), _IDENTITY.format(name)
        csr = authority.checked(identity.request(key, who))
        issued = authority.issue(self._root, csr, who, authority.ROOT_LIFE, _NOW)
        self._write(f"{name}.pem", issued.chain[0])
        self._write(f"{name}.key", identity.key_text(key))

    def _write(self, name: str, text: str) -> Path:
        path = self._top / name
        path.write_text(text)
        return path

    def images(self, *, logged: bool) -> dict[str, list[str]]:
        """Commands by image: the client's and the server's Envoy, and the capture of their Pods.

        The client calls the address that `aim` says.
        """
        found = {f"{_mark(logged)}capture": ["iptables-restore", str(self._top / "capture")]}
        server = _bootstrap(
            self._served(), ("127.0.0.1", self._port), None, self._log("server", logged)
        )
        self._write(f"{_mark(logged)}server.json", json.dumps(server))
        for name in ("client", "server"):
            path = self.config(name, logged=logged)
            words = f"{envoy_binary()} -c {path} --concurrency 1 --use-dynamic-base-id -l warn"
            waiting = f"until [ -s {path} ]; do sleep 0.1; done; exec {words}"
            found[f"{_mark(logged)}{name}-envoy"] = ["sh", "-c", waiting]
        return found

    def aim(self, address: str, *, logged: bool) -> None:
        """Let the client call a server; it is written down before the client starts."""
        log = self._log("client", logged)
        client = _bootstrap(None, (address, self._port), self._calling(), log)
        fresh = self._write("client.new", json.dumps(client))
        fresh.replace(self.config("client", logged=logged))

    def _log(self, name: str, logged: bool) -> str:
        """The file where an Envoy logs requests; empty: nowhere."""
        if not logged:
            return ""
        path = self._write(f"{name}.log", "")
        path.chmod(0o666)  # Envoy has another user
        return str(path)

    def config(self, name: str, *, logged: bool) -> Path:
        """The configuration file of ``client`` or ``server``."""
        return self._top / f"{_mark(logged)}{name}.json"

    def pids(self, *, logged: bool) -> tuple[int, ...]:
        """Of both Envoys."""
        paths = [self.config(name, logged=logged) for name in ("client", "server")]
        return tuple(machine.pid_with(f"{envoy_binary()} -c {path}") for path in paths)

    def _served(self) -> dict[str, Any]:
        """The server's end of TLS."""
        common = self._common("server", "client") | {"alpn_protocols": ["h2", "http/1.1"]}
        context = {"common_tls_context": common, "require_client_certificate": True}
        return _socket("DownstreamTlsContext", context)

    def _calling(self) -> dict[str, Any]:
        """The client's end of TLS."""
        common = self._common("client", "server") | {"alpn_protocols": ["http/1.1"]}
        return _socket("UpstreamTlsContext", {"common_tls_context": common, "sni": "server"})

    def _common(self, own: str, other: str) -> dict[str, Any]:
        name = {"san_type": "URI", "matcher": {"exact": _IDENTITY.format(other)}}
        pair = {"certificate_chain": self._file(own, "pem"), "private_key": self._file(own, "key")}
        trusted = {"trusted_ca": self._file("root", "pem"), "match_typed_subject_alt_names": [name]}
        return {"tls_certificates": [pair], "validation_context": trusted}

    def _file(self, name: str, kind: str) -> dict[str, str]:
        return {"filename": str(self._top / f"{name}.{kind}")}


def _mark(logged: bool) -> str:
    return "logged-" if logged else ""


def _socket(name: str, context: dict[str, Any]) -> dict[str, Any]:
    config = {"@type": f"{_TYPES}transport_sockets.tls.v3.{name}", **context}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _bootstrap(
    downstream: dict[str, Any] | None,
    target: tuple[str, int],
    upstream: dict[str, Any] | None,
    log: str,
) -> dict[str, Any]:
    """One listener where the capture leads, one cluster; TLS on the one or the other."""
    router = {"@type": f"{_TYPES}filters.http.router.v3.Router"}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": "0s"}}],
    }
    manager = {
        "@type": _TYPES + _MANAGER,
        "stat_prefix": "all",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "access_log": [_log(log)] if log else [],
    }
    chain: dict[str, Any] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if downstream is not None:
        chain["transport_socket"] = downstream
    port = Capture().inbound_port if downstream is not None else Capture().outbound_port
    listener = {"name": "all", "address": _address("0.0.0.0", port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(target, upstream)]}}


def _cluster(target: tuple[str, int], upstream: dict[str, Any] | None) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(*target)}}
    http1: dict[str, Any] = {"explicit_http_config": {"http_protocol_options": {}}}
    found: dict[str, Any] = {
        "name": "next",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPES + _OPTIONS,
                **http1,
            }
        },
    }
    if upstream is not None:
        found["transport_socket"] = upstream
    return found


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _log(path: str) -> dict[str, Any]:
    config = {
        "@type": f"{_TYPES}access_loggers.file.v3.FileAccessLog",
        "path": path,
        "log_format": {"json_format": JSON_FORMAT},
    }
    return {"name": "envoy.access_loggers.file", "typed_config": config}
