import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from plait.base.clock import ManualClock
from plait.base.errors import ConflictError, ExpiredError, SourceUnavailableError, StoreError
from plait.base.query import Drained, Query
from plait.config.kinds.observed import Rejection
from plait.config.meta import Key, Origin
from plait.config.ports import Batch, Change, Fault
from plait.config.record import Write
from plait.config.restore import Kinds
from plait.config.store import Store, Tuning
from tests.support.stores import (
    Said,
    broken,
    change,
    config_map,
    delete,
    entry,
    events,
    key,
    put,
    running,
    told,
    write,
)

X = key(config_map("x"))


def origins(q: Query, key: Key) -> tuple[Origin, ...]:
    return q.row("Conflict", key) or ()


def value(q: Query, key: Key) -> str | None:
    row = q.row("ConfigMap", key)
    return row.spec.data["value"] if row else None


def test_an_acknowledged_write_is_there_after_a_restart(tmp_path: Path):
    async def main():
        async with running(tmp_path) as store:
            before = await put(store, entry("x"))
        async with running(tmp_path) as store:
            assert store.record(before.key) == before
            assert store.revision == before.revision
            assert store.engine.get(row_of, before.key) == before.object

    asyncio.run(main())


def row_of(q: Query, key: Key) -> object:
    return q.row("ServiceEntry", key)


def test_a_write_is_applied_and_evaluated_when_it_is_acknowledged():
    async def main():
        async with running() as store:
            store.watch(value, X)
            told: list[Drained] = []
            store.listen(lambda drained, _: told.append(drained))
            await put(store, config_map("x", "7"))
            assert any((value, (X,)) in drained.values for drained in told)
            assert told[-1].done
            assert store.engine.get(value, X) == "7"

    asyncio.run(main())


def test_writing_what_is_there_keeps_the_revision_and_tells_nobody():
    async def main():
        async with running() as store:
            first = await put(store, config_map("x"))
            again = await put(store, config_map("x"))
            assert again.revision == first.revision
            assert told(await events(store)) == [("ADDED", "x")]

    asyncio.run(main())


def test_generation_counts_changes_of_the_spec_alone():
    async def main():
        async with running() as store:
            first = await put(store, entry("x"))
            labelled = await put(store, entry("x", labels={"a": "b"}))
            changed = await put(store, entry("x", "b.example", labels={"a": "b"}))
            with_status = await put(store, {**entry("x", "b.example"), "status": {"a": 1}})
            found = [first, labelled, changed, with_status]
            assert [record.generation for record in found] == [1, 1, 2, 2]
            assert changed.document["metadata"]["generation"] == 2
            assert len({record.uid for record in found}) == 1
            assert len({record.document["metadata"]["creationTimestamp"] for record in found}) == 1
            assert [record.revision for record in found] == [1, 2, 3, 4]
            assert changed.document["metadata"]["resourceVersion"] == "3"

    asyncio.run(main())


def test_an_object_made_again_is_another_one():
    async def main():
        async with running() as store:
            first = await put(store, entry("x"))
            await store.commit([delete(entry("x"))])
            assert store.record(first.key) is None
            assert (await put(store, entry("x"))).uid != first.uid

    asyncio.run(main())


def test_a_write_that_expects_another_revision_is_refused_whole():
    async def main():
        async with running() as store:
            await put(store, config_map("x"))
            outdated = write(config_map("x", "2"), expect=9)
            with pytest.raises(ConflictError, match="was changed to revision 1 after revision 9"):
                await store.commit([write(config_map("y")), outdated])
            with pytest.raises(ConflictError, match="exists already"):
                await store.commit([write(config_map("x", "2"), expect=0)])
            with pytest.raises(ConflictError, match="does not exist"):
                await store.commit([write(config_map("z"), expect=4)])
            assert store.record(key(config_map("y"))) is None
            await store.commit([write(config_map("x", "2"), expect=1)])
            assert store.engine.get(value, X) == "2"

    asyncio.run(main())


def test_of_two_writers_that_expect_the_same_revision_one_wins():
    async def main():
        async with running() as store:
            await put(store, config_map("x"))
            results: list[str] = []

            async def attempt(text: str) -> None:
                try:
                    await store.commit([write(config_map("x", text), expect=1)])
                    results.append(text)
                except ConflictError:
                    results.append("refused")

            async with asyncio.TaskGroup() as group:
                for text in "23":
                    group.create_task(attempt(text))
            assert sorted(results) == ["2", "refused"]

    asyncio.run(main())


def test_writes_of_one_moment_are_one_revision_of_the_engine():
    async def main():
        async with running() as store:
            before = store.engine.revision
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(put(store, config_map(f"n{number}")))
            assert store.engine.revision == before + 1
            assert len(store.records("ConfigMap")) == 50

    asyncio.run(main())


def test_the_source_that_changed_last_is_in_force_and_the_other_comes_back():
    async def main():
        files = Said("files")
        async with running(None, files) as store:
            await files.say(config_map("x", "file"), complete=True)
            await put(store, config_map("x", "user"))
            assert store.engine.get(value, X) == "user"
            assert store.engine.get(origins, X) == (Origin(source="files"),)
            assert [record.source for record in store.conflicts(X)] == ["files"]
            await files.say(config_map("x", "newer"))
            assert store.engine.get(value, X) == "newer"
            assert [record.source for record in store.conflicts(X)] == ["api"]
            await files.forget(config_map("x"))
            assert store.engine.get(value, X) == "user"
            assert store.engine.get(origins, X) == ()
            record = store.record(X)
            assert record is not None
            assert record.revision == store.revision
            kinds = [event.type.value for event in await events(store)]
            assert kinds == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED"]

    asyncio.run(main())


def test_a_user_who_writes_an_old_version_again_has_it_in_force():
    async def main():
        said = Said()
        async with running(None, said) as store:
            await put(store, config_map("x", "1"))
            await said.say(config_map("x", "2"), complete=True)
            again = await put(store, config_map("x", "1"))
            assert (again.source, again.document["data"]["value"]) == ("api", "1")

    asyncio.run(main())


def test_a_status_does_not_bring_an_older_version_back(tmp_path: Path):
    async def main():
        said = Said()
        async with running(tmp_path, said) as store:
            await said.say(entry("x"), complete=True)
            await put(store, entry("x", "b.example"))
            written = await put(store, {**entry("x", "b.example"), "status": {"a": 1}})
        said = Said()
        async with running(tmp_path, said) as store:
            await said.say(entry("x"), complete=True)
            assert store.record(written.key) == written

    asyncio.run(main())


def test_a_version_that_was_not_in_force_goes_unseen():
    async def main():
        said = Said()
        async with running(None, said) as store:
            await said.say(entry("x"), complete=True)
            newer = await put(store, entry("x", "b.example"))
            await said.forget(entry("x"))
            assert store.record(newer.key) == newer
            assert store.conflicts(newer.key) == ()
            await put(store, config_map("y"))
            assert told(await events(store, newer.revision)) == [("ADDED", "y")]

    asyncio.run(main())


def test_a_user_cannot_delete_what_only_a_file_defines():
    async def main():
        files = Said("files")
        async with running(None, files) as store:
            await files.say(config_map("x"), complete=True)
            with pytest.raises(ConflictError, match="is defined by files"):
                await store.commit([delete(config_map("x"))])
            assert store.record(X) is not None

    asyncio.run(main())


def test_an_undecodable_version_keeps_the_last_good_one_and_says_so():
    async def main():
        files = Said("files")
        async with running(None, files) as store:
            await files.say(entry("x"), entry("y"), complete=True)
            await files.say(broken("x"), entry("y", "new.example"))
            record = store.record(key(entry("x")))
            assert record is not None
            assert record.object is not None
            assert record.document["spec"]["hosts"] == ["a.example"]
            assert record.problems
            other = store.record(key(entry("y")))
            assert other is not None
            assert other.document["spec"]["hosts"] == ["new.example"]
            await files.say(entry("x"))
            healed = store.record(key(entry("x")))
            assert healed is not None
            assert healed.problems == ()
            assert healed.revision == record.revision

    asyncio.run(main())


def test_an_object_that_never_was_decodable_is_shown_but_not_in_force(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            await files.say(broken("x"), complete=True)
        async with running(tmp_path) as store:
            record = store.record(key(entry("x")))
            assert record is not None
            assert record.object is None
            assert record.problems
            assert store.engine.get(row_of, record.key) is None

    asyncio.run(main())


def test_records_are_in_the_order_of_keys_whatever_comes_and_goes():
    async def main():
        async with running() as store:

            def names() -> list[str]:
                return [record.key.name for record in store.records("ConfigMap")]

            await put(store, config_map("z"))
            await put(store, config_map("y"))
            before = names()
            await put(store, config_map("x"))
            more = names()
            await store.commit([delete(config_map("y"))])

            assert before == ["y", "z"]
            assert more == ["x", "y", "z"]
            assert names() == ["x", "z"]

    asyncio.run(main())


def test_what_a_source_said_stays_while_it_is_away(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            await files.say(config_map("x"), complete=True)
        away = Said("files")
        away.fail(SourceUnavailableError("gone"))
        async with running(tmp_path, away, tuning=Tuning(source_deadline=0.05)) as store:
            await store.ready.wait()
            assert store.engine.get(value, X) == "1"
            await away.say(config_map("y"), complete=True)
            assert [record.key.name for record in store.records("ConfigMap")] == ["y"]

    asyncio.run(main())


def test_a_source_that_says_the_same_after_a_restart_changes_nothing(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            await files.say(config_map("x", "file"), complete=True)
            await put(store, config_map("x", "user"))
        files = Said("files")
        async with running(tmp_path, files) as store:
            revision = store.revision
            await files.say(config_map("x", "file"), complete=True)
            assert store.engine.get(value, X) == "user"
            assert store.revision == revision

    asyncio.run(main())


def test_objects_of_a_file_that_cannot_be_read_at_the_start_stay(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            x = change(config_map("x"), "files", "broken.yaml:7")
            y = change(config_map("y"), "files", "other.yaml:1")
            await files.tell(Batch(changes=(x, y), complete=True))
        fault = Fault(origin=Origin(source="files", locator="broken.yaml:3"), problem="not YAML")
        files = Said("files")
        async with running(tmp_path, files) as store:
            await files.say(complete=True, faults=(fault,))
            assert [record.key.name for record in store.records("ConfigMap")] == ["x"]
            assert store.faults["files"] == (fault,)
            await files.say(complete=True)
            assert store.records("ConfigMap") == ()
            assert not store.faults["files"]

    asyncio.run(main())


def test_what_left_a_file_while_nobody_looked_is_gone_beside_an_unknown_kind(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            two = [change(config_map(name), "files", f"a.yaml:{name}") for name in ("x", "z")]
            await files.tell(Batch(changes=tuple(two), complete=True))
        files = Said("files")
        async with running(tmp_path, files) as store:
            place = Origin(source="files", locator="a.yaml:9")
            fault = Fault(origin=place, problem="not known", code="PLT1002", name="other")
            await files.tell(Batch(changes=(two[0],), complete=True, faults=(fault,)))
            assert [record.key.name for record in store.records("ConfigMap")] == ["x"]

    asyncio.run(main())


def test_the_store_is_ready_when_every_source_has_spoken():
    async def main():
        first, second = Said("a"), Said("b")
        async with running(None, first, second, tuning=Tuning(source_deadline=60)) as store:
            await first.say(complete=True)
            assert not store.ready.is_set()
            await second.say(complete=True)
            assert store.ready.is_set()

    asyncio.run(main())


def test_a_store_without_sources_is_ready_at_once():
    async def main():
        async with running() as store:
            await store.ready.wait()

    asyncio.run(main())


def test_a_status_changes_neither_the_source_nor_the_history(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            await files.say(entry("x"), complete=True)
            record = store.record(key(entry("x")))
            assert record is not None
            for number in range(3):
                document = {**record.document, "status": {"number": number}}
                await store.commit([write(document, "controller")])
            await files.say(entry("x"))
            found = store.record(record.key)
            assert found is not None
            assert (found.source, found.status, found.revision) == ("files", {"number": 2}, 4)
            assert len(await store.history(record.key)) == 1
        async with running(tmp_path) as store:
            again = store.record(record.key)
            assert again == found
            assert store.revision == 4
            assert [event.revision for event in await events(store)] == [1, 4]

    asyncio.run(main())


def test_watchers_resume_after_a_restart(tmp_path: Path):
    async def main():
        async with running(tmp_path) as store:
            await put(store, config_map("x"))
            await put(store, config_map("x", "2"))
            await put(store, config_map("y"))
            await store.commit([delete(config_map("x"))])
            live = await events(store)
        async with running(tmp_path) as store:
            await put(store, config_map("z"))
            found = await events(store)
            expected = [("ADDED", "x"), ("MODIFIED", "x"), ("ADDED", "y"), ("DELETED", "x")]
            assert told(found) == [*expected, ("ADDED", "z")]
            shown = [event.record.document for event in found[:4]]
            assert shown == [event.record.document for event in live]
            assert told(await events(store, 2)) == [*expected[2:], ("ADDED", "z")]

    asyncio.run(main())


def test_a_delete_is_told_after_what_was_deleted_is_compacted(tmp_path: Path):
    async def main():
        few = Tuning(keep=10)
        async with running(tmp_path, tuning=few) as store:
            await put(store, config_map("old"))
            for number in range(12):
                await put(store, config_map("x", str(number)))
            since = store.revision
            await store.commit([delete(config_map("old"))])
            for number in range(9):
                await put(store, config_map("x", f"again {number}"))
        async with running(tmp_path, tuning=few) as store:
            assert told(await events(store, since))[0] == ("DELETED", "old")

    asyncio.run(main())


def test_replayed_events_are_those_of_the_time(tmp_path: Path):
    async def main():
        async with running(tmp_path) as store:
            await put(store, config_map("x"))
            await store.commit([delete(config_map("x"))])
            await put(store, config_map("x", "2"))
            await put(store, {**entry("y"), "status": {"a": 1}})
            await put(store, config_map("z"))
            live = await events(store)
        async with running(tmp_path) as store:
            again = await events(store)
            assert told(again) == told(live)
            assert [e.previous is None for e in again] == [e.previous is None for e in live]

    asyncio.run(main())


def test_a_watcher_that_comes_too_late_is_told_to_list_again():
    async def main():
        async with running(tuning=Tuning(keep=10, recent=4)) as store:
            await put(store, config_map("kept"))
            for number in range(40):
                await put(store, config_map("x", str(number)))
            with pytest.raises(ExpiredError, match="List again"):
                await events(store, 1)
            assert len(await events(store, 36)) == 5
            assert store.record(key(config_map("kept"))) is not None

    asyncio.run(main())


def test_events_of_one_table_are_those_of_its_kind():
    async def main():
        async with running() as store:
            stream = store.events("ServiceEntry", 0)
            await put(store, config_map("x"))
            await put(store, entry("y"))
            event = await anext(stream)
            assert event.record.key.name == "y"
            await put(store, config_map("x", "2"))
            await put(store, entry("z"))
            assert (await anext(stream)).record.key.name == "z"

    asyncio.run(main())


def test_a_rejection_is_there_after_a_restart(tmp_path: Path):
    async def main():
        row = Rejection(digest="d", name="n", proxy="p", error="e", accepted=b"\x00\xff")
        async with running(tmp_path) as store:
            await store.observe([("Rejection", "d", row), ("Rejection", "e", row)], persist=True)
            await store.observe([("Rejection", "e", None)], persist=True)
        async with running(tmp_path) as store:
            assert store.engine.get(rejection, "d") == row
            assert store.engine.get(rejection, "e") is None

    asyncio.run(main())


def rejection(q: Query, digest: str) -> Rejection | None:
    return q.row("Rejection", digest)


def test_a_watch_begun_soon_is_told_by_the_next_drain():
    async def main():
        async with running() as store:
            await put(store, config_map("x"))
            seen = asyncio.Event()

            def listener(drained: Drained, revision: int) -> None:
                if (value, (X,)) in drained.values:
                    seen.set()

            stop = store.listen(listener)
            store.watch_soon(value, X)
            assert not seen.is_set()
            await seen.wait()
            seen.clear()
            stop()
            await put(store, config_map("x", "2"))
            assert not seen.is_set()
            store.unwatch(value, X)

    asyncio.run(main())


def test_a_listener_that_raises_stops_neither_the_store_nor_the_others():
    async def main():
        async with running() as store:
            heard: list[int] = []

            def fails(drained: Drained, revision: int) -> None:
                raise KeyError(revision)

            store.listen(fails)
            store.listen(lambda _, revision: heard.append(revision))
            record = await put(store, config_map("x"))
            assert heard[-1] == record.revision

    asyncio.run(main())


def test_the_history_says_who_changed_what_and_why():
    async def main():
        async with running() as store:
            await put(store, config_map("x"))
            text = {"manager": "kubectl", "who": "ann", "reason": "rollback"}
            await store.commit([write(config_map("x", "2"), **text)])
            await store.commit([delete(config_map("x"), who="bob")])
            first, second, third = await store.history(X)
            assert first.document is not None
            assert (second.manager, second.who, second.reason) == ("kubectl", "ann", "rollback")
            assert (third.who, third.document) == ("bob", None)

    asyncio.run(main())


def test_a_row_that_an_index_cannot_take_leaves_the_others_in_force():
    async def main():
        async with running() as store:
            await store.observe([("MeshConfig", "mesh", "fine"), ("Rejection", "d", 7)])
            assert store.engine.get(settings) == "fine"
            await put(store, config_map("x"))

    asyncio.run(main())


def settings(q: Query) -> object:
    return q.row("MeshConfig", "mesh")


def test_a_writer_that_gives_up_does_not_stop_the_others():
    async def main():
        async with running() as store:
            task = asyncio.create_task(put(store, config_map("x")))
            await asyncio.sleep(0)
            task.cancel()
            await put(store, config_map("y"))
            assert store.record(key(config_map("y"))) is not None

    asyncio.run(main())


def test_a_delete_of_what_is_not_there_is_no_change():
    async def main():
        async with running() as store:
            assert await store.commit([Write(key=X, change=None)]) == (None,)
            assert store.revision == 0

    asyncio.run(main())


@pytest.mark.parametrize("odd", [10**30, -(2**70), 1e300, "\ud83d", "\x00", {"deep": [10**25]}])
def test_whatever_json_can_say_is_kept(odd: object, tmp_path: Path):
    async def main():
        document = {**entry("x"), "status": {"odd": odd}}
        document["metadata"]["annotations"] = {"note": "\ud83d" if odd == "\ud83d" else "é"}
        async with running(tmp_path) as store:
            before = await put(store, document)
            assert before.document["status"] == {"odd": odd}
            odd_reason = write(config_map("y"), reason="\ud83d", who="\x00")
            await store.commit([odd_reason])
        async with running(tmp_path) as store:
            after = store.record(before.key)
            assert after is not None
            assert after.document == before.document

    asyncio.run(main())


def test_two_stores_do_not_share_a_directory(tmp_path: Path):
    async def main():
        async with running(tmp_path):
            with pytest.raises(StoreError, match=r"in use by another plait \(process \d+\)"):
                await Store.open(tmp_path, ManualClock())

    asyncio.run(main())


def test_a_stored_row_of_another_form_is_left_out_and_the_store_opens(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, config_map("kept"))
        database = sqlite3.connect(tmp_path / "plait.db")
        database.execute("INSERT INTO observed VALUES ('Rejection', 'd', 1.0, '{\"old\": 1}')")
        database.commit()
        database.close()
        async with running(tmp_path) as store:
            assert [one.key.name for one in store.records("ConfigMap")] == ["kept"]
            assert store.engine.get(rejection, "d") is None

    asyncio.run(story())


@pytest.mark.parametrize(
    "document", ["{", "[]", "{}", '{"metadata": 7}', '{"metadata": {"name": "spoiled"}}']
)
def test_a_stored_document_that_is_none_is_left_out_and_the_store_opens(
    document: str, tmp_path: Path
):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, config_map("spoiled"))
            await put(store, config_map("kept"))
        database = sqlite3.connect(tmp_path / "plait.db")
        sql = "UPDATE revisions SET document = ? WHERE name = 'spoiled'"
        database.execute(sql, (document,))
        database.commit()
        database.close()
        async with running(tmp_path) as store:
            assert [one.key.name for one in store.records("ConfigMap")] == ["kept"]
            assert told(await events(store)) == [("ADDED", "kept")]
            await put(store, config_map("spoiled"))
            assert len(store.records("ConfigMap")) == 2

    asyncio.run(story())


def test_a_stored_object_that_no_decoder_takes_is_shown_but_not_in_force(tmp_path: Path):
    def decode(document: Mapping[str, Any], source: str) -> Change | None:
        if document["metadata"]["name"] == "spoiled":
            raise RuntimeError
        return Kinds.known().decode(document, source)

    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, config_map("kept"))
            await put(store, config_map("spoiled"))
        kinds = structs.replace(Kinds.known(), decode=decode)
        store = await Store.open(tmp_path, ManualClock(), kinds=kinds)
        found = {one.key.name: one.object is not None for one in store.records("ConfigMap")}
        await store.close()
        assert found == {"kept": True, "spoiled": False}

    asyncio.run(story())
