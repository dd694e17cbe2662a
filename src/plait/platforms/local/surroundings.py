"""What a Pod finds around it: its proxy, its capture, its names and variables; pure functions."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping

from plait.base import place
from plait.base.place import ProxySpec
from plait.config import capture, injection
from plait.config.capture import Capture
from plait.config.injection import Proxy
from plait.config.kinds.container import Container, EnvVar
from plait.config.kinds.pod import Pod
from plait.config.meta import Key, Object
from plait.platforms.local import network
from plait.platforms.local.images import Image

RESOLVER = "10.96.0.10"
"""The address that Pods ask for names; capture leads it to the agent."""
_EXCLUDE = "traffic.sidecar.istio.io/exclude"
_DOMAIN = "cluster.local"
_PROXY_CONFIG = re.compile(r"\bconcurrency\b[\"']?\s*:\s*(\d{1,4})\b")
_CPU = re.compile(r"(\d+(?:\.\d+)?)(m?)")
_VARIABLE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


def identifier(pod: Key) -> str:
    """Names the Pod's directory, and its proxy's."""
    return place.identifier(pod.namespace, pod.name)


def proxy_spec(pod: Object[Pod], number: int, path: str) -> ProxySpec | None:
    """The proxy that a Pod should have; `path` is of its network namespace."""
    role = injection.proxy(pod)
    if role is Proxy.NONE:
        return None
    spec = pod.spec.spec
    users = {user(pod.spec, one)[0] for one in (*spec.init_containers, *spec.containers)}
    return ProxySpec(
        id=identifier(pod.key),
        role=role.value,
        name=pod.key.name,
        namespace=pod.key.namespace,
        addresses=(network.address(number),),
        labels=pod.labels,
        workload=workload(pod),
        service_account=spec.service_account_name or spec.service_account or "default",
        network=path,
        concurrency=concurrency(pod.annotations),
        metrics=_metrics(pod.annotations) if role is Proxy.SIDECAR else "",
        edge=role is Proxy.GATEWAY,
        shares_user=role is Proxy.SIDECAR and not users.isdisjoint({None, os.geteuid()}),
    )


def concurrency(annotations: Mapping[str, str]) -> int:
    """Worker threads of a Pod's Envoy: as its configuration says, else as its CPU limit, else one.

    One core serves more than an application beside it can use, and Istio's rule is the same.
    """
    written = _PROXY_CONFIG.search(annotations.get("proxy.istio.io/config", ""))
    if written:
        return int(written.group(1)) or (os.cpu_count() or 1)
    limit = _CPU.fullmatch(annotations.get("sidecar.istio.io/proxyCPULimit", ""))
    if limit is None:
        return 1
    return max(1, math.ceil(float(limit.group(1)) / (1000 if limit.group(2) else 1)))


def workload(pod: Object[Pod]) -> str:
    """What a Pod is one of: its Deployment, ReplicaSet or itself."""
    owner = next((owner.key for owner in pod.owners if owner.controller), None)
    if owner is None:
        return pod.key.name
    template = pod.labels.get("pod-template-hash", "")
    return owner.name.removesuffix(f"-{template}") if template else owner.name


def rules(pod: Object[Pod]) -> str:
    """The capture of a Pod for ``iptables-restore``; empty: none.

    Raises:
        ValueError: an annotation is wrong.
    """
    if injection.proxy(pod) is not Proxy.SIDECAR:
        return ""
    return capture.rules(
        Capture(
            dns=True,
            exclude_inbound_ports=tuple(map(int, _listed(pod, "InboundPorts", _port))),
            exclude_outbound_ports=tuple(map(int, _listed(pod, "OutboundPorts", _port))),
            exclude_outbound_cidrs=_listed(pod, "OutboundIPRanges", _cidr),
        )
    )


def problems(pod: Object[Pod]) -> tuple[str, ...]:
    """Why a Pod cannot run here, whatever else is right."""
    spec, found = pod.spec.spec, []
    if spec.host_network:
        found.append("hostNetwork is not possible here: each Pod has its own network; take it out")
    try:
        rules(pod)
    except ValueError as error:
        found.append(str(error))
    found += [
        f'container "{one.name}" runs as user {capture.PROXY_UID}, which is the proxy\'s: '
        f"choose another runAsUser"
        for one in (*spec.init_containers, *spec.containers)
        if user(pod.spec, one)[0] == capture.PROXY_UID
    ]
    return tuple(found)


def user(pod: Pod, container: Container) -> tuple[int | None, int | None]:
    """User and group of a container; None: who runs the platform.  A user alone is its group."""
    own, common = container.security_context, pod.spec.security_context
    uid = own.run_as_user if own else None
    gid = own.run_as_group if own else None
    if uid is None and common is not None:
        uid = common.run_as_user
    if gid is None and common is not None:
        gid = common.run_as_group
    return uid, uid if gid is None else gid


def hostname(pod: Object[Pod]) -> str:
    """The name that the Pod's containers see."""
    return (pod.spec.spec.hostname or pod.key.name)[:63].rstrip("-.")


def hosts(pod: Object[Pod], address: str) -> str:
    """The Pod's ``/etc/hosts``."""
    name, subdomain = hostname(pod), pod.spec.spec.subdomain
    full = f"{name}.{subdomain}.{pod.key.namespace}.svc.{_DOMAIN} " if subdomain else ""
    aliases = (f"{one.ip} {' '.join(one.hostnames)}" for one in pod.spec.spec.host_aliases)
    lines = ["127.0.0.1 localhost", "::1 localhost", f"{address} {full}{name}", *aliases]
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Object[Pod]) -> str:
    """The Pod's ``/etc/resolv.conf``; a Pod without sidecar is refused at once, by nobody."""
    namespace, config = pod.key.namespace, pod.spec.spec.dns_config
    answered = injection.proxy(pod) is Proxy.SIDECAR
    servers = [RESOLVER] if answered else ["127.0.0.1"]
    searches = [f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN]
    # What the agent was asked as it died is asked again by its successor's time, not 5 s later.
    options = {"ndots": "5", **({"timeout": "1", "attempts": "5"} if answered else {})}
    if config is not None:
        servers, searches = [*servers, *config.nameservers], [*searches, *config.searches]
        options |= {one.name: one.value or "" for one in config.options}
    words = (f"{name}:{value}" if value else name for name, value in options.items())
    lines = [f"nameserver {server}" for server in servers]
    return "\n".join([*lines, f"search {' '.join(searches)}", f"options {' '.join(words)}", ""])


def environment(
    container: Container, resolved: Mapping[str, str], pod: Object[Pod], address: str
) -> dict[str, str]:
    """A container's own variables, in order; later ones may name earlier ones as ``$(NAME)``.

    `resolved` are those whose values stand in other objects.
    """
    found = dict(resolved)
    for variable in container.env:
        if variable.value_from is None:
            found[variable.name] = expanded(variable.value, found)
        elif (value := _of_status(variable, address)) is not None:
            found[variable.name] = value
    return {"HOSTNAME": hostname(pod), **found}


def command(container: Container, image: Image, variables: Mapping[str, str]) -> tuple[str, ...]:
    """What a container runs, by Kubernetes' rules: its command makes the image's arguments void."""
    start = container.command or image.command
    return tuple(expanded(word, variables) for word in (*start, *container.args))


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` is the variable's value, or stays if there is none; ``$$`` is a dollar."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group())

    return _VARIABLE.sub(value, text)


def _of_status(variable: EnvVar, address: str) -> str | None:
    """The value of a field that the platform alone knows."""
    field = variable.value_from and variable.value_from.field_ref
    path = field.field_path if field else ""
    return {
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": network.BRIDGE_ADDRESS,
        "status.hostIPs": network.BRIDGE_ADDRESS,
    }.get(path)


def _metrics(annotations: Mapping[str, str]) -> str:
    if annotations.get("prometheus.io/scrape") != "true":
        return ""
    port = annotations.get("prometheus.io/port", "80")
    path = annotations.get("prometheus.io/path", "/metrics").lstrip("/")
    scheme = annotations.get("prometheus.io/scheme", "http")
    return f"{scheme}://127.0.0.1:{port}/{path}"


def _listed(pod: Object[Pod], what: str, is_right: Callable[[str], bool]) -> tuple[str, ...]:
    name = f"{_EXCLUDE}{what}"
    words = tuple(filter(None, (w.strip() for w in pod.annotations.get(name, "").split(","))))
    for word in words:
        if not is_right(word):
            kind = "CIDR of IPv4" if is_right is _cidr else "port number"
            raise ValueError(f'annotation {name}: "{word}" is no {kind}; separate them by commas')
    return words


def _port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536


def _cidr(text: str) -> bool:
    try:
        ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return False
    return True
