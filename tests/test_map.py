"""AGENTS.md is a map: whoever follows it finds what it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "AGENTS.md").read_text()
KINDS_OF_CHANGE = ("A field of VirtualService", "A registry", "A CLI verb", "A diagnostic")
TOPS = ("src", "tests", "docs", "changes", "scripts", "benchmarks", "examples")


def lines() -> dict[str, str]:
    """What stands under "Where things go", by the kind of change."""
    section = TEXT.partition("## Where things go")[2]
    found = re.findall(r"^- \*\*(.+?)\*\*: (.+)$", section, re.MULTILINE)
    return dict(found)


def places(line: str) -> list[Path]:
    """The paths in a line; of one with a capital placeholder, the directory it goes to."""
    named = [word for word in re.findall(r"`([^` ]+)`", line) if "/" in word or "." in word]
    return [
        (ROOT if word.partition("/")[0] in {*TOPS, "pyproject.toml"} else ROOT / "src/plait")
        / re.sub(r"[^/]*\b(test_)?[A-Z]{3,}\b.*", "", word)
        for word in named
    ]


def tree() -> list[Path]:
    """The paths of the drawing of the tree, without what is still to come."""
    found, above = [], ROOT
    for line in TEXT.partition("```\n")[2].partition("```")[0].splitlines():
        name = line.split()[0]
        if "follow)" in line or not re.fullmatch(r"[a-z_/]+(/|\.py)", name):
            continue
        if not line.startswith(" "):
            above = ROOT / name
        found.append(above / name if line.startswith(" ") else above)
    return found


def test_the_map_fits_on_two_screens():
    assert len(TEXT.splitlines()) <= 80


def test_the_map_says_where_the_common_changes_go():
    assert set(KINDS_OF_CHANGE) <= set(lines())


@pytest.mark.parametrize("change", KINDS_OF_CHANGE)
def test_the_places_of_a_change_are_there(change: str):
    named = places(lines()[change])

    assert named
    assert [path for path in named if not path.exists()] == []


def test_the_tree_is_the_tree():
    found = tree()

    assert len(found) > 15
    assert [path for path in found if not path.exists()] == []
