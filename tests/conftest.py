"""Options of the tests: --accept updates expected output, --resume goes on with a long run."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import scale

ROOT = Path(__file__).parent.parent

# Shells have what they start in the background ignore it, and so would programs of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is found at random is for long runs, which print their seed: others repeat themselves.
settings.register_profile("short", derandomize=True, deadline=None)
settings.register_profile("long", deadline=None, print_blob=True)
settings.load_profile("long" if scale.is_long() else "short")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write what came out as expected")
    parser.addoption("--resume", action="store_true", help="leave out what passed before")


def pytest_report_header() -> str:
    return f"seed: {os.environ.get('PLAIT_SEED', '0')}"


@cache
def _journal() -> Path:
    """One file of passed tests for each tree and seed: another commit starts anew.

    Found out once, before any test: a test may take ``git`` off the path.
    """
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    diff = subprocess.run(["git", "diff", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    seed = os.environ.get("PLAIT_SEED", "0")
    name = hashlib.sha256(head.stdout + diff.stdout + seed.encode()).hexdigest()[:16]
    return ROOT / ".long" / name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--resume"):
        return
    journal = _journal()
    passed = set(journal.read_text().splitlines()) if journal.exists() else set()
    done = [item for item in items if item.nodeid in passed]
    config.hook.pytest_deselected(items=done)
    items[:] = [item for item in items if item.nodeid not in passed]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" and report.passed and item.config.getoption("--resume"):
        journal = _journal()
        journal.parent.mkdir(exist_ok=True)
        with journal.open("a") as file:
            file.write(item.nodeid + "\n")
    return report
