"""Bookinfo from nothing to the first page, and what each workload costs in memory.

``python -m benchmarks.up`` (root).  *First page*: from the start of ``plait up`` to the first
answer 200 at the gateway's port.  Memory is the proportional set size of the processes (what they
share is divided among them), read when the mesh has settled.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import machine
from examples.bookinfo.check import Demo
from examples.bookinfo.visitor import Visitor

_PATIENCE = 120.0


class _FirstPage(threading.Thread):
    """Asks for the page until it is there."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._visitor = Visitor(address)
        self.at = 0.0

    def run(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                if self._visitor.load().status == 200:
                    self.at = time.monotonic()
                    return
            except OSError:
                pass
            time.sleep(0.02)


def measure(found: dict[str, list[float]]) -> None:
    """One round: up, look, down."""
    with tempfile.TemporaryDirectory(prefix="plait-up-") as top:
        Path(top).chmod(0o755)
        demo = Demo(Path(top))
        first = _FirstPage(demo.gateway)
        started = time.monotonic()
        first.start()
        with demo:
            first.join()
            found["first page, s"].append(first.at - started)
            found["everything ready, s"].append(demo.seconds)
            time.sleep(2)
            for name, size in sizes(str(demo.data)).items():
                found[name].append(size / 1e6)


def sizes(data: str) -> dict[str, float]:
    """Bytes by what the process is; of Envoys and services, the mean of each."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            kind = _kind(command, data)
            if kind:
                text = (path / "smaps_rollup").read_text()
                groups[kind].append(int(re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)[0]) * 1024)
        except (OSError, IndexError):
            continue
    return {f"{kind} (each), MB": statistics.mean(found) for kind, found in sorted(groups.items())}


def _kind(command: str, data: str) -> str:
    if "examples.bookinfo.services" in command:
        return "service"
    if data not in command:
        return ""
    if " serve " in command:
        return "control plane"
    if " agent " in command:
        return "agent"
    return "Envoy" if "envoy.json" in command else ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="up: bookinfo from nothing to the first page")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(given.rounds):
        measure(found)
    title = "up: bookinfo (6 services, 7 Envoys and the edge), from nothing to the first page"
    lines = [machine.headline(title), f"medians of {given.rounds} rounds [least-most]"]
    for what, values in found.items():
        low, mid, high = min(values), statistics.median(values), max(values)
        lines.append(f"  {what:<32} {mid:7.1f} [{low:.1f}-{high:.1f}]")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
