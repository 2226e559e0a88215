"""A multicast LAN of network namespaces: one switch (a Linux bridge), hosts on it, real IGMP.

    with Lan(4, rate_mbit=200, loss=0.05) as lan:
        child = lan.start(1, ["some", "program"])

Host 0 is usually the sender.  Addresses: 10.77.0.(n+1)/24 and fd77::(n+1)/64 on `eth0`.  The
bridge has no uplink and the hosts have no other route: nothing leaves the machine.  Loss is
made by nftables for each host by itself (kernels without netem have it), rates by `tbf`.  ARP
and neighbour discovery are never lost: that would stall a run, not thin it.

Offloads: `off` (one packet on the wire is one packet everywhere, so that loss and counts mean
what they mean on a real LAN), `merge` (receivers merge what they receive, as real cards do;
loss then falls on the wire), `on` (bursts cross the wire whole: no LAN, only an upper bound).

Snooping: `off` floods every frame, `on` has a querier from the start, `trap` has one that has
just started, over IGMPv2: it floods for ten seconds and then cuts off those whose report it
did not hear.  Needs root and Debian's iproute2, nftables and ethtool.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

TOOLS = ("ip", "tc", "nft", "ethtool", "bridge")
QUEUE_MS = 50
_PR_SET_PDEATHSIG = 1
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
_OFFLOADS = ("tso", "gso", "gro", "tx-udp-segmentation")


def missing_tools() -> list[str]:
    """Programs that the laboratory needs and that are not here (root is needed too)."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(command: Sequence[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Lan:
    """`hosts` machines on one switch; on leaving every process that was started ends."""

    def __init__(
        self,
        hosts: int,
        *,
        rate_mbit: float = 0,
        loss: float = 0,
        offloads: Literal["off", "merge", "on"] = "off",
        snooping: Literal["off", "on", "trap"] = "on",
        mtu: int = 1500,
    ) -> None:
        self.hosts = hosts
        self.name = f"lan{os.getpid()}-{next(_numbers)}"
        self._rate_mbit = rate_mbit
        self._loss = loss
        self._offloads = offloads
        self._snooping = snooping
        self._mtu = mtu
        self._made: list[str] = []
        self.children: list[subprocess.Popen[Any]] = []

    # -- life

    def __enter__(self) -> Lan:
        try:
            self._make_switch()
            for host in range(self.hosts):
                self._make_host(host)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        for name in self._made:
            with contextlib.suppress(RuntimeError):
                _run(["ip", "netns", "delete", name])
        self._made.clear()

    @property
    def switch(self) -> str:
        return f"{self.name}-sw"

    def namespace(self, host: int) -> str:
        return f"{self.name}-{host}"

    @staticmethod
    def address(host: int, *, six: bool = False) -> str:
        return f"fd77::{host + 1:x}" if six else f"10.77.0.{host + 1}"

    def _add_namespace(self, name: str) -> None:
        _run(["ip", "netns", "add", name])
        self._made.append(name)
        _run(["ip", "-n", name, "link", "set", "lo", "up"])

    def _make_switch(self) -> None:
        self._add_namespace(self.switch)
        # A switch that is not yet sure of its IPv6 address asks nobody who listens, and having
        # missed its first questions floods for two minutes.
        path = "/proc/sys/net/ipv6/conf/default/accept_dad"
        self._inside(self.switch, ["sh", "-c", f"echo 0 > {path}"])
        rows = [
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 1",
            f"link set br0 mtu {self._mtu} up",
            "addr add 10.77.0.254/24 dev br0",
        ]
        _run(["ip", "-n", self.switch, "-batch", "-"], "\n".join(rows))
        self.snoop(self._snooping)

    def _make_host(self, host: int) -> None:
        name, port = self.namespace(host), f"p{host}"
        self._add_namespace(name)
        _run(["ip", "link", "add", port, "netns", self.switch, "type", "veth",
              "peer", "name", "eth0", "netns", name])  # fmt: skip
        for key in ("ipv6.conf.eth0.accept_dad", "ipv4.conf.all.rp_filter"):
            path = "/proc/sys/net/" + key.replace(".", "/")
            self._inside(name, ["sh", "-c", f"echo 0 > {path}"])
        if self._offloads != "on":
            off = [word for name_ in _OFFLOADS for word in (name_, "off")]
            self._inside(name, ["ethtool", "-K", "eth0", *off])
            self._inside(self.switch, ["ethtool", "-K", port, *off])
            if self._offloads == "merge":
                self._inside(name, ["ethtool", "-K", "eth0", "gro", "on"])
        _run(
            ["ip", "-n", self.switch, "link", "set", port, "mtu", str(self._mtu),
             "master", "br0", "up"]
        )  # fmt: skip
        rows = [
            f"link set eth0 mtu {self._mtu} up",
            f"addr add {self.address(host)}/24 brd + dev eth0",
            f"addr add {self.address(host, six=True)}/64 dev eth0 nodad",
            "route add 224.0.0.0/4 dev eth0",
        ]
        _run(["ip", "-n", name, "-batch", "-"], "\n".join(rows))
        self.rate(host, self._rate_mbit, self._rate_mbit)
        if host:
            self.loss(host, self._loss)

    # -- what may change meanwhile

    def snoop(self, how: Literal["off", "on", "trap"]) -> None:
        """The interval must be set before the querier: one that starts asks after its own."""
        base = ["ip", "-n", self.switch, "link", "set", "br0", "type", "bridge"]
        quick = ["mcast_query_response_interval", "20", "mcast_startup_query_interval", "100"]
        if how == "off":
            _run([*base, "mcast_snooping", "0", "mcast_querier", "0"])
        elif how == "on":
            _run([*base, "mcast_snooping", "1", "mcast_igmp_version", "3",
                  "mcast_mld_version", "2"])  # fmt: skip
            _run([*base, *quick])
            _run([*base, "mcast_querier", "1"])
        else:
            _run([*base, "mcast_snooping", "1", "mcast_igmp_version", "2",
                  "mcast_mld_version", "1"])  # fmt: skip
            _run([*base, "mcast_querier", "1"])
            _run([*base, *quick])

    def rate(self, host: int, up_mbit: float, down_mbit: float) -> None:
        """Limits what a host sends and receives; 0 is no limit."""
        for name, device, mbit in (
            (self.namespace(host), "eth0", up_mbit),
            (self.switch, f"p{host}", down_mbit),
        ):
            with contextlib.suppress(RuntimeError):
                self._inside(name, ["tc", "qdisc", "del", "dev", device, "root"])
            if mbit:
                burst = max(16_000, int(mbit * 125))
                self._inside(
                    name,
                    ["tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{mbit}mbit",
                     "burst", str(burst), "latency", f"{QUEUE_MS}ms"],
                )  # fmt: skip

    def loss(self, host: int, share: float) -> None:
        """This share of what a host would receive is lost, each packet by itself."""
        merged = self._offloads == "merge"
        name = self.switch if merged else self.namespace(host)
        table = f"lab{host}"
        hook = f'egress device "p{host}"' if merged else 'ingress device "eth0"'
        with contextlib.suppress(RuntimeError):
            self._inside(name, ["nft", "delete", "table", "netdev", table])
        if share:
            rules = f"""table netdev {table} {{
  chain way {{ type filter hook {hook} priority 0; policy accept;
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    meta protocol {{ ip, ip6 }} numgen random mod 1000000 < {round(share * 1e6)} drop
  }}
}}"""
            self._inside(name, ["nft", "-f", "-"], rules)

    def unplug(self, host: int, *, plugged: bool = False) -> None:
        """Pulls the cable out of the switch, or puts it back."""
        _run(["ip", "-n", self.switch, "link", "set", f"p{host}", "up" if plugged else "down"])

    def no_multicast(self, host: int) -> None:
        """From now on no multicast frame but those of the system itself reaches this host."""
        rules = f"""table netdev deaf{host} {{
  chain way {{ type filter hook ingress device "eth0" priority -1; policy accept;
    ip daddr 239.0.0.0/8 drop
    ip6 daddr ff10::/12 drop
  }}
}}"""
        self._inside(self.namespace(host), ["nft", "-f", "-"], rules)

    # -- what runs and what was sent

    def _inside(self, namespace: str, command: Sequence[str], text: str | None = None) -> str:
        return _run(["ip", "netns", "exec", namespace, *command], text)

    def run(self, host: int, command: Sequence[str]) -> str:
        """Runs a short command on a host and gives what it prints."""
        return self._inside(self.namespace(host), command)

    def start(self, host: int, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a program on a host; it ends with us.  `ip netns exec` becomes the program."""
        child = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(host), *command],
            preexec_fn=_die_with_parent,
            **options,
        )
        self.children.append(child)
        return child

    def counters(self, host: int) -> dict[str, int]:
        """`tx_bytes`, `tx_packets`, `rx_bytes`, `rx_packets` at a host's interface, with Ethernet
        headers."""
        rows = json.loads(_run(["ip", "-n", self.namespace(host), "-s", "-j", "link", "show",
                                "eth0"]))  # fmt: skip
        stats = rows[0]["stats64"]
        return {
            f"{way}_{what}": int(stats[way][what])
            for way in ("tx", "rx")
            for what in ("bytes", "packets")
        }
