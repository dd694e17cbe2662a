"""Where a mesh on one machine keeps what runs, and the notes that its parts leave each other.

The platform writes down which proxies there should be; the agent runs them and writes down how
they do.  Notes are files, so each side can be killed, and the next one finds what is wanted::

    RUN/mesh.json                 `Mesh`: what ``plait up`` started
    RUN/agent.lock, agent.json    the agent that is in charge
    RUN/proxies/ID.json           `ProxySpec`: a proxy that should run
    RUN/edge.json                 `EdgeSpec`: ports of this machine that lead to gateways
    RUN/proxy/ID/                 of one proxy, for its user alone: xds.sock, envoy.json, cache …
    RUN/proxy/ID/state.json       `ProxyState`: how it does
    RUN/proxy/ID/own/             for the agent alone: identity, and sockets behind its gates
    RUN/proxy/ID/plaintext.json   `PlainCallers`: who calls it in plain text
    RUN/proxy/ID/edge/admin.sock  Envoy's own pages, for its user and root
    RUN/proxy/ID/edge/PORT.sock   where a gateway takes connections from the edge
    RUN/proxy/edge/state.json     `EdgeState`
    RUN/pods/ID/                  of one Pod: CONTAINER.log, files, journal
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from plait.base.digest import digest

S = TypeVar("S", bound=Struct)
EDGE = "edge"
"""Id of the proxy on the machine's own ports."""
LONGEST = 40
"""Characters of an id."""


class ProxySpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A proxy that should run.

    Attributes:
        id: names its directory.
        role: ``sidecar`` or ``router``.
        name, namespace: of the Pod.
        addresses: of the Pod, never empty.
        workload: what the Pod is one of, such as the Deployment.
        network: path of the Pod's network namespace; empty: this machine's own.
        concurrency: worker threads.
        termination_drain: seconds that open connections are given at the end.
        metrics: where the application's own metrics are found from within the namespace, as
            ``http://127.0.0.1:9080/metrics``; empty: nowhere.
        edge: it takes connections from the edge.
        shares_user: a program beside it runs as the agent's user, who can read every key here.
    """

    id: str
    role: str = "sidecar"
    name: str
    namespace: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str] = {}
    workload: str = ""
    service_account: str = "default"
    network: str = ""
    concurrency: int = 1
    termination_drain: float = 5.0
    log_level: str = "warning"
    metrics: str = ""
    edge: bool = False
    shares_user: bool = False


class ProxyState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a proxy does.

    Attributes:
        pid: of Envoy; 0: it does not run.
        ready: it has its configuration and takes connections.
        restarts: how often it was started again after it ended by itself.
        since: seconds since the epoch of the last change of `ready` or `pid`.
        message: why it is not ready, in words; empty if it is.
        weakness: why others of this machine are kept from its identity less well than by a user
            and a network of its own; empty: they are not.
    """

    id: str
    pid: int = 0
    ready: bool = False
    restarts: int = 0
    since: float = 0.0
    message: str = ""
    weakness: str = ""


class PlainCaller(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who calls a port in plain text that takes mutual TLS too.

    Attributes:
        address: of the caller.
        port: called, of the workload.
        first, last: seconds since the epoch of the first call that was seen, and of the last.
        calls: requests, or connections where the port has no requests.
    """

    address: str
    port: int
    first: float
    last: float
    calls: int = 1


class PlainCallers(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of them that one proxy saw.

    Attributes:
        since: seconds since the epoch from which calls were seen without a gap.
    """

    since: float
    callers: tuple[PlainCaller, ...] = ()


class EdgePort(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port of this machine that leads to gateways.

    Attributes:
        host, port: where the edge listens.
        sockets: paths at which gateways take its connections.
    """

    host: str
    port: int
    sockets: tuple[str, ...] = ()


class EdgeSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All ports that the edge should have."""

    ports: tuple[EdgePort, ...] = ()


class EdgeState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the edge does.

    Attributes:
        listening: ``HOST:PORT`` of the ports that are open.
        problems: why a port is not, by ``HOST:PORT``.
    """

    pid: int = 0
    listening: tuple[str, ...] = ()
    problems: Mapping[str, str] = {}


class Mesh(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs here, as ``plait up`` wrote it down.

    Attributes:
        files: the directory of objects.
        images: the file that says what images are; empty: none.
        pid, started: of the control plane; see `processes.Handle`.
    """

    files: str
    images: str = ""
    pid: int
    started: int


class Place(Struct, frozen=True):
    """The run directory of a mesh."""

    run: Path

    @property
    def mesh(self) -> Path:
        """Where ``plait up`` says what runs: a `Mesh`."""
        return self.run / "mesh.json"

    @property
    def specs(self) -> Path:
        """Where the platform says which proxies there should be."""
        return self.run / "proxies"

    @property
    def edge(self) -> Path:
        """Where it says which ports the edge should have."""
        return self.run / "edge.json"

    @property
    def agent(self) -> Path:
        """Where the agent in charge says who it is: a `processes.Handle`."""
        return self.run / "agent.json"

    def spec(self, proxy: str) -> Path:
        """The note that asks for a proxy."""
        return self.specs / f"{proxy}.json"

    def proxy(self, proxy: str) -> Path:
        """The directory of a proxy."""
        return self.run / "proxy" / proxy

    def state(self, proxy: str) -> Path:
        """The note that says how a proxy does."""
        return self.proxy(proxy) / "state.json"

    def plaintext(self, proxy: str) -> Path:
        """The note that says who calls a workload in plain text."""
        return self.proxy(proxy) / "plaintext.json"

    def edge_socket(self, proxy: str, port: int) -> Path:
        """Where a gateway takes connections to one of its ports from the edge."""
        return self.proxy(proxy) / "edge" / f"{port}.sock"

    def pod(self, namespace: str, name: str) -> Path:
        """The directory of a Pod."""
        return self.run / "pods" / identifier(namespace, name)


def identifier(namespace: str, name: str) -> str:
    """The id of a Pod and of its proxy: ``NAMESPACE.NAME``, the end of a long one its digest.

    It is part of the paths of sockets, for which the kernel has 107 bytes.
    """
    whole = f"{namespace}.{name}"
    if len(whole) <= LONGEST:
        return whole
    return f"{whole[: LONGEST - 9]}-{digest(whole.encode())[:8]}"


def shared_memory(base_id: int) -> Path:
    """What the Envoys of one base id share; the last one leaves it."""
    # its name has one digit more, which tells releases of Envoy apart
    return Path(f"/dev/shm/envoy_shared_memory_{base_id}0")  # noqa: S108 - Envoy's own name


def is_identifier(text: str) -> bool:
    """Whether `text` may name a directory here."""
    return bool(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text))


def write(path: Path, note: Struct) -> None:
    """Leave a note: whoever reads finds the old one or the new one, whole.

    Raises:
        OSError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(msgspec.json.encode(note))
    os.replace(fresh, path)


def read(path: Path, cls: type[S]) -> S | None:
    """Read a note; None: there is none, or it is not whole."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=cls)
    return None
