"""The forms in which objects are printed: table, wide, yaml, json, name, jsonpath."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

FORMS = ("table", "wide", "yaml", "json", "name")

option = click.option(
    "-o", "--output", "form", default="table", help="table, wide, yaml, json, name or jsonpath=…"
)


def check(form: str) -> None:
    """Refuse a form that there is not.

    Raises:
        UsageError: the form is unknown.
    """
    if form not in FORMS and not form.startswith("jsonpath="):
        raise click.UsageError(
            f'there is no output "{form}"; there are: {", ".join(FORMS)}, jsonpath=TEMPLATE'
        )


def data(value: Any, form: str) -> str:
    """A value as YAML, JSON or by a jsonpath template."""
    if form == "yaml":
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, if built in
        text = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True)
        return str(text).rstrip("\n")
    if form.startswith("jsonpath="):
        from plait.ui.cli.jsonpath import render

        return render(form.removeprefix("jsonpath="), value)
    return json.dumps(value, indent=4, ensure_ascii=False)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, head: bool = True) -> str:
    """Columns three blanks apart, as kubectl prints them."""
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [list(header), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    shown = lines if head else cells
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in shown
    )


def age(seconds: float | None) -> str:
    """A duration in one or two units: 42s, 3m12s, 5h, 2d."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 120:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h" if whole < 172_800 else f"{whole // 86_400}d"


def columns(page: Mapping[str, Any], *, wide: bool) -> tuple[list[int], list[str]]:
    """Positions and titles of a Table's columns; those of priority above 0 only if wide."""
    defined = page.get("columnDefinitions") or []
    shown = [i for i, one in enumerate(defined) if wide or not one.get("priority")]
    return shown, [defined[i]["name"].upper() for i in shown]


def _cell(value: Any) -> str:
    return "<none>" if value is None or value == "" else str(value)
