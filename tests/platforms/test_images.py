"""The map from images to commands."""

import os
from pathlib import Path

import pytest

from plait.config.kinds.container import Container
from plait.platforms.local.images import ImageMap, ImageMapError, NotMappedError, names


def image_map(path: Path, text: str) -> ImageMap:
    (path / "images.toml").write_text(text)
    return ImageMap(path / "images.toml")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("app", ("app",)),
        ("app:1", ("app:1", "app")),
        ("host:5000/team/app:1", ("host:5000/team/app:1", "host:5000/team/app", "app")),
        ("host:5000/app", ("host:5000/app", "app")),
        ("x/app:1@sha256:ab", ("x/app:1@sha256:ab", "x/app:1", "x/app", "app")),
    ],
)
def test_an_image_is_known_by_these_names(reference, expected):
    assert names(reference) == expected


def test_the_most_exact_name_wins(tmp_path):
    images = image_map(
        tmp_path, '[images.app]\ncommand=["a"]\n[images."x/app:2"]\ndirectory="two"\ncommand=["b"]'
    )

    exact, other = images.find("x/app:2"), images.find("y/app:3")

    assert exact is not None
    assert (exact.command, exact.directory) == (("b",), str(tmp_path / "two"))
    assert other is not None
    assert (other.command, other.directory) == (("a",), str(tmp_path))


def test_an_image_that_is_not_mapped_names_the_file_and_the_lines(tmp_path):
    images = ImageMap(tmp_path / "images.toml")

    with pytest.raises(NotMappedError) as caught:
        images.require(Container(name="app", image="x/app:2"))

    assert str(tmp_path / "images.toml") in str(caught.value)
    assert '[images."x/app:2"]\ndirectory = "."\ncommand = [' in str(caught.value)


def test_what_runs_keeps_its_image_while_the_map_is_wrong(tmp_path):
    images = image_map(tmp_path, '[images.app]\ncommand = ["a"]')
    before = images.last("app")
    (tmp_path / "images.toml").write_text("[images")
    os.utime(tmp_path / "images.toml", ns=(1, 1))

    assert before is not None
    assert images.last("app") == before
    with pytest.raises(ImageMapError):
        images.find("app")


def test_a_container_with_a_command_needs_a_directory_only(tmp_path):
    images = image_map(tmp_path, '[images.app]\ndirectory = "."')

    assert images.require(Container(image="app", command=("sh",))).command == ()
    with pytest.raises(NotMappedError, match="has no command"):
        images.require(Container(image="app"))


def test_a_changed_map_is_read_again(tmp_path):
    images = image_map(tmp_path, "")
    assert images.find("app") is None

    image_map(tmp_path, '[images.app]\ncommand=["a"]')
    os.utime(images.path, ns=(1, 1))

    assert images.find("app") is not None


@pytest.mark.parametrize(
    "text", ["[images", "[images.app]\ncomand = []", "[images.app]\ncommand=1"]
)
def test_a_map_that_cannot_be_read_says_where(tmp_path, text):
    with pytest.raises(ImageMapError, match=r"images\.toml is wrong: "):
        image_map(tmp_path, text).find("app")
