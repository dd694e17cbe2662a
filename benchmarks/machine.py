"""What every benchmark prints first: the machine, and how to read the numbers."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


def headline(title: str) -> str:
    """The title, then processor, cores, memory, kernel and interpreter in one line."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line),
        platform.machine(),
    )
    kilobytes = next((line.split()[1] for line in _lines("/proc/meminfo")), "0")
    return (
        f"{title}\n{cpu}, {os.cpu_count()} cores, {int(kilobytes) >> 20} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def peak_rss() -> int:
    """Greatest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rss(pid: int) -> int:
    """Resident memory of a process now, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def most_rss(pid: int) -> int:
    """Greatest resident memory of a process so far, in bytes."""
    fields = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(int(words[1]) for words in fields if words[:1] == ["VmHWM:"]) * 1024


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pid_with(text: str) -> int:
    """The process with `text` in its command line; 0: there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                return int(path.parent.name)
        except OSError:
            continue
    return 0


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns wide enough for what stands in them; the first is aligned left."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def show(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
