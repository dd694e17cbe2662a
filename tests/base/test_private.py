"""Files that our own user alone can read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from plait.base import private


@pytest.mark.parametrize("lasting", [True, False])
def test_a_file_is_replaced_whole_and_is_for_our_user_alone(tmp_path: Path, lasting: bool):
    file = tmp_path / "key"
    file.write_text("a longer one of before")
    file.chmod(0o644)

    private.write(file, b"new", lasting=lasting)

    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / ".key.new").symlink_to(target)

    private.write(tmp_path / "key", b"secret", lasting=True)

    assert target.read_text() == "theirs"
    assert not (tmp_path / "key").is_symlink()


def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("old")
    (tmp_path / ".key.new").mkdir()

    with pytest.raises(OSError, match="new"):
        private.write(file, b"new", lasting=True)

    assert file.read_text() == "old"
