"""What containers say."""

import asyncio
from pathlib import Path

import pytest

from plait.platforms.local import logs


def text(log: Path, tail: int | None = None) -> str:
    async def run() -> str:
        parts = [part async for part in logs.read(log, tail=tail, is_over=lambda: True)]
        return b"".join(parts).decode()

    return asyncio.run(run())


def append(log: Path, line: str) -> None:
    with log.open("a") as writer:
        writer.write(line)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(None, "a\nb\nc\n"), (0, ""), (1, "c\n"), (2, "b\nc\n"), (9, "a\nb\nc\n")],
)
def test_the_last_lines(tmp_path, tail, expected):
    (tmp_path / "app.log").write_text("a\nb\nc\n")

    assert text(tmp_path / "app.log", tail) == expected


def test_the_last_lines_of_a_long_log(tmp_path):
    (tmp_path / "app.log").write_text("".join(f"{n:09}\n" for n in range(50_000)))

    assert text(tmp_path / "app.log", 20_000).splitlines()[0] == "000030000"


def test_no_log_says_nothing(tmp_path):
    assert text(tmp_path / "app.log", 3) == ""


def test_a_reader_follows_over_restarts(tmp_path):
    log, said = tmp_path / "app.log", list[str]()
    log.write_text("one\n")

    async def run() -> None:
        async with asyncio.timeout(10):
            async for part in logs.read(log, tail=None, is_over=lambda: len(said) == 3):
                said.append(part.decode())
                if len(said) == 1:
                    append(log, "two\n")
                elif len(said) == 2:
                    logs.turn(tmp_path, "app")
                    log.write_text("three\n")

    asyncio.run(run())
    assert said == ["one\n", "two\n", "three\n"]
    assert (tmp_path / "app.previous.log").read_text() == "one\ntwo\n"


def test_a_log_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LARGEST", 10)
    log = tmp_path / "app.log"
    with log.open("a") as writer:
        writer.write("a long line\n")
        writer.flush()
        logs.bound(tmp_path, "app")
        writer.write("more\n")

    assert log.read_text() == "more\n"
    assert (tmp_path / "app.previous.log").read_text() == "a long line\n"


def test_the_last_line_is_quoted(tmp_path):
    (tmp_path / "app.log").write_text("first\nlast\n\n")

    assert logs.last_line(tmp_path / "app.log") == "last"
    assert logs.last_line(tmp_path / "none.log") == ""
