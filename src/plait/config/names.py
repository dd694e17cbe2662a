"""Host names as Istio reads them: short names, addresses, wildcards, visibility, gateways."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from plait.config.meta import Key

DOMAIN: Final = "cluster.local"
ROOT_NAMESPACE: Final = "istio-system"
MESH: Final = "mesh"  # the gateway that stands for all sidecars
EVERYWHERE: Final = "*"
PARTIAL: Final = "*?"  # the bucket of indexes by host for what `is_partial`: `wildcards` has none
_IPV4: Final = re.compile(r"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}", re.ASCII)


def resolve(host: str, namespace: str) -> str:
    """Full name of `host` as written in an object of `namespace`.

    A name without a dot is a Service of that namespace; wildcards, addresses and dotted names,
    ``name.ns`` too, stay as they are (Istio's rule).
    """
    if not host or "." in host or ":" in host or host.startswith("*"):
        return host
    return f"{host}.{namespace}.svc.{DOMAIN}"


def address(written: str) -> str:
    """An IP address or range in its one form; what is neither stays as it is.

    ``FD00:0::1`` and ``fd00::1/128`` are ``fd00::1``, ``10.0.0.9/8`` is ``10.0.0.0/8``: told
    apart they would be two listeners of one address, which Envoy refuses.
    """
    # of an IPv4 address there is one form: leading zeros are none
    return _in_one_form(written) if ":" in written or "/" in written else written


@lru_cache(maxsize=65536)
def _in_one_form(written: str) -> str:
    try:
        found = ip_network(written, strict=False)
    except ValueError:
        return written
    return str(found.network_address if found.num_addresses == 1 else found)


def is_address(written: str) -> bool:
    """Whether it is an IP address: no name to look up and no socket's path."""
    if _IPV4.fullmatch(written):  # as most are, and ten times as quick
        return True
    try:
        ip_address(written)
    except ValueError:
        return False
    return True


def domain(host: str) -> str:
    """How callers say a host in the ``Host`` header: in lower case, IPv6 in brackets."""
    return f"[{host.lower()}]" if ":" in host else host.lower()


def service_host(key: Key) -> str:
    """Full name of a Kubernetes Service."""
    return f"{key.name}.{key.namespace}.svc.{DOMAIN}"


def wildcards(host: str) -> tuple[str, ...]:
    """Wildcards that cover `host`, most specific first, ``*`` last.

    ``a.b.com`` gives ``*.b.com``, ``*.com``, ``*``.
    """
    found = []
    rest = host
    while "." in rest:
        rest = rest.split(".", 1)[1]
        found.append(f"*.{rest}")
    return (*found, "*")


def is_partial(host: str) -> bool:
    """Whether it is a wildcard that is a part of a label, such as ``*-api.example.com``."""
    return host.startswith("*") and host != "*" and not host.startswith("*.")


def matches(pattern: str, host: str) -> bool:
    """Whether `pattern` is `host`, or a wildcard that covers all that `host` stands for."""
    if pattern == host:
        return True
    return pattern.startswith("*") and host.removeprefix("*").endswith(pattern[1:])


def exports(export_to: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Namespaces that see an object: ``("*",)`` all, ``()`` none, in the order written.

    ``.`` is the object's own namespace and ``~`` nobody; nothing written means all.
    """
    written = tuple(export_to)
    if not written or EVERYWHERE in written:
        return (EVERYWHERE,)
    seen = (namespace if name == "." else name for name in written if name != "~")
    return tuple(dict.fromkeys(seen))


def gateway(name: str, namespace: str) -> str:
    """``mesh``, or ``namespace/name`` of a Gateway named in an object of `namespace`.

    ``./name`` is of the same namespace; the old form ``name.namespace.svc…`` is understood.
    """
    if name == MESH:
        return MESH
    if "/" in name:
        space, _, short = name.partition("/")
        return f"{namespace if space == '.' else space}/{short}"
    if "." in name:
        short, space = name.split(".")[:2]
        return f"{space}/{short}"
    return f"{namespace}/{name}"
