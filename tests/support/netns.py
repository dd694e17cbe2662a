"""Hosts for tests: network namespaces joined by a bridge, gone when the test ends."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Self

import pytest

from plait.config import capture

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root here")


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Network:
    """A bridge in a namespace of its own, and hosts on it: 10.77.0.1, .2, … by name."""

    def __init__(self) -> None:
        self._id = secrets.token_hex(3)
        self.bridge = f"pt{self._id}"
        self._hosts: dict[str, str] = {}

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.bridge)
        run("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.bridge, "addr", "add", "10.77.0.254/24", "dev", "br0")
        run("ip", "-n", self.bridge, "link", "set", "br0", "up")
        run("ip", "-n", self.bridge, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (*self._hosts, ""):
            namespace = self.namespace(name) if name else self.bridge
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def namespace(self, name: str) -> str:
        return f"{self.bridge}-{name}"

    def address(self, name: str) -> str:
        return self._hosts[name]

    def prefix(self, name: str, *, uid: int | None = None) -> list[str]:
        """What to put before a command so that it runs on the host, as user `uid`."""
        user = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
        return ["ip", "netns", "exec", self.namespace(name), *(user if uid is not None else [])]

    def host(self, name: str) -> str:
        """Add a host; return its address."""
        namespace, number = self.namespace(name), len(self._hosts) + 1
        self._hosts[name] = address = f"10.77.0.{number}"
        port = f"v{number}"
        run("ip", "netns", "add", namespace)
        run(
            *("ip", "-n", self.bridge, "link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", namespace),
        )
        run("ip", "-n", self.bridge, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run("ip", "-n", namespace, "route", "add", "default", "via", "10.77.0.254")
        return address

    def capture(self, name: str, settings: capture.Capture) -> None:
        """Put the interception rules into force on a host."""
        run(*self.prefix(name), "iptables-restore", stdin=capture.rules(settings))


def envoy_readable(path: Path) -> Path:
    """Let another user reach `path`: every folder above it may be entered."""
    for parent in (path, *path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return path
