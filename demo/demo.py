"""A real file arrives, whole and verified, at eight peers.  `make demo` runs this.

One `spinney share` with a modest upload rate and eight `spinney get`, each a process of its
own on this machine's loopback; all copies are read back and compared.  First by multicast beside
the swarm (loopback, TTL 0: nothing reaches the network), then by the swarm alone.

    python demo/demo.py [--size 64] [--getters 8] [--up 12M] [--plain] [--keep]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from view import LiveView, PlainView, State, summary

MIB = 1 << 20
TIME_LIMIT_S = 55.0
"""The demo ends within a minute, whatever happens."""
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Linux: a child whose parent is killed is killed too."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """One `spinney VERB ... --json`, its events read by a thread into a `State`."""

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.state = State(name)
        self.ready = threading.Event()
        self.link = ""
        self.log = log
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        with log.open("w") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "spinney", *arguments, "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            event = json.loads(line)
            self.state.heard(event, time.monotonic())
            if event["event"] == "ready":
                self.link = event["link"]
                self.ready.set()
        self.ready.set()

    def failed(self) -> bool:
        return self.state.done_at is None and self._child.poll() not in (None, 0)

    def why(self) -> str:
        words = self.log.read_text(errors="replace").strip().splitlines()
        return f"{self.state.name} ended: {words[-1] if words else 'without a word'}"

    def interrupt(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self._child.poll() is None:
            self._child.terminate()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._thread.join(2)


@contextlib.contextmanager
def cleaned_up(keep: bool) -> Iterator[tuple[Path, list[Process]]]:
    """A folder, and processes that end with it, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="spinney-demo-"))
    processes: list[Process] = []

    def on_term(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_term)
    try:
        yield folder, processes
    finally:
        for process in processes:  # all at once: they leave side by side
            with contextlib.suppress(ProcessLookupError):
                process.interrupt()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.stop()
        if keep:
            print(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def make_file(path: Path, size: int) -> str:
    """Random bytes, different at every run; their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_rate(text: str) -> int:
    units = {"k": 1_000, "M": 1_000_000}
    return int(float(text.rstrip("kM")) * units.get(text[-1], 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, metavar="MIB", help="of the file")
    parser.add_argument("--getters", type=int, default=8)
    parser.add_argument("--up", default="12M", help="what each machine may send, bytes a second")
    parser.add_argument("--plain", action="store_true", help="lines instead of the live view")
    parser.add_argument("--keep", action="store_true", help="leave the files in their folder")
    options = parser.parse_args()
    with cleaned_up(options.keep) as (folder, processes):
        try:
            return run(options, folder, processes)
        except KeyboardInterrupt:
            print("\nStopped; everything is cleaned up.")
            return 130


class Act:
    """The file on its way from the sharer to all getters, once."""

    def __init__(self, options: argparse.Namespace, folder: Path, *, multicast: bool) -> None:
        self.options = options
        self.folder = folder / ("multicast" if multicast else "swarm")
        self.folder.mkdir()
        self.multicast = multicast
        self.processes: list[Process] = []
        self.off = ""
        """Why there is no multicast, if there is none."""
        self.view: PlainView | None = None

    def share(self, original: Path, processes: list[Process]) -> bool:
        """False: it would not start, or not as wished."""
        options = self.options
        self.common = ["--interface", "lo", "--port", "0", "--no-lan", "--up", options.up]
        self.common += ["--ttl", "0"] if self.multicast else ["--no-multicast"]
        share = ["share", str(original), "--torrent-out", str(self.folder / "forest.torrent")]
        if self.multicast:
            share += ["--rate", options.up, "--wait-for", str(options.getters)]
            share += ["--wait-at-most", "12"]
        sharer = Process("sharer", [*share, *self.common], self.folder / "sharer.log")
        self.processes.append(sharer)
        processes.append(sharer)
        if not sharer.ready.wait(20) or not sharer.link:
            print(sharer.why())
            return False
        self.off = sharer.state.multicast_off if self.multicast else ""
        return not self.off

    def get(self, processes: list[Process]) -> None:
        link = self.processes[0].link
        for number in range(1, self.options.getters + 1):
            get = ["get", link, "-o", str(self.folder / f"getter{number}"), *self.common]
            get += ["--seed-time", "120"]
            getter = Process(f"getter {number}", get, self.folder / f"getter{number}.log")
            self.processes.append(getter)
            processes.append(getter)

    @property
    def getters(self) -> list[State]:
        return [process.state for process in self.processes[1:]]

    @property
    def sharer(self) -> State:
        return self.processes[0].state

    def watch(self, size: int, until: float) -> str:
        """Draws until all are done; what went wrong, or nothing."""
        options = self.options
        live = sys.stdout.isatty() and not options.plain
        ways = "by multicast, beside the swarm" if self.multicast else "by the swarm alone"
        title = f"one file, {options.getters} peers: {ways}"
        view = (LiveView if live else PlainView)(self.sharer, self.getters, size, title)
        with view:
            while not all(getter.done_at for getter in self.getters):
                broken = next((one for one in self.processes if one.failed()), None)
                if broken is not None:
                    return broken.why()
                if time.monotonic() > until:
                    return f"Not done within {TIME_LIMIT_S:.0f} s."
                view.draw()
                time.sleep(0.1)
            time.sleep(0.6)  # the last word of the sharer
            view.draw()
        return ""

    def stop(self) -> None:
        """Their last progress says what they sent."""
        for process in self.processes:
            process.interrupt()
        for process in self.processes:
            process.stop()

    def right(self, name: str, digest: str) -> list[bool]:
        copies = [self.folder / f"getter{n + 1}" / name for n in range(self.options.getters)]
        return [copy.is_file() and hash_of(copy) == digest for copy in copies]


def run(options: argparse.Namespace, folder: Path, processes: list[Process]) -> int:
    until = time.monotonic() + TIME_LIMIT_S
    size, rate = options.size * MIB, parse_rate(options.up)
    original = folder / "forest.bin"
    print(f"Making a file of {options.size} MiB, different at every run ...")
    digest = make_file(original, size)
    acts: list[Act] = []
    for multicast in (True, False):
        act = Act(options, folder, multicast=multicast)
        if not act.share(original, processes):
            act.stop()
            if not act.off:
                return 1
            print(f"No multicast on this machine ({act.off}): the swarm does it alone.")
            continue
        more = f"--ttl 0 --wait-for {options.getters}" if multicast else "--no-multicast"
        print(f"\n$ spinney share forest.bin --up {options.up} {more}\n{act.processes[0].link}\n")
        act.get(processes)
        wrong = act.watch(size, until)
        act.stop()
        if wrong:
            print(wrong)
            if not acts:
                return 1
            break  # the main job is done; a slow machine has no time to compare
        right = act.right(original.name, digest)
        if not all(right):
            print(f"ONLY {sum(right)} of {len(right)} copies are right")
            return 1
        acts.append(act)
    for line in summary(
        [(act.multicast, act.sharer, act.getters) for act in acts], size, rate, digest
    ):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
