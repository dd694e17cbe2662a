"""Hosts called by name through captured sidecars, with the agent's resolver in between."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from plait.agent.dns import Names, Resolver
from plait.base.processes import Command
from plait.xds import dns_table
from plait.xds.resource import HOSTS
from tests.support import istio
from tests.support.commands import output
from tests.support.netns import needs_root
from tests.support.world import Captured, captured
from tests.support.xds_client import connected, node

pytestmark = needs_root
ROOT = str(Path(__file__).parent.parent.parent)
CALL = f"""
import json, sys
sys.path.insert(0, {ROOT!r})
from tests.support import traffic
print(json.dumps([traffic.tcp_echo(one)[0].decode() for one in sys.argv[1:]]))
"""


def entry(world: Captured, name: str, version: str) -> dict[str, Any]:
    """A host of bytes, without an address, that is served by one version."""
    endpoints = [(world.network.address(version), version)]
    found = istio.entry(name, endpoints, port=9082, protocol="TCP")
    found["spec"]["hosts"] = [f"{name}.example.com"]
    return found


async def table(world: Captured) -> dict[str, tuple[str, ...]]:
    """What the control plane says that names mean to the caller."""
    async with connected(f"unix:{world.socket}", node=node(DNS_CAPTURE="true")) as client:
        await client.subscribe(HOSTS, "*")
        await client.has(HOSTS, "one.example.com", "two.example.com")
        found: dict[str, tuple[str, ...]] = {}
        for body in client.resources[HOSTS].values():
            found |= dns_table.decode(body)
        return found


async def greetings(world: Captured, *targets: str) -> list[str]:
    """What the servers say that a program on the caller's host reaches by these names."""
    conf = world.directory / "resolv.conf"
    conf.write_text("nameserver 10.96.0.10\n")
    command = Command(
        command=(sys.executable, "-c", CALL, *targets),
        network=f"/run/netns/{world.network.namespace('web')}",
        mounts=((str(conf), "/etc/resolv.conf"),),
    )
    found: list[str] = json.loads(await asyncio.to_thread(output, command))
    return found


def test_hosts_without_an_address_are_told_apart_by_the_one_their_name_means():
    async def story(world: Captured) -> None:
        names = Names()
        names.replace(await table(world))
        async with asyncio.TaskGroup() as group:
            namespace = f"/run/netns/{world.network.namespace('web')}"
            running = group.create_task(Resolver(namespace, names, ()).run())
            targets = ("one.example.com:9082", "two.example.com:9082")

            assert await greetings(world, *targets) == ["hello from v1\n", "hello from v2\n"]

            await asyncio.to_thread(world.plane.stop, signal.SIGKILL)
            assert await greetings(world, *targets) == ["hello from v1\n", "hello from v2\n"]
            running.cancel()

    with captured(dns=True) as world:
        world.plane.apply(entry(world, "one", "v1"), entry(world, "two", "v2"))
        asyncio.run(story(world))
