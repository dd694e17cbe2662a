import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from plait.base.clock import ManualClock
from plait.base.errors import SourceUnavailableError
from plait.config.ports import Batch
from plait.config.record import EventType
from plait.sources.files import SETTLE, Content, Files, difference, merged, parsed, updated
from plait.sources.tree import Look, look, lost
from tests.support.permissions import nobodys_place
from tests.support.stores import broken, config_map, entry, running

PATIENCE = 20.0


def text(*documents: dict[str, Any]) -> str:
    return "---\n".join(yaml.safe_dump(document) for document in documents)


def names(batch: Batch) -> list[str]:
    return [change.key.name for change in batch.changes if change.document is not None]


def gone(batch: Batch) -> list[str]:
    return [change.key.name for change in batch.changes if change.document is None]


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Callable[[], Awaitable[Batch]]]:
    """A function that gives the next batch."""
    batches = Files(path, interval=0.01).watch()

    async def following() -> Batch:
        return await asyncio.wait_for(anext(batches), PATIENCE)

    yield following
    await batches.aclose()  # type: ignore[attr-defined]


def test_every_document_below_the_directory_is_read_and_knows_its_line(tmp_path: Path):
    async def main():
        (tmp_path / "sub").mkdir()
        (tmp_path / "a.yml").write_text(text(config_map("x"), config_map("z")))
        (tmp_path / "sub" / "b.yaml").write_text("\n# a comment\n" + text(entry("e")))
        (tmp_path / "c.json").write_text('{"apiVersion":"v1","kind":"List","items":[]}')
        (tmp_path / "notes.txt").write_text("kind: nothing")
        (tmp_path / ".hidden.yaml").write_text(text(config_map("hidden")))
        async with watching(tmp_path) as following:
            batch = await following()
        places = [(change.key.name, change.origin.locator) for change in batch.changes]
        assert places == [("x", "a.yml:1"), ("z", "a.yml:9"), ("e", "sub/b.yaml:3")]
        assert batch.complete

    asyncio.run(main())


def test_a_single_file_is_a_source_too(tmp_path: Path):
    async def main():
        file = tmp_path / "one.yaml"
        file.write_text(text(config_map("x")))
        async with watching(file) as following:
            assert names(await following()) == ["x"]
            file.write_text(text(config_map("x", "2")))
            assert names(await following()) == ["x"]

    asyncio.run(main())


def write_over(file: Path, content: str) -> None:
    file.write_text(content)


def write_beside_and_rename(file: Path, content: str) -> None:
    fresh = file.with_name(".x.swp")
    fresh.write_text(content)
    fresh.rename(file)


def move_away_and_write_anew(file: Path, content: str) -> None:
    file.rename(file.with_name("x.yaml~"))
    file.write_text(content)


@pytest.mark.parametrize("save", [write_over, write_beside_and_rename, move_away_and_write_anew])
def test_a_save_is_seen_however_an_editor_does_it(
    save: Callable[[Path, str], None], tmp_path: Path
):
    async def main():
        file = tmp_path / "x.yaml"
        file.write_text(text(config_map("x")))
        async with watching(tmp_path) as following:
            await following()
            save(file, text(config_map("x", "2")))
            batch = await following()
            assert (names(batch), gone(batch)) == (["x"], [])
            assert batch.changes[0].document is not None
            assert batch.changes[0].document["data"] == {"value": "2"}

    asyncio.run(main())


def test_files_come_go_and_change_their_names(tmp_path: Path):
    async def main():
        async with watching(tmp_path) as following:
            assert await following() == Batch(complete=True)
            (tmp_path / "x.yaml").write_text(text(config_map("x")))
            assert names(await following()) == ["x"]
            (tmp_path / "x.yaml").rename(tmp_path / "y.yaml")
            batch = await following()
            assert (names(batch), gone(batch)) == (["x"], [])
            while batch.changes[0].origin.locator != "y.yaml:1":
                batch = await following()
            (tmp_path / "y.yaml").unlink()
            batch = await following()
            while gone(batch) != ["x"]:
                batch = await following()

    asyncio.run(main())


def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path):
    def version(name: str, value: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.yaml").write_text(text(config_map("x", value)))
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    async def main():
        version("..2026_1", "1")
        (tmp_path / "x.yaml").symlink_to(Path("..data") / "x.yaml")
        async with watching(tmp_path) as following:
            first = await following()
            assert [change.origin.locator for change in first.changes] == ["x.yaml:1"]
            version("..2026_2", "2")
            second = await following()
            assert second.changes[0].document is not None
            assert second.changes[0].document["data"] == {"value": "2"}

    asyncio.run(main())


def test_a_link_to_a_folder_around_it_is_not_followed_for_ever(tmp_path: Path):
    (tmp_path / "x.yaml").write_text(text(config_map("x")))
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "nowhere.yaml").symlink_to(tmp_path / "missing")

    assert list(look(tmp_path).files) == ["x.yaml"]


@pytest.mark.parametrize("name", ["loop", "loop.yaml"])
def test_a_link_to_itself_is_passed_by(name: str, tmp_path: Path):
    (tmp_path / "a.yaml").write_text(text(config_map("x")))
    (tmp_path / name).symlink_to(tmp_path / name)
    assert list(look(tmp_path).files) == ["a.yaml"]


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(SourceUnavailableError, match=str(tmp_path / "nowhere")):
        look(tmp_path / "nowhere")


def test_an_object_in_two_files_is_taken_from_the_first_and_says_so():
    first = parsed("a.yaml", text(config_map("x", "1")), "files")
    second = parsed("b.yaml", text(config_map("x", "2"), config_map("z")), "files")

    batch = merged(
        updated({}, frozenset({"a.yaml", "b.yaml"}), {"b.yaml": second, "a.yaml": first})
    )

    assert names(batch) == ["x", "z"]
    assert batch.changes[0].document is not None
    assert batch.changes[0].document["data"] == {"value": "1"}
    (problem,) = batch.changes[0].problems
    assert problem.code == "PLT1009"
    assert "b.yaml:1" in problem.message


def test_the_second_definition_takes_over_when_the_first_goes():
    first = parsed("a.yaml", text(config_map("x", "1")), "files")
    second = parsed("b.yaml", text(config_map("x", "2")), "files")
    before = merged({"a.yaml": first, "b.yaml": second})

    step = difference(before, merged({"b.yaml": second}))

    (change,) = step.changes
    assert change.document is not None
    assert change.document["data"] == {"value": "2"}
    assert change.problems == ()


def test_a_file_that_does_not_parse_keeps_its_last_good_objects():
    good = parsed("a.yaml", text(config_map("x"), config_map("z", "1")), "files")
    bad = parsed("a.yaml", text(config_map("z", "2")) + "---\nkind: [\n", "files")
    files = frozenset({"a.yaml"})

    contents = updated({"a.yaml": good}, files, {"a.yaml": bad})

    batch = merged(contents)
    assert {change.key.name: change.document["data"] for change in batch.changes if change.document}
    assert sorted(names(batch)) == ["x", "z"]
    assert [fault.origin.locator.partition(":")[0] for fault in batch.faults] == ["a.yaml"]
    healed = updated(contents, files, {"a.yaml": good})
    assert merged(healed).faults == ()


def test_what_a_file_loses_counts_when_a_second_look_agrees():
    good = parsed("a.yaml", text(config_map("x"), config_map("z")), "files")
    half = parsed("a.yaml", text(config_map("x")), "files")
    files = frozenset({"a.yaml"})

    once = updated({"a.yaml": good}, files, {"a.yaml": half})
    twice = updated(once, files, {"a.yaml": half}, settled=files)

    assert sorted(names(merged(once))) == ["x", "z"]
    assert names(merged(twice)) == ["x"]


def test_beside_a_document_of_an_unknown_kind_objects_can_be_removed():
    unknown = {"apiVersion": "other.example/v1", "kind": "Other", "metadata": {"name": "o"}}
    both = parsed("a.yaml", text(config_map("x"), config_map("z"), unknown), "files")
    one = parsed("a.yaml", text(config_map("x"), unknown), "files")
    files = frozenset({"a.yaml"})

    once = updated({"a.yaml": both}, files, {"a.yaml": one})
    twice = updated(once, files, {"a.yaml": one}, settled=files)

    assert names(merged(twice)) == ["x"]


def test_an_object_whose_kind_is_misspelled_stays():
    good = parsed("a.yaml", text(config_map("x"), config_map("z")), "files")
    typo = parsed("a.yaml", text(config_map("x"), {**config_map("z"), "kind": "Confg"}), "files")
    files = frozenset({"a.yaml"})

    once = updated({"a.yaml": good}, files, {"a.yaml": typo})
    twice = updated(once, files, {"a.yaml": typo}, settled=files)

    assert sorted(names(merged(twice))) == ["x", "z"]


def test_a_file_that_is_gone_counts_when_a_second_look_agrees():
    good = parsed("a.yaml", text(config_map("x")), "files")

    once = updated({"a.yaml": good}, frozenset(), {})
    twice = updated(once, frozenset(), {}, settled=frozenset({"a.yaml"}))

    assert names(merged(once)) == ["x"]
    assert twice == {}


def test_an_emptied_file_takes_its_objects_away_in_the_end(tmp_path: Path):
    async def main():
        file = tmp_path / "a.yaml"
        file.write_text(text(config_map("x")))
        async with watching(tmp_path) as following:
            await following()
            file.write_text("")
            assert gone(await following()) == ["x"]

    asyncio.run(main())


def test_a_file_that_is_no_text_is_a_fault_of_its_own(tmp_path: Path):
    async def main():
        (tmp_path / "a.yaml").write_text(text(config_map("x")))
        (tmp_path / "b.yaml").write_bytes(b"kind: \xff\xfe")
        async with watching(tmp_path) as following:
            batch = await following()
        assert names(batch) == ["x"]
        assert "byte 6 is 0xff" in batch.faults[0].problem

    asyncio.run(main())


@pytest.mark.parametrize("name", ["b.yaml", "sub"])
def test_what_may_not_be_read_keeps_its_objects_and_the_others_go_on(name: str):
    async def main(place: Path):
        (place / "sub").mkdir()
        (place / "a.yaml").write_text(text(config_map("x")))
        (place / "b.yaml").write_text(text(config_map("w")))
        (place / "sub" / "c.yaml").write_text(text(config_map("z")))
        async with watching(place) as following:
            assert names(await following()) == ["x", "w", "z"]
            forbidden = place / name
            forbidden.chmod(0)
            batch = await following()
            assert batch.changes == ()
            assert [fault.origin.locator for fault in batch.faults] == [name]
            assert "cannot be read: Permission denied" in batch.faults[0].problem
            (place / "a.yaml").write_text(text(config_map("x", "2")))
            assert names(await following()) == ["x"]
            forbidden.chmod(0o755)
            batch = await following()
            assert (batch.changes, batch.faults) == ((), ())

    with nobodys_place() as place:
        asyncio.run(main(place))


@pytest.mark.parametrize("name", ["b.yaml", "sub", "sub/c.yaml"])
def test_what_may_not_be_read_at_a_start_stays_as_it_was_stored(name: str):
    async def main(place: Path):
        (place / "mesh" / "sub").mkdir(parents=True)
        (place / "mesh" / "b.yaml").write_text(text(config_map("w")))
        (place / "mesh" / "sub" / "c.yaml").write_text(text(config_map("z")))
        async with running(place / "data", Files(place / "mesh")) as store:
            await store.ready.wait()
        (place / "mesh" / name).chmod(0)
        async with running(place / "data", Files(place / "mesh")) as store:
            await store.ready.wait()
            assert [record.key.name for record in store.records("ConfigMap")] == ["w", "z"]
            assert [fault.origin.locator for fault in store.faults["files"]] == [name]
        (place / "mesh" / name).chmod(0o755)

    with nobodys_place() as place:
        asyncio.run(main(place))


def test_a_folder_that_was_removed_takes_its_objects_away(tmp_path: Path):
    async def main():
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "c.yaml").write_text(text(config_map("z")))
        async with watching(tmp_path) as following:
            await following()
            shutil.rmtree(tmp_path / "sub")
            assert gone(await following()) == ["z"]

    asyncio.run(main())


def test_all_files_removed_from_a_directory_that_stays_are_gone_at_once(tmp_path: Path):
    async def main():
        (tmp_path / "a.yaml").write_text(text(config_map("x")))
        (tmp_path / "b.yaml").write_text(text(config_map("w")))
        async with watching(tmp_path) as following:
            await following()
            (tmp_path / "a.yaml").unlink()
            (tmp_path / "b.yaml").unlink()
            found = gone(await following())
            while sorted(found) != ["w", "x"]:
                found += gone(await following())

    asyncio.run(main())


def test_another_directory_in_its_place_is_like_one_that_was_away(tmp_path: Path):
    async def main():
        place, fresh = tmp_path / "mesh", tmp_path / "fresh"
        place.mkdir()
        fresh.mkdir()
        (place / "a.yaml").write_text(text(config_map("x"), config_map("w")))
        (fresh / "a.yaml").write_text(text(config_map("x", "2")))
        clock = ManualClock()
        source = Files(tmp_path / "link", interval=0.01, clock=clock)
        (tmp_path / "link").symlink_to(place)
        async with running(None, source) as store:
            await store.ready.wait()
            (tmp_path / "next").symlink_to(fresh)
            (tmp_path / "next").rename(tmp_path / "link")
            async for event in store.events(None, store.revision):
                assert event.record.document["data"] == {"value": "2"}
                break
            assert [record.key.name for record in store.records("ConfigMap")] == ["w", "x"]
            clock.advance(SETTLE)
            async for event in store.events(None, store.revision):
                assert (event.type, event.record.key.name) == (EventType.DELETED, "w")
                break

    asyncio.run(main())


def test_a_directory_that_is_still_being_filled_is_not_believed(tmp_path: Path):
    async def main():
        place = tmp_path / "mesh"
        clock = ManualClock()
        source = Files(place, interval=0.01, clock=clock)
        with pytest.raises(SourceUnavailableError):
            await anext(source.watch())
        place.mkdir()
        batches = source.watch()
        batch = await asyncio.wait_for(anext(batches), PATIENCE)
        assert batch == Batch()
        for name in ("a", "b", "c"):
            clock.advance(SETTLE * 0.75)
            (place / f"{name}.yaml").write_text(text(config_map(name)))
            batch = await asyncio.wait_for(anext(batches), PATIENCE)
            assert (names(batch), batch.complete) == ([name], False)
        clock.advance(SETTLE)
        batch = await asyncio.wait_for(anext(batches), PATIENCE)
        assert (names(batch), batch.complete) == (["a", "b", "c"], True)

    asyncio.run(main())


def test_a_mount_that_is_gone_leaves_its_source_away():
    mounted = Look(place=(2, 1), mounted=True)
    bare = Look(place=(1, 7))

    assert "no longer mounted" in lost(bare, mounted, mounted=True)
    assert "no longer mounted" in lost(bare, None, mounted=True)
    assert "another directory" in lost(mounted, bare, mounted=False)
    assert lost(mounted, None, mounted=True) == lost(bare, bare, mounted=False) == ""


def test_what_a_server_wrote_into_a_document_is_left_out():
    copied = config_map("x", uid="u", resourceVersion="9", creationTimestamp=None)
    content = parsed("a.yaml", text({**copied, "status": {"a": 1}}), "files")

    assert content == Content(changes=content.changes)
    assert content.changes[0].document == config_map("x")


def test_an_undecodable_object_is_told_with_its_problems():
    (change,) = parsed("a.yaml", text(broken("x")), "files").changes

    assert change.object is None
    assert change.document is not None
    assert change.problems


def test_a_break_in_one_file_leaves_the_mesh_as_it_was(tmp_path: Path):
    async def main():
        file = tmp_path / "a.yaml"
        file.write_text(text(config_map("x"), config_map("z")))
        async with running(None, Files(tmp_path, interval=0.01)) as store:
            await store.ready.wait()
            file.write_text(text(config_map("z", "2")) + "---\nkind: [\n")
            async for event in store.events(None, store.revision):
                assert event.record.key.name == "z"
                break
            assert [record.key.name for record in store.records("ConfigMap")] == ["x", "z"]
            assert len(store.faults["files"]) == 1

    asyncio.run(main())
