import sqlite3
from pathlib import Path

import pytest

from plait.base.errors import ExpiredError, StoreCorruptError, StoreError
from plait.config import database
from plait.config.history import FILE, History, Observed, Revision, Status, Transaction
from plait.config.meta import Key
from plait.config.recovery import GAP, recover

X = Key("", "ConfigMap", "demo", "x")


def row(number: int, key: Key = X, *, text: str = "a", gone: bool = False) -> Revision:
    return Revision(
        revision=number,
        key=key,
        version="v1",
        uid="u",
        source="api",
        event="MODIFIED",
        document=None if gone else {"metadata": {"uid": "u"}, "data": {"text": text}},
    )


def filled(directory: Path, number: int = 2_000, size: int = 500) -> Path:
    """A database with that many objects; its file."""
    history = History.open(directory)
    rows = [
        row(n, Key("", "ConfigMap", "demo", f"x{n}"), text="a" * size) for n in range(1, number)
    ]
    history.append(Transaction(revisions=rows))
    seen = Observed(table="Rejection", key="d", at=1.0, value=b'{"a":1}')
    status = Status(key=rows[0].key, revision=number, status={"a": 1})
    history.append(Transaction(observed=[seen], statuses=[status]))
    history.close()
    return directory / FILE


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.name != "lock"}


def test_revisions_come_back_as_they_were(tmp_path: Path):
    history = History.open(tmp_path)
    rows = [row(1), row(2, text="é\x00"), row(5, Key("g", "K", "", "y"))]
    history.append(Transaction(revisions=rows))
    history.close()

    history = History.open(tmp_path)

    assert history.of(X) == tuple(rows[:2])
    assert history.load().revisions == tuple(rows[1:])
    assert history.load().revision == 5
    assert history.before(X, 2) == rows[0]
    history.close()


def test_a_revision_is_never_given_out_again(tmp_path: Path):
    history = History.open(tmp_path)
    history.append(Transaction(revisions=[row(7)]))
    history.append(Transaction(statuses=[Status(key=X, revision=9, status={})]))
    history.append(Transaction(revisions=[row(10, gone=True)]))

    assert history.load().revisions == ()
    assert history.load().revision == 10
    history.close()


def test_old_revisions_are_forgotten_but_not_what_is_live():
    history = History.open(None, keep=10)
    kept = Key("", "ConfigMap", "demo", "kept")
    history.append(Transaction(revisions=[row(1, kept)]))
    for number in range(2, 40):
        history.append(Transaction(revisions=[row(number)]))

    assert 10 <= len(history.of(X)) <= 12
    assert [found.key for found in history.load().revisions] == [kept, X]
    with pytest.raises(ExpiredError):
        history.since(5)
    assert len(history.since(35)) == 4
    history.close()


def test_what_cannot_be_forgotten_is_not_looked_through_at_every_write():
    history = History.open(None, keep=100)
    looks: list[int] = []
    for number in range(1, 500):
        at = history.compacted
        key = Key("", "ConfigMap", "demo", f"x{number % 50}")
        history.append(Transaction(revisions=[row(number, key)]))
        looks += [number] if history.compacted != at else []
    assert 0 < len(looks) < 50
    history.close()


def test_kinds_whose_past_nobody_asks_for_keep_the_newest_revision():
    history = History.open(None)
    lease = Key("coordination.k8s.io", "Lease", "demo", "x")
    history.append(Transaction(revisions=[row(1, lease)]))
    history.append(Transaction(revisions=[row(2, lease)]))

    assert [found.revision for found in history.of(lease)] == [2]
    history.close()


def test_a_transaction_that_fails_leaves_nothing():
    history = History.open(None)
    history.append(Transaction(revisions=[row(1)]))

    with pytest.raises(StoreError):
        history.append(Transaction(revisions=[row(2), row(1)]))

    assert [found.revision for found in history.of(X)] == [1]
    history.append(Transaction(revisions=[row(2)]))
    history.close()


def damaged(kind: str, file: Path) -> None:
    """Damage a database; any other kind: make it one of a newer plait."""
    data = file.read_bytes()
    match kind:
        case "cut in half":
            file.write_bytes(data[: len(data) // 2])
        case "not a database":
            file.write_bytes(b"hello " * 1000)
        case "empty":
            file.write_bytes(b"")
        case "a page of noise":
            middle = len(data) // 2 // 4096 * 4096
            file.write_bytes(data[:middle] + b"\xa5" * 4096 + data[middle + 4096 :])
        case "gone, with its log":
            file.with_name(FILE + "-wal").write_bytes(data)
            file.unlink()
        case _:
            with sqlite3.connect(file) as connection:
                connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
            connection.close()


KINDS = ["cut in half", "not a database", "empty", "a page of noise", "gone, with its log"]


@pytest.mark.parametrize("kind", [*KINDS, "of a newer plait"])
def test_a_damaged_database_is_refused_and_keeps_every_byte(kind: str, tmp_path: Path):
    damaged(kind, filled(tmp_path))
    before = contents(tmp_path)

    with pytest.raises(StoreCorruptError) as caught:
        History.open(tmp_path)

    assert contents(tmp_path) == before
    assert str(tmp_path / FILE) in str(caught.value)
    assert "left as it is" in " ".join(str(caught.value).split())
    assert f"plait store recover --data {tmp_path}" in str(caught.value)


def test_a_database_with_a_log_left_by_a_crash_is_whole(tmp_path: Path):
    history = History.open(tmp_path / "running")
    history.append(Transaction(revisions=[row(1)]))
    (tmp_path / "crashed").mkdir()
    for name, data in contents(tmp_path / "running").items():
        (tmp_path / "crashed" / name).write_bytes(data)
    history.close()
    assert FILE + "-wal" in contents(tmp_path / "crashed")

    database.check(tmp_path / "crashed" / FILE)
    history = History.open(tmp_path / "crashed")

    assert history.of(X) == (row(1),)
    history.close()


def test_looking_at_a_damaged_database_does_not_touch_its_log(tmp_path: Path):
    filled(tmp_path / "running")
    history = History.open(tmp_path / "running")
    history.append(Transaction(revisions=[row(5_000)]))
    (tmp_path / "crashed").mkdir()
    for name, data in contents(tmp_path / "running").items():
        (tmp_path / "crashed" / name).write_bytes(data)
    history.close()
    damaged("a page of noise", tmp_path / "crashed" / FILE)
    assert (tmp_path / "crashed" / (FILE + "-wal")).stat().st_size
    before = contents(tmp_path / "crashed")

    with pytest.raises(StoreCorruptError):
        History.open(tmp_path / "crashed")

    assert contents(tmp_path / "crashed") == before


def test_what_can_be_read_of_half_a_database_is_saved(tmp_path: Path):
    file = filled(tmp_path)
    damaged("cut in half", file)
    half = file.read_bytes()

    done = recover(tmp_path)

    assert done.kept.read_bytes() == half
    assert 500 < done.revisions < 1999
    assert done.objects == done.revisions
    assert done.lost >= 1999 - done.revisions
    history = History.open(tmp_path)
    assert history.load().revisions[0].revision == 1
    assert len(history.load().revisions) == done.objects
    assert history.load().revision >= 1999 + GAP
    with pytest.raises(ExpiredError):
        history.since(1999)
    history.append(Transaction(revisions=[row(history.load().revision + 1)]))
    history.close()


def test_rows_on_both_sides_of_a_bad_page_are_saved(tmp_path: Path):
    file = filled(tmp_path)
    damaged("a page of noise", file)

    done = recover(tmp_path)

    assert done.revisions + done.lost >= 1999
    assert done.lost < 30
    history = History.open(tmp_path)
    assert history.load().revisions[-1].revision == 1999
    assert history.load().observed
    assert history.load().statuses
    history.close()


@pytest.mark.parametrize("kind", ["not a database", "empty"])
def test_of_what_is_no_database_nothing_is_saved_and_nothing_lost(kind: str, tmp_path: Path):
    file = filled(tmp_path)
    damaged(kind, file)
    bad = file.read_bytes()

    done = recover(tmp_path)

    assert (done.revisions, done.objects) == (0, 0)
    assert done.kept.read_bytes() == bad
    History.open(tmp_path).close()


def test_a_recovery_loses_nothing_of_a_database_that_is_whole(tmp_path: Path):
    filled(tmp_path)
    history = History.open(tmp_path)
    before = history.load()
    history.close()

    first, second = recover(tmp_path), recover(tmp_path)

    assert first.kept != second.kept
    history = History.open(tmp_path)
    after = history.load()
    assert (after.revisions, after.statuses, after.observed) == (
        before.revisions,
        before.statuses,
        before.observed,
    )
    history.close()


def test_there_is_nothing_to_recover_without_a_database(tmp_path: Path):
    with pytest.raises(StoreError, match="nothing to recover"):
        recover(tmp_path)


def test_a_directory_that_is_in_use_is_not_recovered(tmp_path: Path):
    history = History.open(tmp_path)

    with pytest.raises(StoreError, match="in use by another plait"):
        recover(tmp_path)

    history.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=str(tmp_path / "file")):
        History.open(tmp_path / "file" / "data")
