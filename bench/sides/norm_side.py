"""One end of a NORM file transfer, through Debian's libnorm: JSON lines on stdout.

    norm_side.py send FILE --receivers N --rate BITS_PER_S --parity P --auto A [--cc] [...]
    norm_side.py receive FOLDER NODE [...]

A sender says {"ready"}, sends at a line on stdin, and ends when every receiver has acknowledged
all of it ({"acked"}).  A receiver says {"ready"}, {"done", "at"} once the file is whole, and then
goes on answering until its standard input ends.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import select
import sys
import time
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_double,
    c_int,
    c_long,
    c_ubyte,
    c_uint,
    c_uint16,
    c_uint32,
    c_void_p,
)
from pathlib import Path

GROUP, PORT = "239.192.77.7", 6003
SENDER_NODE = 1000
SEGMENT_BYTES = 1400
BLOCK_SEGMENTS = 64
BUFFER_BYTES = 64 << 20
SOCKET_BYTES = 4 << 20
TX_WATERMARK_COMPLETED, RX_OBJECT_NEW, RX_OBJECT_COMPLETED, RX_OBJECT_ABORTED = 4, 17, 20, 21
ACK_SUCCESS = 3
SYNC_ALL = 2


class Event(Structure):
    _fields_ = (
        ("type", c_int),
        ("session", c_void_p),
        ("sender", c_void_p),
        ("object", c_void_p),
    )


def load() -> ctypes.CDLL:
    library = ctypes.CDLL("libnorm.so.1")
    signatures: dict[str, tuple[object, list[object]]] = {
        "NormCreateInstance": (c_void_p, [c_bool]),
        "NormSetCacheDirectory": (c_bool, [c_void_p, c_char_p]),
        "NormGetNextEvent": (c_bool, [c_void_p, POINTER(Event), c_bool]),
        "NormGetDescriptor": (c_int, [c_void_p]),
        "NormCreateSession": (c_void_p, [c_void_p, c_char_p, c_uint16, c_uint32]),
        "NormSetMulticastInterface": (c_bool, [c_void_p, c_char_p]),
        "NormSetTTL": (c_bool, [c_void_p, c_ubyte]),
        "NormSetTxRate": (None, [c_void_p, c_double]),
        "NormSetTxRateBounds": (None, [c_void_p, c_double, c_double]),
        "NormSetCongestionControl": (None, [c_void_p, c_bool, c_bool]),
        "NormSetEcnSupport": (None, [c_void_p, c_bool, c_bool, c_bool]),
        "NormSetGrttEstimate": (None, [c_void_p, c_double]),
        "NormSetGrttMax": (None, [c_void_p, c_double]),
        "NormSetBackoffFactor": (None, [c_void_p, c_double]),
        "NormSetGroupSize": (None, [c_void_p, c_uint]),
        "NormSetTxCacheBounds": (None, [c_void_p, c_long, c_uint32, c_uint32]),
        "NormSetAutoParity": (None, [c_void_p, c_ubyte]),
        "NormStartSender": (
            c_bool,
            [c_void_p, c_uint16, c_uint32, c_uint16, c_uint16, c_uint16, c_ubyte],
        ),
        "NormSetTxSocketBuffer": (c_bool, [c_void_p, c_uint]),
        "NormSetRxSocketBuffer": (c_bool, [c_void_p, c_uint]),
        "NormAddAckingNode": (c_bool, [c_void_p, c_uint32]),
        "NormFileEnqueue": (c_void_p, [c_void_p, c_char_p, c_char_p, c_uint]),
        "NormSetWatermark": (c_bool, [c_void_p, c_void_p, c_bool]),
        "NormGetAckingStatus": (c_int, [c_void_p, c_uint32]),
        "NormStartReceiver": (c_bool, [c_void_p, c_uint32]),
        "NormSetDefaultSyncPolicy": (None, [c_void_p, c_int]),
        "NormSetRxPortReuse": (None, [c_void_p, c_bool, c_char_p, c_char_p, c_uint16]),
        "NormFileRename": (c_bool, [c_void_p, c_char_p]),
        "NormGetVersion": (c_int, [POINTER(c_int)] * 3),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def say(**row: object) -> None:
    print(json.dumps(row), flush=True)


class End:
    """What both ends share: an instance, a session, the wait for events."""

    def __init__(self, chosen: argparse.Namespace, node: int, folder: str) -> None:
        self.norm = load()
        self.instance = self.norm.NormCreateInstance(False)
        self.norm.NormSetCacheDirectory(self.instance, folder.encode())
        self.session = self.norm.NormCreateSession(self.instance, GROUP.encode(), PORT, node)
        self.norm.NormSetMulticastInterface(self.session, chosen.interface.encode())
        self.norm.NormSetTTL(self.session, 1)
        self.norm.NormSetRxPortReuse(self.session, True, None, None, 0)
        self.norm.NormSetGroupSize(self.session, max(1, chosen.receivers))
        self.norm.NormSetBackoffFactor(self.session, chosen.backoff)
        self.descriptor = self.norm.NormGetDescriptor(self.instance)

    def version(self) -> str:
        parts = [c_int(), c_int(), c_int()]
        self.norm.NormGetVersion(*(byref(part) for part in parts))
        return ".".join(str(part.value) for part in parts)

    def events(self) -> list[Event]:
        """Waits for events; none once standard input has ended."""
        readable, _, _ = select.select([self.descriptor, sys.stdin], [], [])
        if sys.stdin in readable and not sys.stdin.readline():
            return []
        found = [Event()]
        while self.norm.NormGetNextEvent(self.instance, byref(found[-1]), False):
            found.append(Event())
        return found  # the last one is empty: never nothing


def send(chosen: argparse.Namespace) -> None:
    end = End(chosen, SENDER_NODE, str(Path(chosen.path).parent))
    norm, session = end.norm, end.session
    norm.NormSetTxRate(session, chosen.rate)
    if chosen.cc:
        norm.NormSetCongestionControl(session, True, True)
        norm.NormSetTxRateBounds(session, -1.0, chosen.rate)
        if chosen.cc == "ccl":
            norm.NormSetEcnSupport(session, False, False, True)
    norm.NormSetGrttEstimate(session, chosen.grtt)
    norm.NormSetGrttMax(session, chosen.grtt_max)
    norm.NormSetTxCacheBounds(session, 1 << 33, 1, 16)
    norm.NormStartSender(session, 1, BUFFER_BYTES, SEGMENT_BYTES, BLOCK_SEGMENTS, chosen.parity, 0)
    norm.NormSetAutoParity(session, chosen.auto)
    norm.NormSetTxSocketBuffer(session, SOCKET_BYTES)
    norm.NormSetRxSocketBuffer(session, SOCKET_BYTES)
    for node in range(1, chosen.receivers + 1):
        norm.NormAddAckingNode(session, node)
    say(ready=True, version=f"libnorm {end.version()}")
    sys.stdin.readline()
    name = Path(chosen.path).name.encode()
    item = norm.NormFileEnqueue(session, chosen.path.encode(), name, len(name))
    norm.NormSetWatermark(session, item, True)
    while events := end.events():
        for event in events:
            if event.type == TX_WATERMARK_COMPLETED:
                if norm.NormGetAckingStatus(session, 0xFFFFFFFF) == ACK_SUCCESS:
                    say(acked=True, at=time.monotonic())
                    return
                norm.NormSetWatermark(session, item, True)  # somebody did not answer: again


def receive(chosen: argparse.Namespace) -> None:
    end = End(chosen, chosen.node, chosen.path)
    norm = end.norm
    norm.NormSetDefaultSyncPolicy(end.session, SYNC_ALL)
    norm.NormStartReceiver(end.session, BUFFER_BYTES)
    norm.NormSetRxSocketBuffer(end.session, SOCKET_BYTES)
    norm.NormSetTxSocketBuffer(end.session, SOCKET_BYTES)
    say(ready=True, version=f"libnorm {end.version()}")
    while events := end.events():
        for event in events:
            if event.type == RX_OBJECT_NEW:
                target = Path(chosen.path) / chosen.name
                norm.NormFileRename(event.object, str(target).encode())
            elif event.type == RX_OBJECT_COMPLETED:
                say(done=True, at=time.monotonic())
            elif event.type == RX_OBJECT_ABORTED:
                say(aborted=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("path")
    parser.add_argument("node", type=int, nargs="?", default=0)
    parser.add_argument("--name", default="data.bin")
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--receivers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=190e6)
    parser.add_argument("--parity", type=int, default=16)
    parser.add_argument("--auto", type=int, default=8)
    parser.add_argument("--backoff", type=float, default=4.0)
    parser.add_argument("--grtt", type=float, default=0.01)
    parser.add_argument("--grtt-max", type=float, default=0.5)
    parser.add_argument("--cc", choices=["cc", "ccl"])
    chosen = parser.parse_args()
    (send if chosen.role == "send" else receive)(chosen)


if __name__ == "__main__":
    main()
