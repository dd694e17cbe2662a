"""Listeners: IR to Listener messages, one filter chain at a time."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from plait.base.digest import digest
from plait.base.query import Query
from plait.mesh import inbound_listeners, ir, listener_plans, listeners
from plait.xds import filters, protos, tls
from plait.xds.admission import admitted
from plait.xds.resource import LISTENER, Absent, Answer, Child, Named, Present, assembled

_CHAINS = 3  # field number in Listener
_INBOUND, _OUTBOUND = 1, 2  # TrafficDirection
_HANDSHAKE = 15.0  # seconds that a caller has to agree on encryption
_UNIX = "unix://"


def outbound_names(q: Query, view: ir.View) -> tuple[Named, ...]:
    """The listeners of sidecars' outbound traffic, or of gateways, by name."""
    return tuple(Named(plan.name, outbound, (plan,)) for plan in q(listener_plans.plans, view))


def edge_names(q: Query, view: ir.View, edge: str) -> tuple[Named, ...]:
    """The listeners of gateways once more, at sockets in the directory `edge`."""
    plans = q(listener_plans.edge_plans, view, edge)
    return tuple(Named(plan.name, outbound, (plan,)) for plan in plans)


def outbound(q: Query, plan: listeners.Plan) -> Answer:
    """One outbound listener, as planned."""
    return _answer(q, q(listeners.listener, plan))


def inbound_names(q: Query, inbound: ir.Inbound | None) -> tuple[Named, ...]:
    """The listeners through which a workload is reached; none: a gateway."""
    del q
    if inbound is None:
        return ()
    return tuple(
        Named(name, inbound_listener, (inbound, name)) for name in inbound_listeners.names(inbound)
    )


def inbound_listener(q: Query, inbound: ir.Inbound, name: str) -> Answer:
    """One inbound listener."""
    return _answer(q, q(inbound_listeners.listener, inbound, name))


def _answer(q: Query, listener: ir.Listener) -> Answer:
    """Chains that Envoy refused have their last accepted form, or are left out.

    Absent: no chain is left, which Envoy would refuse.
    """
    found = (admitted(q, _child(chain, listener), None) for chain in listener.chains)
    children = tuple(child for child in found if child is not None)
    if not children and listener.default is None:
        return Absent()
    return Present(
        resource=assembled(
            LISTENER,
            listener.name,
            frame=encode_frame(listener),
            field=_CHAINS,
            children=children,
            tables=_tables(listener),
        )
    )


def _tables(listener: ir.Listener) -> tuple[str, ...]:
    chains = (*listener.chains, *((listener.default,) if listener.default else ()))
    actions = [chain.action for chain in chains]
    names = {one.table for one in actions if isinstance(one, ir.HttpChain) and one.table}
    return tuple(sorted(names))


def _child(chain: ir.Chain, listener: ir.Listener) -> Child:
    body = protos.encode(chain_message(chain, listener))
    return Child(name=chain.name, digest=digest(body), body=body, origin=chain.origin)


def chain_message(chain: ir.Chain, listener: ir.Listener) -> Any:
    """A FilterChain message of a listener."""
    log = listener.access_log
    if isinstance(chain.action, ir.HttpChain):
        network = [filters.http(chain.action, log, listener.paths, told=chain.told)]
    else:
        network = filters.tcp(chain.action, log, told=chain.told)
    message = protos.FilterChain(
        name=chain.name, filter_chain_match=_match(chain.match), filters=network
    )
    if chain.tls is not None:
        message.transport_socket.CopyFrom(tls.server(chain.tls))
        message.transport_socket_connect_timeout.CopyFrom(protos.duration(_HANDSHAKE))
    if chain.origin:
        message.metadata.filter_metadata["plait"]["origin"] = str(chain.origin[0])
    if chain.asks:
        message.metadata.filter_metadata["plait"]["mtls"] = chain.asks
    return message


def _match(match: ir.ChainMatch) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "transport_protocol": match.transport,
        "application_protocols": match.applications,
        "server_names": match.server_names,
        "prefix_ranges": [_range(prefix) for prefix in match.prefixes],
    }
    if match.port is not None:
        fields["destination_port"] = {"value": match.port}
    return fields


def _range(prefix: str) -> dict[str, Any]:
    network = ip_network(prefix, strict=False)
    return {
        "address_prefix": str(network.network_address),
        "prefix_len": {"value": network.prefixlen},
    }


def encode_frame(listener: ir.Listener) -> bytes:
    """A Listener without its chains; the default chain is a part of it."""
    message = protos.Listener(
        name=listener.name,
        address=_address(listener),
        listener_filters=_inspectors(listener),
        listener_filters_timeout=protos.duration(listener.detect_timeout),
        continue_on_listener_filters_timeout=True,
        traffic_direction=_INBOUND if listener.inbound else _OUTBOUND,
        access_log=filters.access_logs(listener.access_log, unmatched=True),
    )
    if not listener.bind:
        message.bind_to_port.value = False
    if listener.original_destination and not listener.inbound:
        message.use_original_dst.value = True
    if listener.default:
        message.default_filter_chain.CopyFrom(chain_message(listener.default, listener))
    if listener.origin:
        message.metadata.filter_metadata["plait"]["origin"] = str(listener.origin[0])
    return protos.encode(message)


def _address(listener: ir.Listener) -> dict[str, Any]:
    if listener.address.startswith(_UNIX):
        return {"pipe": {"path": listener.address.removeprefix(_UNIX)}}
    return {"socket_address": {"address": listener.address, "port_value": listener.port}}


def _inspectors(listener: ir.Listener) -> list[dict[str, Any]]:
    """Whose it is, where it was going, TLS, HTTP: each may need what the one before it found."""
    found: list[tuple[str, Any]] = []
    if listener.proxied:
        found.append(("proxy_protocol", protos.ProxyProtocol()))
    if listener.original_destination and listener.inbound:
        found.append(("original_dst", protos.OriginalDst()))
    if listener.inspect_tls:
        found.append(("tls_inspector", protos.TlsInspector()))
    if listener.detect:
        found.append(("http_inspector", protos.HttpInspector()))
    return [_listener_filter(name, message, listener) for name, message in found]


def _listener_filter(name: str, message: Any, listener: ir.Listener) -> dict[str, Any]:
    fields = {"name": f"envoy.filters.listener.{name}", "typed_config": protos.packed(message)}
    if name in ("original_dst", "proxy_protocol") or not listener.uninspected:
        return fields
    return fields | {"filter_disabled": _any_of(listener.uninspected)}


def _any_of(ports: tuple[int, ...]) -> dict[str, Any]:
    """A predicate on the destination port; Envoy wants at least two in an OR."""
    ranges = [
        {"destination_port_range": {"start": port, "end": port + 1}} for port in sorted(set(ports))
    ]
    return ranges[0] if len(ranges) == 1 else {"or_match": {"rules": ranges}}
