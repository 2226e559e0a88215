"""UFTP, udpcast and NORM as sides of the multicast benchmark, each set as a skilled user would.

Every rate is the rate of payload: where a program's option counts headers (or thinks a kilobit
to be 1024 bits), the option is set so that as much payload leaves as from the others.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from typing import ClassVar

from rig.race import Side, wait_until_grown
from rig.watch import Child

SOCKET_BYTES = 4 << 20


class Uftp(Side):
    """Debian's uftp 4.10: blocks of 1400 bytes, buffers of 4 MiB, a round trip of a LAN.

    `-R` is in units of 1024 bit/s and counts UDP, IP and its own 28 bytes a block.  The daemon
    writes a line into its status file when it has the file.
    """

    name = "uftp"
    BLOCK_BYTES = 1400
    HEADER_BYTES = 56
    FASTEST_KBITS = -1

    def receive(self, host: int) -> None:
        status = self.copy(host).parent / "status"
        self.receivers[host] = self.start(
            host,
            ["uftpd", "-d", "-q", "-x", "1", "-B", str(SOCKET_BYTES), "-I", "eth0", "-c", "4194304",
             "-D", str(status.parent), "-F", str(status)],
        )  # fmt: skip

    def wait_ready(self) -> None:
        wait_until_grown(self, 0.7)
        words = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "uftp"],
                               capture_output=True, text=True)  # fmt: skip
        self.version = f"uftp {words.stdout}"

    def rate_words(self) -> list[str]:
        bits = self.cell.rate_bits_per_s * (self.BLOCK_BYTES + self.HEADER_BYTES) / self.BLOCK_BYTES
        if self.cell.find_rate:
            most = round(self.cell.link_mbit * 1000)
            return ["-C", f"tfmcc:min=1000:init={most // 10}:max={most}"]
        return ["-R", str(round(bits / 1024) if bits else self.FASTEST_KBITS)]

    def send(self) -> float:
        began = time.monotonic()
        hosts = ",".join(f"0x0A4D00{host + 1:02X}" for host in range(1, self.cell.receivers + 1))
        self.sender = self.start(
            0,
            ["uftp", "-I", "eth0", "-B", str(SOCKET_BYTES), "-b", str(self.BLOCK_BYTES),
             "-r", "0.02:0.01:1.0", "-x", "1", "-H", hosts, *self.rate_words(),
             str(self.source.path)],
        )  # fmt: skip
        return began

    def done_at(self, host: int) -> float | None:
        status = self.copy(host).parent / "status"
        with contextlib.suppress(OSError):
            if "RESULT;" in status.read_text():
                return time.monotonic()
        return None


class Udpcast(Side):
    """Debian's udpcast, full duplex (a switch has it), slices left to it, no compression.

    `--max-bitrate` counts UDP, IP and its own 16 bytes a block.  It writes in order, so its
    receiver has the file when the file is as long as the source; it ends 0.5 s later.  A receiver
    that misses the answer to its greeting asks again only when greeted again, and who starts
    without it waits for ever: so there are two seconds of greetings, and the clock starts after.
    """

    name = "udpcast"
    BLOCK_BYTES = 1456
    HEADER_BYTES = 44

    def receive(self, host: int) -> None:
        self.receivers[host] = self.start(
            host,
            ["udp-receiver", "--nokbd", "--interface", "eth0", "--rcvbuf", str(SOCKET_BYTES),
             "--file", str(self.copy(host))],
        )  # fmt: skip

    def wait_ready(self) -> None:
        wait_until_grown(self, 0.5)
        words = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "udpcast"],
                               capture_output=True, text=True)  # fmt: skip
        self.version = f"udpcast {words.stdout}"

    def rate_words(self) -> list[str]:
        bits = self.cell.rate_bits_per_s * (self.BLOCK_BYTES + self.HEADER_BYTES) / self.BLOCK_BYTES
        if self.cell.find_rate or not bits:
            return []
        return ["--max-bitrate", f"{round(bits / 1000)}k"]

    def send(self) -> float:
        self.sender = self.start(
            0,
            ["udp-sender", "--nokbd", "--interface", "eth0", "--full-duplex", "--nopointopoint",
             "--rexmit-hello-interval", "200", "--min-receivers", str(self.cell.receivers),
             "--min-wait", "0" if self.cell.late_s else "2", "--file", str(self.source.path),
             *self.rate_words()],
        )  # fmt: skip
        if self.cell.late_s:
            return time.monotonic()
        return self.sender.hear_text("Starting transfer", 10)

    def ended(self) -> bool:
        return all(child.exit_code is not None for child in self.children())

    def done_at(self, host: int) -> float | None:
        with contextlib.suppress(OSError):
            if self.copy(host).stat().st_size == self.source.size:
                return time.monotonic()
        return None


class UdpcastFec(Udpcast):
    """The same with Reed-Solomon stripes."""

    name = "udpcast+fec"

    def rate_words(self) -> list[str]:
        return [*super().rate_words(), "--fec", "8x8/128"]


class Norm(Side):
    """Debian's libnorm through a small program: blocks of 64 + 8 (no loss) or 64 + 16, of which
    8 go ahead; the round trip of a LAN, the real size of the group, buffers of 4 MiB."""

    name = "norm"
    FASTEST_BITS_PER_S: ClassVar = {1: 900e6, 4: 450e6}
    """It has no rate "as fast as it goes"; these are what it carried here."""

    def _words(self) -> list[str]:
        return ["--receivers", str(self.cell.receivers)]

    def receive(self, host: int) -> None:
        copy = self.copy(host)
        words = ["--name", copy.name, *self._words()]
        self.receivers[host] = self.python(
            host, "norm_side.py", "receive", f"{copy.parent}/", str(host), *words
        )

    def _start_sender(self) -> Child:
        cell = self.cell
        rate = cell.rate_bits_per_s or self.FASTEST_BITS_PER_S.get(cell.receivers, 240e6)
        parity, ahead = (16, 8) if cell.loss else (8, 0)
        words = ["--rate", str(rate), "--parity", str(parity), "--auto", str(ahead)]
        if cell.find_rate:
            words += ["--cc", "cc"]
        return self.python(0, "norm_side.py", "send", str(self.source.path), *words, *self._words())

    def wait_ready(self) -> None:
        self.sender = self._start_sender()
        for child in self.children():
            self.version = child.hear("ready", 10)["version"]
        time.sleep(0.3)

    def send(self) -> float:
        assert self.sender is not None
        self.sender.say("go")
        return time.monotonic()

    def done_at(self, host: int) -> float | None:
        found = self.receivers[host].heard.get("done")
        return found[0] if found else None

    def stop(self) -> None:
        for child in self.receivers.values():
            child.stop(signal.SIGTERM)
        super().stop()


SIDES: dict[str, type[Side]] = {side.name: side for side in (Uftp, Udpcast, UdpcastFec, Norm)}
