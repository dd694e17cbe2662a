import os
from pathlib import Path

import pytest

from plait.base.errors import SettingsError
from plait.settings import Settings, became_root, load

HOME = {"HOME": "/home/ann"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_flags_beat_variables_and_variables_beat_the_file(file: Path):
    file.write_text('log_level = "debug"\nkeep_revisions = 5\napi = ["127.0.0.1:1"]\n')
    environ = {**HOME, "PLAIT_KEEP_REVISIONS": "6", "PLAIT_API": "127.0.0.1:2,unix:/a"}

    found = load({"settings": file, "api": ("127.0.0.1:3",), "files": None}, environ)

    assert (found.log_level, found.keep_revisions, found.api) == ("debug", 6, ("127.0.0.1:3",))
    assert found.files is None


def test_the_socket_of_proxies_is_in_the_data_directory():
    found = load({"data": "/srv/plait"}, HOME)

    assert found.xds == ("127.0.0.1:15010", "unix:/srv/plait/xds.sock")
    assert found == Settings(data=Path("/srv/plait"), xds=found.xds)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [(HOME, "/home/ann/.local/state/plait"), ({"XDG_STATE_HOME": "/state"}, "/state/plait")],
)
def test_the_data_directory_of_a_user_follows_the_desktops_rules(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert load({}, environ).data == Path(expected)


def test_the_data_directory_of_root_is_the_systems(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert load({}, HOME).data == Path("/var/lib/plait")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("keep_revisions", "many", "a whole number"),
        ("source_deadline", "-1", "a number of seconds"),
        ("push_least", "nan", "a number of seconds"),
        ("log_level", "loud", "one of debug, info"),
        ("certificate_life", "0", "a number of seconds from 1"),
        ("xds", "15010", "host:port or unix:PATH"),
        ("api", "127.0.0.1:70000", "port up to 65535"),
        ("xds_tls", "unix:/a", "needs no TLS"),
        ("xds_name", "a, ,b", "a list of names"),
    ],
)
def test_a_bad_value_is_named_with_the_place_it_comes_from(
    name: str, value: str, words: str, file: Path
):
    variable = f"PLAIT_{name.upper()}"
    file.write_text(f'{name} = "{value}"\n')
    for flags, environ, place in (
        ({}, {**HOME, variable: value}, f"{variable}: "),
        ({name: value}, HOME, f"--{name.replace('_', '-')}: "),
        ({"settings": file}, HOME, f"{file}: "),
    ):
        with pytest.raises(SettingsError) as caught:
            load(flags, environ)
        assert str(caught.value).startswith(place)
        assert words in str(caught.value)
        assert value in str(caught.value)


def test_an_unknown_setting_is_refused_with_the_nearest_name(file: Path):
    file.write_text("keep_revision = 5\n")

    with pytest.raises(SettingsError, match='did you mean "keep_revisions"'):
        load({"settings": file}, HOME)


def test_a_settings_file_that_is_asked_for_must_be_there(file: Path):
    with pytest.raises(SettingsError, match=f"cannot read settings file {file}"):
        load({}, {**HOME, "PLAIT_SETTINGS": str(file)})


def test_a_settings_file_that_is_no_toml_is_named(file: Path):
    file.write_text("= 3")

    with pytest.raises(SettingsError, match="is not valid TOML"):
        load({"settings": file}, HOME)


def test_the_least_time_between_pushes_is_not_above_the_most():
    with pytest.raises(SettingsError, match="must not be greater"):
        load({"push_least": 1.0}, HOME)


def test_an_empty_variable_is_no_setting():
    assert load({"data": "/d"}, {**HOME, "PLAIT_LOG_LEVEL": ""}).log_level == "info"


def test_a_certificate_needs_its_key():
    with pytest.raises(SettingsError, match="go together"):
        load({"api_cert": "/a"}, HOME)


def test_the_token_is_in_no_repr():
    assert "s3cret" not in repr(load({"token": "s3cret"}, HOME))


@pytest.mark.parametrize(
    ("uid", "before", "found"),
    [(0, "1000", ("1000",)), (0, "", ()), (0, "-1", ()), (500, "1000", ())],
)
def test_who_became_root_is_known_to_root(
    monkeypatch: pytest.MonkeyPatch, uid: int, before: str, found: tuple[str, ...]
):
    monkeypatch.setenv("SUDO_UID", before)
    monkeypatch.setattr(os, "geteuid", lambda: uid)

    assert became_root() == found
