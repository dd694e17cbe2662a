"""What a keeper says of how well its proxy is kept apart from others, and what one leaves."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from plait.agent.fleet import Fleet
from plait.agent.keeper import Keeper, Plane
from plait.base import place as places
from plait.base.place import Place, ProxySpec, ProxyState
from plait.config.capture import PROXY_UID

SPEC = ProxySpec(id="demo.web-1", name="web-1", namespace="demo", addresses=("10.0.0.1",))


def weakness(tmp_path: Path, network: str, *, shares_user: bool = False) -> str:
    spec = replace(SPEC, network=network, shares_user=shares_user)
    return Keeper(spec, Place(tmp_path), Plane(address="unix:/none"), ()).weakness


def test_a_user_and_a_network_of_its_own_are_as_good_as_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert weakness(tmp_path, "/run/netns/web") == ""
    assert "share the machine's network" in weakness(tmp_path, "")


def test_a_workload_that_runs_as_root_can_read_what_the_agent_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert "set runAsUser" in weakness(tmp_path, "/run/netns/web", shares_user=True)


def test_without_root_workloads_can_act_as_their_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: PROXY_UID)

    assert "the user of their proxies" in weakness(tmp_path, "/run/netns/web")


@pytest.mark.parametrize(("address", "expected"), [("unix:/x", True), ("127.0.0.1:15010", False)])
def test_only_a_control_plane_of_this_machine_takes_the_agents_word(address: str, expected: bool):
    assert Plane(address=address).trusts is expected


def test_of_a_proxy_that_cannot_be_kept_nothing_is_left_when_nobody_wants_it(tmp_path: Path):
    async def story() -> None:
        place = Place(tmp_path)
        place.specs.mkdir()
        directory = place.proxy(SPEC.id)
        directory.mkdir(parents=True)
        (directory / "own").touch()  # where a directory must be
        places.write(place.spec(SPEC.id), SPEC)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            fleet = Fleet(place, Plane(address="unix:/none"), ())
            task = group.create_task(fleet.run())
            while not places.read(place.state(SPEC.id), ProxyState):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
            place.spec(SPEC.id).unlink()
            while directory.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            task.cancel()

    asyncio.run(story())
