"""The notes that platform and agent leave each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.base import place as places
from plait.base.place import EdgePort, EdgeSpec, Place, ProxySpec, ProxyState


def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: Path):
    spec = ProxySpec(
        id="demo.web", name="web", namespace="demo", addresses=("10.0.0.1",), labels={"app": "web"}
    )
    edge = EdgeSpec(ports=(EdgePort(host="127.0.0.1", port=80, sockets=("/a",)),))

    places.write(tmp_path / "spec", spec)
    places.write(tmp_path / "edge", edge)

    assert places.read(tmp_path / "spec", ProxySpec) == spec
    assert places.read(tmp_path / "edge", EdgeSpec) == edge
    assert sorted(one.name for one in tmp_path.iterdir()) == ["edge", "spec"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 7}', '{"ready": true}', "\udcff"])
def test_a_note_that_is_not_whole_is_none(tmp_path: Path, text: str):
    (tmp_path / "note").write_text(text, errors="surrogateescape")

    assert places.read(tmp_path / "note", ProxyState) is None
    assert places.read(tmp_path / "no-such", ProxyState) is None
    assert places.read(tmp_path, ProxyState) is None


def test_a_note_that_cannot_be_written_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        places.write(tmp_path / "gone" / "note", ProxyState(id="a"))


def test_ids_are_short_different_and_names_of_directories():
    short = places.identifier("demo", "web")
    long = [places.identifier("n" * 63, f"{'p' * 200}-{number}") for number in range(3)]

    assert short == "demo.web"
    assert len({*long}) == 3
    assert all(len(one) <= places.LONGEST for one in long)
    assert all(places.is_identifier(one) for one in (short, *long))


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "-a", "a.", "A", "a b", "a\n"])
def test_what_is_no_name_of_a_directory_is_no_id(text: str):
    assert not places.is_identifier(text)


def test_paths_of_sockets_fit_into_what_the_kernel_has_for_them():
    place = Place(Path("/var/lib/plait/local/run"))
    proxy = places.identifier("n" * 63, "p" * 250)

    assert len(str(place.edge_socket(proxy, 65535))) < 108
    assert len(str(place.proxy(proxy) / "xds.sock")) < 108
