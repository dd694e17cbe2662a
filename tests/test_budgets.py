"""The budgets of the house style, counted: sizes, arguments, docstrings, frozen structs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "src" / "plait").rglob("*.py"))
BUDGET = re.compile(r"# budget: (\d+) lines, \S+")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the function without its docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_fits_its_budget(path: Path):
    text = path.read_text()
    allowed = int(found.group(1)) if (found := BUDGET.search(text)) else 400

    assert len(text.splitlines()) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_fit_their_budget(path: Path):
    too_long = [
        f"{path.name}:{node.lineno} {node.name}: {length(node)} lines"
        for node in functions(ast.parse(path.read_text()))
        if length(node) > 50
    ]

    assert too_long == []


def test_four_functions_in_five_are_short():
    lengths = [length(f) for path in MODULES for f in functions(ast.parse(path.read_text()))]

    assert sum(n <= 15 for n in lengths) >= 0.8 * len(lengths)


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name)
def test_a_package_file_is_empty(path: Path):
    assert path.read_text() == ""


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_struct_says_that_it_is_frozen(path: Path):
    thawed = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split("[")[0].split(".")[-1] == "Struct" for base in node.bases)
        and not any(
            keyword.arg == "frozen" and ast.unparse(keyword.value) == "True"
            for keyword in node.keywords
        )
    ]

    assert thawed == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_todo_names_its_issue(path: Path):
    loose = [line for line in path.read_text().splitlines() if re.search(r"TODO(?! #\d)", line)]

    assert loose == []
