"""The mesh's network: a namespace for each Pod, joined by a bridge in a namespace of its own.

Nothing of it is seen in the machine's namespace but the names in /run/netns.  A Pod's number gives
the name of its namespace, its port on the bridge and its address, so nothing else needs to be
remembered to take it away.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from plait.base import netns
from plait.base.errors import PlatformError

PODS = ipaddress.IPv4Network("10.244.0.0/16")
BRIDGE_ADDRESS = "10.244.0.1"
_NAMESPACES = Path("/run/netns")
_FIRST, _LAST = 1, PODS.num_addresses - 3  # .0.0 is the network, .0.1 the bridge, .255.255 all
_DEADLINE = 20.0
_PACKAGES = {"ip": "iproute2", "iptables-restore": "iptables"}


class NetworkError(PlatformError):
    """A command that changes the network failed; the message has its words."""


def mesh_id(run: Path) -> str:
    """Six digits that tell meshes of one machine apart: of the run directory's path."""
    return hashlib.sha256(os.fsencode(run.resolve())).hexdigest()[:6]


def address(number: int) -> str:
    """The address of the Pod with this number."""
    return str(PODS[number + 1])


def free_number(taken: Collection[int], last: int) -> int:
    """The next number after `last` that is not taken.

    Numbers go round before they come again: who still has the address of a Pod that is gone
    should not reach another.

    Raises:
        NetworkError: all are taken.
    """
    for step in range(_LAST):
        number = (last - _FIRST + 1 + step) % _LAST + _FIRST
        if number not in taken:
            return number
    raise NetworkError(f"all {_LAST} addresses of {PODS} are taken: stop some Pods")


class Network:
    """The network of one mesh."""

    def __init__(self, run: Path) -> None:
        self.switch = f"plait-{mesh_id(run)}"

    def namespace(self, number: int) -> str:
        """The name of a Pod's namespace."""
        return f"{self.switch}-{number}"

    def path(self, number: int) -> str:
        """Where it is entered."""
        return str(_NAMESPACES / self.namespace(number))

    def numbers(self) -> tuple[int, ...]:
        """Of all namespaces that there are for Pods of this mesh."""
        prefix = f"{self.switch}-"
        names = sorted(os.listdir(_NAMESPACES)) if _NAMESPACES.exists() else []
        found = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return tuple(int(number) for number in found if number.isdecimal())

    def prepare(self) -> None:
        """Make the bridge, if it is not there, and see that all works that Pods need.

        Raises:
            PlatformError: this machine cannot have Pods; it says what is missing.
        """
        check_machine()
        switch = str(_NAMESPACES / self.switch)
        if not Path(switch).exists():
            _ip("", f"netns add {self.switch}")
        if not netns.inside(switch, lambda: _has_link("br0")):
            made = f"link add br0 address {_mac(0)} type bridge"
            _ip(switch, "link set lo up", made, f"addr add {BRIDGE_ADDRESS}/16 dev br0")
            # answers "no route" to what leads out of the machine, instead of silence
            netns.inside(switch, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
            _ip(switch, "link set br0 up")
        _restore(switch, "*nat\n-F\nCOMMIT\n")

    def add(self, number: int, rules: str) -> None:
        """Make a Pod's namespace, anew if there is one; `rules` are for ``iptables-restore``.

        Raises:
            NetworkError: that failed; what was made is taken away.
        """
        name, path, port = self.namespace(number), self.path(number), f"v{number}"
        self.remove(number)
        peer = f"peer name eth0 address {_mac(number)} netns {name}"
        try:
            _ip("", f"netns add {name}", f"link add {port} netns {self.switch} type veth {peer}")
            _ip(
                path,
                *("link set lo up", f"addr add {address(number)}/16 dev eth0", "link set eth0 up"),
                f"route add default via {BRIDGE_ADDRESS}",
            )
            netns.inside(path, _open_low_ports)
            if rules:
                _restore(path, rules)
            _ip(str(_NAMESPACES / self.switch), f"link set {port} master br0 up")
        except (OSError, NetworkError):
            self.remove(number)
            raise

    def remove(self, number: int) -> None:
        """Take a Pod's namespace away, if it is there; who still runs in it keeps it alive."""
        port, switch = f"v{number}", str(_NAMESPACES / self.switch)
        if Path(switch).exists() and netns.inside(switch, lambda: _has_link(port)):
            _ip(switch, f"link del {port}")
        if Path(self.path(number)).exists():
            _ip("", f"netns del {self.namespace(number)}")

    def remove_all(self) -> None:
        """Take everything away."""
        for number in self.numbers():
            self.remove(number)
        if (_NAMESPACES / self.switch).exists():
            _ip("", f"netns del {self.switch}")


def check_machine() -> None:
    """See that this machine can have network namespaces.

    Raises:
        PlatformError: it cannot; the message says all that is missing, and the way out.
    """
    if os.geteuid() != 0:
        raise PlatformError("network namespaces need root: run this as root, as with sudo")
    missing = {name: package for name, package in _PACKAGES.items() if not shutil.which(name)}
    if missing:
        commands = " and ".join(f'"{name}"' for name in missing)
        packages = " ".join(missing.values())
        raise PlatformError(
            f"no {commands} in PATH: install with apt-get install {packages} (Debian, Ubuntu) "
            f"or the packages of your system"
        )


def _mac(number: int) -> str:
    """A hardware address that an IP address has always, so that nobody remembers a wrong one."""
    return ":".join(f"{byte:02x}" for byte in (2, 0, *PODS[number + 1].packed))


def _has_link(name: str) -> bool:
    done = subprocess.run(  # noqa: S603 - our own words
        ["ip", "link", "show", "dev", name],  # noqa: S607
        capture_output=True,
        check=False,
        timeout=_DEADLINE,
    )
    return done.returncode == 0


def _open_low_ports() -> None:
    """As in Kubernetes, port 80 needs no root."""
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")


def _ip(path: str, *lines: str) -> None:
    _run(path, ("ip", "-batch", "-"), "\n".join(lines) + "\n")


def _restore(path: str, rules: str) -> None:
    try:
        _run(path, ("iptables-restore", "--wait"), rules)
    except NetworkError as error:
        raise NetworkError(
            f"{error}; capture needs iptables with nat, REDIRECT and owner: "
            f"update the package iptables, or load the kernel modules iptable_nat and xt_owner"
        ) from error


def _run(path: str, command: tuple[str, ...], text: str) -> None:
    def act() -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own words
            command, input=text, capture_output=True, text=True, check=False, timeout=_DEADLINE
        )

    try:
        done = netns.inside(path, act)
    except (OSError, subprocess.SubprocessError) as error:
        raise NetworkError(f"cannot run {command[0]}: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise NetworkError(f'"{command[0]}" failed: {said}')
