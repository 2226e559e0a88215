"""IP groups on a LAN: real IGMP and MLD, a switch that snoops, offloads, filters, cables."""

from __future__ import annotations

import errno
import subprocess
import time
from typing import Any

import pytest
from bench.rig.lan import Lan

from lan.conftest import Machine, machines, meet

pytestmark = pytest.mark.needs_root

WHOLE = {"bad": 0, "lost": 0}


def whole(answer: dict[str, Any], count: int) -> None:
    """All came, each once, none altered."""
    assert answer["distinct"] == answer["count"] == count, answer
    assert {key: answer[key] for key in WHOLE} == WHOLE


@pytest.mark.parametrize("six", [False, True], ids=["ip4", "ip6"])
def test_joins_through_a_switch_that_snoops(six: bool) -> None:
    with Lan(3, snooping="on") as lan:
        members = machines(lan, 0, 1, 2, six=six)
        address = meet(members[:2])
        time.sleep(0.5)
        before = lan.counters(2)["rx_packets"]
        members[0].ask("send", name="room", first=0, count=500)
        whole(members[1].ask("wait", name="room", distinct=500), 500)
        # Who did not join is spared: the switch heard the reports.
        assert lan.counters(2)["rx_packets"] - before < 100
        assert "error" not in members[2].ask("join", name="room", address=address)
        time.sleep(0.3)
        members[0].ask("send", name="room", first=1_000, count=500)
        whole(members[2].ask("wait", name="room", distinct=500), 500)
        # And who leaves is spared again, soon.
        members[2].ask("leave", name="room")
        time.sleep(2.4)
        before = lan.counters(2)["rx_packets"]
        members[0].ask("send", name="room", first=2_000, count=500)
        members[1].ask("wait", name="room", distinct=1_500)
        assert lan.counters(2)["rx_packets"] - before < 100


def test_a_querier_that_starts_late_cuts_off_and_rejoining_brings_it_back() -> None:
    """It floods for ten seconds; then those go without whose report it did not hear.

    Hosts hear each other's reports and keep theirs back, but on a busy machine they may join so
    far apart that all report: here the reports of two of them never get out.
    """
    mute = ("add table ip mute", "add chain ip mute out { type filter hook output priority 0 ; }",
            "add rule ip mute out ip protocol igmp drop")  # fmt: skip
    with Lan(4, snooping="trap") as lan:
        for host in (2, 3):
            for line in mute:
                lan.run(host, ["nft", line])
        members = machines(lan, 0, 1, 2, 3)
        meet(members)
        cut: list[Machine] = []
        sent = 0
        ends = time.monotonic() + 30
        while len(cut) < 2 and time.monotonic() < ends:
            members[0].ask("send", name="room", first=sent, count=10)
            sent += 10
            time.sleep(0.5)
            cut = [
                each
                for each in members[1:]
                if each.ask("heard", name="room")["distinct"] <= sent - 20
            ]
        assert set(cut) >= set(members[2:]), "the laboratory's trap does not work"
        for host in (2, 3):
            lan.run(host, ["nft", "delete table ip mute"])
        for each in members[1:]:
            each.ask("rejoin", name="room")
            each.ask("forget", name="room")
        time.sleep(0.3)
        members[0].ask("send", name="room", first=50_000, count=50)
        for each in members[1:]:
            assert each.ask("wait", name="room", distinct=50)["distinct"] == 50


def test_two_interfaces() -> None:
    with Lan(3) as one, Lan(2) as other:
        # Host 0 has a second cable, to the other switch.
        here, switch = one.namespace(0), other.switch
        for line in (
            f"ip link add eth1 netns {here} type veth peer name p9 netns {switch}",
            f"ip -n {switch} link set p9 master br0 up",
            f"ip -n {here} addr add 10.78.0.1/24 dev eth1",
            f"ip -n {here} link set eth1 up",
        ):
            subprocess.run(line.split(), check=True, timeout=10)
        members = [*machines(one, 0, 1), *machines(other, 1)]
        address = meet(members)
        assert members[0].ask("heard", name="room")["interfaces"] == ["eth0", "eth1"]
        time.sleep(0.3)
        members[0].ask("burst", name="room", first=0, count=200)
        for each in members[1:]:
            whole(each.ask("wait", name="room", distinct=200), 200)
        for at, each in enumerate(members[1:]):
            each.ask("send", name="room", first=1_000 * at, count=50)
        whole(members[0].ask("wait", name="room", distinct=100), 100)
        # One of them goes for good, and the other goes on.
        one.run(0, ["ip", "link", "delete", "eth1"])
        members[0].ask("send", name="room", first=5_000, count=5)
        time.sleep(1.6)
        members[0].ask("send", name="room", first=6_000, count=50)
        assert members[1].ask("wait", name="room", distinct=255)["distinct"] == 255
        assert members[0].ask("heard", name="room")["interfaces"] == ["eth0"]
        assert address


def test_no_route_for_multicast_is_needed() -> None:
    with Lan(2) as lan:
        for host in (0, 1):
            lan.run(host, ["ip", "route", "delete", "224.0.0.0/4"])
        members = machines(lan, 0, 1)
        meet(members)
        time.sleep(0.3)
        for at, each in enumerate(members):
            each.ask("burst", name="room", first=100 * at, count=100)
        for each in members:
            whole(each.ask("wait", name="room", distinct=100), 100)


def test_a_filter_that_drops_multicast() -> None:
    with Lan(3) as lan:
        lan.no_multicast(2)
        members = machines(lan, 0, 1, 2)
        meet(members)
        time.sleep(0.3)
        members[0].ask("send", name="room", first=0, count=100)
        whole(members[1].ask("wait", name="room", distinct=100), 100)
        assert members[2].ask("heard", name="room")["count"] == 0
        # The deaf one is heard all the same.
        members[2].ask("send", name="room", first=500, count=100)
        whole(members[0].ask("wait", name="room", distinct=100), 100)
        # A filter on the way out is told by the system, and is nothing fatal.
        for line in (
            "add table ip mute",
            "add chain ip mute out { type filter hook output priority 0 ; }",
            "add rule ip mute out ip daddr 239.0.0.0/8 drop",
        ):
            lan.run(0, ["nft", line])
        members[0].ask("send", name="room", first=600, count=5)
        members[0].ask("burst", name="room", first=610, count=20)
        assert errno.EPERM in members[0].ask("heard", name="room")["errors"]
        lan.run(0, ["nft", "delete table ip mute"])
        members[0].ask("burst", name="room", first=700, count=100)
        assert members[1].ask("wait", name="room", distinct=300)["distinct"] >= 300


@pytest.mark.parametrize("offloads", ["off", "merge", "on"])
def test_bursts_with_offloads_and_with_plain_sockets(offloads: Any) -> None:
    """And a second receiver on a machine, whose socket does not merge."""
    with Lan(3, offloads=offloads) as lan:
        quick, plain = machines(lan, 0, 1), machines(lan, 0, 1, 2, plain=True)
        meet([*quick, *plain])
        time.sleep(0.3)
        count = 2_000
        quick[0].ask("burst", name="room", first=0, count=count)
        plain[0].ask("burst", name="room", first=count, count=count)
        for each in (quick[1], plain[1], plain[2]):
            whole(each.ask("wait", name="room", distinct=2 * count), 2 * count)
        for each in (quick[0], plain[0]):  # each heard the other on its machine, not itself
            whole(each.ask("wait", name="room", distinct=count), count)
        assert plain[1].ask("heard", name="room")["bursts"] == 0


def test_receive_offload_merges_bursts() -> None:
    with Lan(2, offloads="merge") as lan:
        members = machines(lan, 0, 1)
        meet(members)
        time.sleep(0.3)
        members[0].ask("burst", name="room", first=0, count=2_000)
        answer = members[1].ask("wait", name="room", distinct=2_000)
        whole(answer, 2_000)
        assert answer["bursts"] > 10


@pytest.mark.parametrize("six", [False, True], ids=["ip4", "ip6"])
def test_21_groups_where_the_system_allows_20_a_socket(six: bool) -> None:
    with Lan(2) as lan:
        members = machines(lan, 0, 1, six=six)
        for n in range(21):
            meet(members, f"room {n}")
        time.sleep(0.5)
        for n in range(21):
            members[0].ask("send", name=f"room {n}", first=100 * n, count=20)
        for n in range(21):
            whole(members[1].ask("wait", name=f"room {n}", distinct=20), 20)


@pytest.mark.parametrize("six", [False, True], ids=["ip4", "ip6"])
def test_without_hops_nothing_leaves_the_machine(six: bool) -> None:
    with Lan(1) as lan:
        members = machines(lan, 0, 0, six=six, inside=True)
        meet(members)
        before = lan.counters(0)["tx_packets"]
        members[0].ask("burst", name="room", first=0, count=500)
        members[0].ask("send", name="room", first=500, count=500)
        whole(members[1].ask("wait", name="room", distinct=1_000), 1_000)
        assert lan.counters(0)["tx_packets"] - before < 20


def test_a_cable_that_is_pulled_and_an_interface_that_is_switched_off() -> None:
    with Lan(2) as lan:
        members = machines(lan, 0, 1)
        meet(members)
        time.sleep(0.3)
        members[0].ask("send", name="room", first=0, count=10)
        members[1].ask("wait", name="room", distinct=10)
        lan.unplug(1)
        members[0].ask("send", name="room", first=100, count=10)
        lan.unplug(1, plugged=True)
        lan.run(0, ["ip", "link", "set", "eth0", "down"])
        members[0].ask("send", name="room", first=200, count=5)
        members[0].ask("burst", name="room", first=210, count=20)
        time.sleep(0.2)
        members[0].ask("send", name="room", first=250, count=5)
        lan.run(0, ["ip", "link", "set", "eth0", "up"])
        for n in range(20):  # soon, not at the next look of each minute
            members[0].ask("send", name="room", first=1_000 + n, count=1)
            answer = members[1].ask("wait", name="room", distinct=11, seconds=0.5)
            if answer["distinct"] >= 11:
                break
        assert answer["distinct"] >= 11
        assert n < 15
