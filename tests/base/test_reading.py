"""Files are read with another user's rights, and with no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plait.base.reading import read_as
from tests.support.netns import envoy_readable, needs_root

UID = 1337


def written(path: Path, mode: int, uid: int = 0) -> str:
    path.write_text("content")
    path.chmod(mode)
    os.chown(path, uid, uid)
    return str(path)


@needs_root
def test_what_that_user_may_read_is_read(tmp_path: Path):
    envoy_readable(tmp_path)

    assert read_as(UID, written(tmp_path / "all", 0o644), 100) == b"content"
    assert read_as(UID, written(tmp_path / "own", 0o400, UID), 100) == b"content"


@needs_root
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_what_only_we_may_read_is_not(tmp_path: Path, mode: int):
    path = written(envoy_readable(tmp_path) / "key", mode)

    with pytest.raises(PermissionError):
        read_as(UID, path, 100)
    assert read_as(None, path, 100) == b"content"


@needs_root
def test_a_folder_that_only_we_may_enter_and_a_link_into_it_hide_what_is_in_it(tmp_path: Path):
    envoy_readable(tmp_path)
    hidden, link = tmp_path / "hidden", tmp_path / "link"
    hidden.mkdir(mode=0o700)
    link.symlink_to(written(hidden / "key", 0o644))

    for path in (hidden / "key", link):
        with pytest.raises(PermissionError):
            read_as(UID, str(path), 100)


@needs_root
def test_our_own_rights_are_as_before(tmp_path: Path):
    path = written(envoy_readable(tmp_path) / "key", 0o600)
    with pytest.raises(PermissionError):
        read_as(UID, path, 100)

    assert Path(path).read_text() == "content"


def test_what_is_no_file_or_too_long_is_refused(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "long").write_text("x" * 101)

    for path, words in {
        "relative": "no absolute path",
        str(tmp_path): "no file|directory",
        str(pipe): "no file",
        str(tmp_path / "long"): "more than 100",
    }.items():
        with pytest.raises(OSError, match=words):
            read_as(None, path, 100)
