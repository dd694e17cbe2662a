"""Interception settings → iptables rules, as one pure function.

The rules and their order are Istio's (chains ``ISTIO_*``, ports 15001 and 15006, uid 1337), so
that what a user knows of a captured pod holds here too.  They are for one network namespace and
go to ``iptables-restore`` whole.
"""

from __future__ import annotations

from msgspec import Struct

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
DNS_PORT = 15053
PROXY_UID = 1337
OWN_PORTS = (15008, 15020, 15021, 15090)
"""Ports of proxy and agent themselves: a connection to them is never captured."""


class Capture(Struct, frozen=True, kw_only=True):
    """What is captured in one network namespace.

    Attributes:
        proxy_uid: connections of this user are the proxy's own; ignored when `mark` is set.
        mark: packets with this mark are the proxy's own; 0: told by `proxy_uid`.  For user
            namespaces without a second user id.
        exclude_inbound_ports: served by the application directly.
        exclude_outbound_ports: reached directly.
        exclude_outbound_cidrs: reached directly, IPv4.
        dns: queries over UDP and TCP go to the agent.
    """

    proxy_uid: int = PROXY_UID
    mark: int = 0
    outbound_port: int = OUTBOUND_PORT
    inbound_port: int = INBOUND_PORT
    exclude_inbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_cidrs: tuple[str, ...] = ()
    dns: bool = False


def rules(capture: Capture) -> str:
    """The whole ``nat`` table for ``iptables-restore``."""
    lines = [
        "*nat",
        *(f":{chain} - [0:0]" for chain in ("ISTIO_INBOUND", "ISTIO_REDIRECT")),
        *(f":{chain} - [0:0]" for chain in ("ISTIO_IN_REDIRECT", "ISTIO_OUTPUT")),
        f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {capture.outbound_port}",
        f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {capture.inbound_port}",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        *_inbound(capture),
        *_dns(capture),
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        *_outbound(capture),
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


def _proxy(capture: Capture, *, is_proxy: bool) -> str:
    """The match on packets that are the proxy's own, or that are not."""
    sign = "" if is_proxy else "! "
    if capture.mark:
        return f"-m mark {sign}--mark {capture.mark}"
    return f"-m owner {sign}--uid-owner {capture.proxy_uid}"


def _inbound(capture: Capture) -> list[str]:
    excluded = (*OWN_PORTS, *capture.exclude_inbound_ports)
    return [
        *(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in excluded),
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    ]


def _dns(capture: Capture) -> list[str]:
    if not capture.dns:
        return []
    other = _proxy(capture, is_proxy=False)
    return [
        f"-A OUTPUT -p {layer} --dport 53 {other} -j REDIRECT --to-ports {DNS_PORT}"
        for layer in ("udp", "tcp")
    ]


def _outbound(capture: Capture) -> list[str]:
    own, other = _proxy(capture, is_proxy=True), _proxy(capture, is_proxy=False)
    to_port = "-A ISTIO_OUTPUT -p tcp --dport"
    return [
        *(f"{to_port} {port} -j RETURN" for port in capture.exclude_outbound_ports),
        # the proxy hands a request to the application from 127.0.0.6: never again through it
        "-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN",
        # a workload that calls itself through its virtual IP comes in through the front door
        f"-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo {own} -j ISTIO_IN_REDIRECT",
        f"-A ISTIO_OUTPUT -o lo {other} -j RETURN",
        f"-A ISTIO_OUTPUT {own} -j RETURN",
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        *(f"-A ISTIO_OUTPUT -d {cidr} -j RETURN" for cidr in capture.exclude_outbound_cidrs),
        "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
    ]
