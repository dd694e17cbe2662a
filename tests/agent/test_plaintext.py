"""Who calls in plain text, as the agent counts it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from plait.agent import plaintext
from plait.agent.plaintext import Plaintext
from plait.base import place as places
from plait.base.clock import ManualClock
from plait.base.place import PlainCaller, PlainCallers
from plait.xds import protos
from tests.support.api_server import until


def message(*calls: tuple[str, int], tcp: bool = False) -> bytes:
    found = protos.StreamAccessLogsMessage()
    logs = found.tcp_logs if tcp else found.http_logs
    for address, port in calls:
        common = logs.log_entry.add().common_properties
        common.downstream_direct_remote_address.socket_address.address = address
        common.downstream_local_address.socket_address.port_value = port
    data: bytes = found.SerializeToString()
    return data


def written(tmp_path: Path, clock: ManualClock, *messages: bytes) -> PlainCallers:
    """The note of an agent that was sent these messages; it goes on with one that is there."""
    note = tmp_path / "note.json"
    before = note.stat().st_ino if note.exists() else None

    def is_written() -> bool:
        return note.exists() and note.stat().st_ino != before

    async def main() -> None:
        found = Plaintext(note, clock)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(found.run())
            for data in messages:
                found.take(data)
                clock.advance(10)
            await until(is_written, "the note")
            task.cancel()

    asyncio.run(main())
    read = places.read(note, PlainCallers)
    assert read is not None
    return read


def test_calls_are_counted_by_caller_and_port(tmp_path: Path):
    clock = ManualClock(100.0)

    said = written(
        tmp_path,
        clock,
        message(("10.0.0.1", 80), ("10.0.0.1", 80), ("10.0.0.2", 80)),
        message(("10.0.0.1", 80)),
        message(("10.0.0.1", 3306), tcp=True),
    )

    assert said.callers == (
        PlainCaller(address="10.0.0.1", port=80, first=100.0, last=110.0, calls=3),
        PlainCaller(address="10.0.0.1", port=3306, first=120.0, last=120.0, calls=1),
        PlainCaller(address="10.0.0.2", port=80, first=100.0, last=100.0, calls=1),
    )


def test_what_an_agent_before_saw_is_kept_but_for_the_gap(tmp_path: Path):
    clock = ManualClock(100.0)
    written(tmp_path, clock, message(("10.0.0.1", 80)))
    clock.advance(40)

    said = written(tmp_path, clock)

    assert [one.address for one in said.callers] == ["10.0.0.1"]
    assert said.since == 150.0


def test_the_one_that_called_longest_ago_is_forgotten_by_the_next_agent_too(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(plaintext, "_MOST", 2)
    clock = ManualClock(100.0)
    written(tmp_path, clock, message(("10.0.0.2", 80)), message(("10.0.0.1", 80)))

    said = written(tmp_path, clock, message(("10.0.0.3", 80)))

    assert [one.address for one in said.callers] == ["10.0.0.1", "10.0.0.3"]


def test_what_cannot_be_read_tells_nothing_and_the_number_of_callers_is_bounded(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(plaintext, "_MOST", 2)
    many = message(*((f"10.0.0.{number}", 80) for number in range(1, 5)))

    said = written(tmp_path, ManualClock(), b"\xff\xff", message(("", 0)), many)

    assert [one.address for one in said.callers] == ["10.0.0.3", "10.0.0.4"]
