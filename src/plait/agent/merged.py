"""Metrics of several programs as one page in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable

_SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


def merged(pages: Iterable[str]) -> str:
    """All samples, those of one metric together, as the format demands.

    What a metric is, is said once: by the page that comes first.
    """
    about: dict[str, dict[str, str]] = {}
    samples: dict[str, dict[str, None]] = {}
    for page in pages:
        for line in page.replace("\r\n", "\n").split("\n"):
            words = line.split(None, 3)
            if line.startswith(("# TYPE", "# HELP")) and len(words) >= 3:
                samples.setdefault(words[2], {})
                about.setdefault(words[2], {}).setdefault(words[1], line)
            elif words and not line.startswith("#"):
                samples.setdefault(_family(line, samples), {})[line] = None
    found: list[str] = []
    for name, lines in samples.items():
        found += about.get(name, {}).values()
        found += lines
    return "\n".join(found) + "\n" if found else ""


def _family(line: str, known: dict[str, dict[str, None]]) -> str:
    """The metric that a sample belongs to."""
    name = next(iter(line.partition("{")[0].split(None, 1)), "")
    if name in known:
        return name
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and (family := name.removesuffix(suffix)) in known:
            return family
    return name
