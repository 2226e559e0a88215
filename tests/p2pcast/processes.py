"""A forest whose every node is a process of its own, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from random import Random

from spinney.lab._forest_process import unpacked
from spinney.p2pcast.place import SOURCE, Name, Place
from spinney.p2pcast.plans.checks import Broken, whole

START_S = 60.0
"""A process that says nothing for so long never will."""
LINE_BYTES = 1 << 20


class Fleet:
    """`patience`: by how many times this machine is slower than one for so many processes."""

    def __init__(
        self, seed: int, *, stripes: int, spare: int, patience: float, state: str = ""
    ) -> None:
        """`state`: the registry's folder."""
        self.rng = Random(seed)
        self.shape = ["--stripes", str(stripes), "--spare", str(spare)]
        self.shape += ["--state", state] if state else []
        self.registry = "open"
        self.patience = ["--patience", str(patience)]
        self.link = ""
        self.places: dict[int, dict[Name, Place]] = {}
        """What each process said of its seats last, by process id."""
        self.ready: dict[int, Name] = {}
        self.kills = 0
        self._processes: dict[int, Process] = {}
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._source = 0

    async def __aenter__(self) -> Fleet:
        self._source = await self._start("source", *self.shape)
        await self._until(lambda: bool(self.link), START_S)
        return self

    async def __aexit__(self, *error: object) -> None:
        for pid in list(self._processes):
            self._end(pid)
        await asyncio.gather(*self._readers.values(), return_exceptions=True)

    async def _start(self, *arguments: str) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "spinney.lab._forest_process",
            *arguments,
            *self.patience,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            limit=LINE_BYTES,
        )
        self._processes[process.pid] = process
        self.places[process.pid] = {}
        self._readers[process.pid] = asyncio.create_task(self._read(process))
        return process.pid

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if "places" in said and process.pid in self.places:
                rows = map(unpacked, said["places"])
                self.places[process.pid] = {place.name: place for place in rows}
            elif "registry" in said:
                self.registry = said["registry"]
            elif "ready" in said:
                if isinstance(said["ready"], str):
                    self.link = said["ready"]
                else:
                    self.ready[process.pid] = said["ready"]
        await process.wait()

    def _end(self, pid: int) -> None:
        """SIGKILL, to a process that we started."""
        self._processes.pop(pid)
        self.places.pop(pid, None)
        self.ready.pop(pid, None)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def _until(self, holds: object, limit_s: float) -> float:
        began = time.monotonic()
        while not holds():  # type: ignore[operator]
            assert time.monotonic() - began < limit_s, self.said()
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    # -- the story ------------------------------------------------------------------------

    async def grow(self, count: int, *, at_once: int = 6, limit_s: float = START_S) -> None:
        """So many viewers, and so many at once, until all have joined."""
        for first in range(0, count, at_once):
            for _ in range(min(at_once, count - first)):
                await self.come()
            await self._until(lambda: self._all_joined, limit_s)

    async def come(self) -> int:
        return await self._start("viewer", self.link)

    def end(self) -> None:
        """One of those that have joined, at random."""
        self._end(self.rng.choice(sorted(self.ready)))
        self.kills += 1

    async def kill(self) -> None:
        """One of those that have joined, at random; another comes at once."""
        self.end()
        await self.come()

    async def switch(self, registry: str) -> None:
        """The source's registry: `closed`, or `open` again."""
        number = signal.SIGUSR1 if registry == "closed" else signal.SIGUSR2
        os.kill(self._source, number)
        await self._until(lambda: self.registry == registry, START_S)

    async def churn(self, seconds: float, pause_s: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self.kill()
            await asyncio.sleep(pause_s * self.rng.uniform(0.5, 1.5))

    # -- from above -----------------------------------------------------------------------

    def all_places(self) -> dict[Name, Place]:
        return {name: place for each in self.places.values() for name, place in each.items()}

    def broken(self) -> Broken | None:
        places = self.all_places()
        if SOURCE not in places:
            return Broken([("source", "it has said nothing yet")])
        try:
            whole(places)
        except Broken as broken:
            return broken
        return None

    def said(self) -> str:
        rows = f"{len(self.all_places())} places, {len(self.ready)} ready, {self.kills} kills"
        return f"{rows}\n{self.broken()}"

    async def mended(self, limit_s: float) -> float:
        """Seconds until every rule holds for those who have joined."""
        return await self._until(lambda: self.broken() is None, limit_s)

    async def whole(self, limit_s: float) -> float:
        """Seconds until all who were started have joined, and every rule holds."""
        return await self._until(lambda: self._all_joined and self.broken() is None, limit_s)

    @property
    def _all_joined(self) -> bool:
        seen = all(self.places[pid] for pid in self._processes)
        return seen and len(self.ready) == len(self._processes) - 1
