"""A trace of the run: one JSON object a line, for reading and for `lab replay --trace`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinney.net.host import Address
    from spinney.sim.datagrams import SimDatagrams

SHOWN_BYTES = 48
"""A trace shows so much of each datagram, in hex."""


class Trace:
    """Writes events to a file; every object has `time` (virtual seconds) and `event`."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (closed by the world)

    def event(self, time: float, event: str, **fields: Any) -> None:
        self._file.write(json.dumps({"time": round(time, 9), "event": event, **fields}) + "\n")

    def datagram(self, time: float, source: Address, to: SimDatagrams, data: bytes) -> None:
        self.event(
            time,
            "datagram",
            host=to.host.name,
            source=source,
            local=to.local_address,
            bytes=len(data),
            head=data[:SHOWN_BYTES].hex(),
        )

    def close(self) -> None:
        self._file.close()
