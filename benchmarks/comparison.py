"""The command line and the table of the benchmarks that compare plait with a bare server."""

from __future__ import annotations

import argparse
import os
import statistics
from typing import NamedTuple

from msgspec import Struct

from benchmarks import machine

Figures = dict[str, list[float]]
"""What was measured by name: seconds and bytes, one for each round."""
_FACTORS = {"s": 1.0, "ms": 1e3, "µs": 1e6, "B": 1.0, "KB": 1e-3, "MB": 1e-6}


class Options(Struct, frozen=True, kw_only=True):
    """How large and how often.

    Attributes:
        scopes: False is everything visible, True 10 services.
        tls: connections are encrypted.
    """

    services: int
    clients: int
    rounds: int
    scopes: tuple[bool, ...]
    tls: bool = False


class Row(NamedTuple):
    """One line of the table."""

    what: str
    plait: str = ""
    bare: str = ""
    ratio: str = ""
    istiod: str = ""


def options(title: str, *, rounds: int, services: int = 1_000, encrypts: bool = False) -> Options:
    """What the command line says; `title` is its help, `rounds` and `services` are defaults.

    `encrypts`: the benchmark can do it with encrypted connections.
    """
    parser = argparse.ArgumentParser(description=title)
    few = min(services, 100)
    parser.add_argument("--services", type=int, default=services)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=rounds)
    quick = f"{few} services, 100 clients, 2 rounds"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--only", choices=("all", "scoped"), help="one of the two scopes")
    if encrypts:
        parser.add_argument("--tls", action="store_true", help="with mutual TLS")
    found = parser.parse_args()
    is_quick = found.quick
    return Options(
        services=few if is_quick else found.services,
        clients=100 if is_quick else found.clients,
        rounds=2 if is_quick else found.rounds,
        scopes={"all": (False,), "scoped": (True,), None: (False, True)}[found.only],
        tls=encrypts and found.tls,
    )


def head(*, scoped: bool) -> Row:
    """The line above those of one mesh."""
    return Row("(b) 10 services visible" if scoped else "(a) everything visible")


def row(what: str, figures: tuple[list[float], list[float]], unit: str, istiod: str = "") -> Row:
    """The medians of plait and of the bare server, and their ratio."""
    ours, bare = figures
    ratio = "-"
    if ours and bare and statistics.median(bare):
        ratio = f"{statistics.median(ours) / statistics.median(bare):.2f}x"
    return Row(f"  {what}", _spread(ours, unit), _spread(bare, unit), ratio, istiod)


def _spread(values: list[float], unit: str) -> str:
    """Median, least and most."""
    if not values:
        return "-"
    shown = [v * _FACTORS[unit] for v in (statistics.median(values), min(values), max(values))]
    digits = 0 if shown[0] >= 10 or not shown[0] else 2
    middle, low, high = (f"{value:,.{digits}f}" for value in shown)
    return f"{middle} {unit}" if low == high else f"{middle} {unit} [{low}-{high}]"


def report(title: str, found: Options, rows: list[Row]) -> None:
    """Print the headline and the table."""
    machine.show(machine.headline(title))
    machine.show(
        f"{found.services:,} services x 10 endpoints, {found.clients:,} clients, medians of "
        f"{found.rounds} interleaved rounds [least-most], load average {os.getloadavg()[0]:.1f}\n"
        "istiod: measured elsewhere, on the same kind of machine, with 1,000 services and clients"
    )
    header = ("", "plait", "bare grpc.aio", "ratio", "istiod 1.29.1")
    machine.show(machine.table(header, rows))
