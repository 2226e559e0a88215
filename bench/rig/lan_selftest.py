"""Whether the laboratory does what it says, before anything measured in it is believed.

    python bench/rig/lan_selftest.py [frames] [losses] [lasting]

Three questions: do a group's frames go to its members and to nobody else; is every host's loss its
own (the share that two lose together is the product of what each loses); and do the frames still
come 15 s after the join (a bridge whose querier starts late stops after some ten).  Needs root.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.lan import Lan
from rig.watch import Child

PROBE = str(Path(__file__).resolve().parents[1] / "sides" / "probe.py")
GROUP = "239.255.77.1"
PORT = 7001
LASTS_S = 15.0
PER_S = 10_000.0


def _receivers(lan: Lan, hosts: list[int], group: str = GROUP) -> dict[int, Child]:
    found = {}
    for host in hosts:
        command = [sys.executable, PROBE, "receive", group, str(PORT)]
        found[host] = Child(
            lan.start(host, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    for child in found.values():
        child.hear("ready", 20)
    time.sleep(0.3)  # a join takes the switch up to 20 ms
    return found


def _send(lan: Lan, count: int, per_s: float = PER_S, group: str = GROUP) -> None:
    lan.run(0, [sys.executable, PROBE, "send", group, str(PORT), str(count), str(per_s)])
    time.sleep(0.2)


def _came(child: Child, word: str) -> int:
    """The numbers that came, as bits."""
    child.say(word)
    return int(child.hear(word, 10)[word], 16)


def frames(lan: Lan, count: int = 500) -> dict[int, int]:
    """Frames at each interface when 1 and 2 are in the group and 3 is not."""
    receivers = _receivers(lan, [1, 2])
    before = [lan.counters(host)["rx_packets"] for host in range(4)]
    _send(lan, count)
    after = [lan.counters(host)["rx_packets"] for host in range(4)]
    for child in receivers.values():
        child.stop()
    return {host: after[host] - before[host] for host in (1, 2, 3)}


def losses(
    lan: Lan, share: float, count: int = 20_000
) -> tuple[dict[int, float], dict[str, float]]:
    """What each of three hosts lost, and what each two of them lost both."""
    for host in (1, 2, 3):
        lan.loss(host, share)
    receivers = _receivers(lan, [1, 2, 3])
    _send(lan, count)
    everything = (1 << count) - 1
    lost = {host: everything & ~_came(child, "lost") for host, child in receivers.items()}
    for host, child in receivers.items():
        child.stop()
        lan.loss(host, 0)
    each = {host: bits.bit_count() / count for host, bits in lost.items()}
    both = {
        f"{a} and {b}": (lost[a] & lost[b]).bit_count() / count
        for a, b in itertools.combinations(lost, 2)
    }
    return each, both


def lasting(lan: Lan, seconds: float = LASTS_S, count: int = 500) -> dict[int, int]:
    """Datagrams of `count` that arrive so long after the join."""
    receivers = _receivers(lan, [1, 2, 3])
    time.sleep(seconds)
    _send(lan, count)
    came = {host: _came(child, "late").bit_count() for host, child in receivers.items()}
    for child in receivers.values():
        child.stop()
    return came


def check_frames(lan: Lan) -> object:
    at = frames(lan)
    assert min(at[1], at[2]) >= 500, f"members did not get all frames: {at}"
    assert at[3] < 50, f"a stranger got a group's frames: {at}"
    return at


def check_losses(lan: Lan) -> object:
    each, both = losses(lan, 0.1)
    assert all(abs(share - 0.1) < 0.015 for share in each.values()), f"lost: {each}"
    for pair, share in both.items():
        a, b = (each[int(word)] for word in pair.split(" and "))
        assert abs(share - a * b) < 0.004, f"losses hang together: {pair} {share} of {each}"
    return {"each": each, "both": both}


def check_lasting(lan: Lan) -> object:
    late = lasting(lan)
    assert all(count == 500 for count in late.values()), f"frames stopped: {late}"
    return late


CHECKS = {"frames": check_frames, "losses": check_losses, "lasting": check_lasting}


def main() -> None:
    """Runs the checks that are named, or all; AssertionError where the laboratory lies."""
    with Lan(4) as lan:
        for name in sys.argv[1:] or CHECKS:
            print(json.dumps({name: CHECKS[name](lan)}), flush=True)


if __name__ == "__main__":
    main()
