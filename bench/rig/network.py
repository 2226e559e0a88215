"""A network namespace with many addresses on its loopback interface, for benchmarks.

Every client gets an address of its own, 198.18.N.1 (RFC 2544's range for benchmarks), so that
none treats the others as "local".  Nothing leaves the namespace: it has no other interface.
Needs root, iproute2 and nftables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType


class Network:
    """`with Network(9) as network:` gives 198.18.1.1 to 198.18.9.1 in a namespace of its own."""

    def __init__(self, addresses: int) -> None:
        self.name = f"spinney-bench-{os.getpid()}"
        self.addresses = [f"198.18.{number}.1" for number in range(1, addresses + 1)]
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Network:
        for program in ("ip", "nft"):
            if shutil.which(program) is None:
                raise SystemExit(f"{program} is missing: install iproute2 and nftables")
        self._run(["ip", "netns", "add", self.name])
        self._inside(["ip", "link", "set", "lo", "up"])
        for address in self.addresses:
            self._inside(["ip", "addr", "add", f"{address}/32", "dev", "lo"])
        rules = ["table ip bench {"]
        rules += [f"counter sent{number} {{ }}" for number in range(1, len(self.addresses) + 1)]
        rules.append("chain out { type filter hook output priority 0;")
        rules += [
            f"ip saddr {address} counter name sent{number}"
            for number, address in enumerate(self.addresses, 1)
        ]
        rules += ["}", "}"]
        self._inside(["nft", "-f", "-"], text="\n".join(rules))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def _run(self, command: Sequence[str], text: str | None = None) -> str:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _inside(self, command: Sequence[str], text: str | None = None) -> str:
        return self._run(["ip", "netns", "exec", self.name, *command], text)

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """A process inside, its standard input and output as lines."""
        child = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._children.append(child)
        return child

    def sent_bytes(self) -> list[int]:
        """Bytes that each address has sent so far, IP and TCP headers included."""
        rows = json.loads(self._inside(["nft", "-j", "list", "counters"]))["nftables"]
        found = {
            row["counter"]["name"]: row["counter"]["bytes"] for row in rows if "counter" in row
        }
        return [int(found[f"sent{number}"]) for number in range(1, len(self.addresses) + 1)]
