"""`Batches`: many datagrams by one call of the system (`recvmmsg`, Linux).

Each message has a slot and a spill behind it.  Slots lie side by side and are as long as the
datagrams that came last, so that equal datagrams lie in memory as if they had come as one burst;
what is longer, such as datagrams that the system merged (UDP_GRO), runs over into the spill.
Python's `socket` has no such call; where the C library has none either, `available` is False.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import sys
from collections.abc import Iterator

from spinney.net.host import Address
from spinney.net.live.sockets import address_of

MESSAGES = 64
"""Datagrams of one call: 4 ms at 200 Mbit/s."""
FIRST_SLOT_BYTES = 2_048
LEAST_SLOT_BYTES = 256
SPILL_BYTES = 1 << 16
SPILL_STRIDE_BYTES = FIRST_SLOT_BYTES + SPILL_BYTES
"""Before each spill there is room for what the slot has taken, so that both can be joined."""
NAME_BYTES = 28
"""Of an IPv6 socket address, the longest."""
CONTROL_BYTES = 64
KNOWN_NAMES = 1_024
"""Addresses in the system's form whose readable form is kept; then dropped all at once."""
DONTWAIT = 0x40
SOL_UDP, UDP_GRO = 17, 104


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct mmsghdr` of 64-bit Linux."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
    )


_WORDS = ctypes.sizeof(_Message) // 4
_LENGTH_WORD = _Message.length.offset // 4
_CONTROL_WORD = _Message.control_length.offset // 4


def available() -> bool:
    """Has this system the call, in the form that we know?"""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return False
    return hasattr(ctypes.CDLL(None), "recvmmsg")


class Batches:
    """The memory of one socket's calls: half a MiB is touched, 4 MiB more only by merged ones."""

    def __init__(self) -> None:
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._call.argtypes = (
            ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
        )  # fmt: skip
        self._call.restype = ctypes.c_int
        self._messages = (_Message * MESSAGES)()
        self._iovecs = (_Iovec * (2 * MESSAGES))()
        self._names = ctypes.create_string_buffer(NAME_BYTES * MESSAGES)
        self._controls = ctypes.create_string_buffer(CONTROL_BYTES * MESSAGES)
        self._slots = ctypes.create_string_buffer(FIRST_SLOT_BYTES * MESSAGES)
        self._spills = mmap.mmap(-1, SPILL_STRIDE_BYTES * MESSAGES)
        self._slot_bytes = 0
        self._name_view = memoryview(self._names).cast("B")
        self._control_view = memoryview(self._controls).cast("B")
        self._slot_view = memoryview(self._slots).cast("B")
        self._spill_view = memoryview(self._spills)
        self._message_view = memoryview(self._messages).cast("B")
        self._words = self._message_view.cast("I")
        self._known: dict[bytes, Address] = {}
        self._template = b""
        self._cut(FIRST_SLOT_BYTES)

    def _cut(self, slot_bytes: int) -> None:
        """Lays out slots of this size."""
        self._slot_bytes = slot_bytes
        slots = ctypes.addressof(self._slots)
        spills = ctypes.addressof(ctypes.c_char.from_buffer(self._spills))
        names, controls = ctypes.addressof(self._names), ctypes.addressof(self._controls)
        iovecs = ctypes.addressof(self._iovecs)
        for at in range(MESSAGES):
            self._iovecs[2 * at] = _Iovec(slots + at * slot_bytes, slot_bytes)
            spill = spills + at * SPILL_STRIDE_BYTES + FIRST_SLOT_BYTES
            self._iovecs[2 * at + 1] = _Iovec(spill, SPILL_BYTES)
            self._messages[at] = _Message(
                names + at * NAME_BYTES,
                NAME_BYTES,
                iovecs + 2 * at * ctypes.sizeof(_Iovec),
                2,
                controls + at * CONTROL_BYTES,
                CONTROL_BYTES,
            )
        self._template = bytes(self._message_view)

    def receive(self, descriptor: int) -> list[int]:
        """Reads what is there, up to `MESSAGES` datagrams; their lengths.  Raises `OSError`."""
        self._message_view[:] = self._template
        count = self._call(descriptor, ctypes.addressof(self._messages), MESSAGES, DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, "receiving failed")
        return self._words[_LENGTH_WORD : count * _WORDS : _WORDS].tolist()

    def runs(self, lengths: list[int]) -> Iterator[tuple[memoryview, int, Address]]:
        """(bytes, segment or 0, who) of what came, in order; equal datagrams of one sender as
        one.  A view is valid until the next call of `receive`."""
        slot, view, at, count = self._slot_bytes, self._slot_view, 0, len(lengths)
        names = bytes(self._name_view[: count * NAME_BYTES])
        merged = any(self._words[_CONTROL_WORD : count * _WORDS : _WORDS].tolist())
        # All came from one sender, each by itself: the usual case.
        alike = not merged and names == names[:NAME_BYTES] * count
        while at < count:
            length, end = lengths[at], at + 1
            name = names[at * NAME_BYTES : end * NAME_BYTES]
            segment = self._segment(at) if merged else 0
            if length > slot:
                yield self._long(at, length), segment, self._who(name)
                at = end
                continue
            if length == slot and not segment:
                while (
                    end < count
                    and lengths[end] == slot
                    and (
                        alike
                        or (
                            names[end * NAME_BYTES : (end + 1) * NAME_BYTES] == name
                            and not (merged and self._segment(end))
                        )
                    )
                ):
                    end += 1
            whole = (end - 1) * slot + length
            yield view[at * slot : whole], slot if end - at > 1 else segment, self._who(name)
            at = end
        usual = lengths[count // 2] if count else slot
        if count > 2 and usual != slot and LEAST_SLOT_BYTES <= usual <= FIRST_SLOT_BYTES:
            self._cut(usual)

    def _long(self, at: int, length: int) -> memoryview:
        """One that ran over: what its slot has is put before its spill."""
        slot = self._slot_bytes
        spill = at * SPILL_STRIDE_BYTES + FIRST_SLOT_BYTES
        self._spill_view[spill - slot : spill] = self._slot_view[at * slot : (at + 1) * slot]
        return self._spill_view[spill - slot : spill - slot + length]

    def _segment(self, at: int) -> int:
        """The segments' size if the system merged some into this message, else 0."""
        if self._messages[at].control_length < 20:
            return 0
        control = self._control_view[at * CONTROL_BYTES : (at + 1) * CONTROL_BYTES]
        level = int.from_bytes(control[8:12], "little")
        kind = int.from_bytes(control[12:16], "little")
        if (level, kind) != (SOL_UDP, UDP_GRO):
            return 0
        return int.from_bytes(control[16:20], "little")

    def _who(self, name: bytes) -> Address:
        who = self._known.get(name)
        if who is None:
            if len(self._known) >= KNOWN_NAMES:
                self._known.clear()
            who = self._known[name] = _address(name)
        return who


def _address(name: bytes) -> Address:
    """`struct sockaddr_in` or `sockaddr_in6` as we write it."""
    port = int.from_bytes(name[2:4], "big")
    if int.from_bytes(name[:2], "little") == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    scope = int.from_bytes(name[24:28], "little")
    return address_of((socket.inet_ntop(socket.AF_INET6, name[8:24]), port, 0, scope))
