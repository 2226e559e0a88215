"""A bare multicast probe for the laboratory's own test.

probe.py send GROUP PORT COUNT PER_S     numbered datagrams of 1000 bytes
probe.py receive GROUP PORT              {"ready"}; at a line on stdin: which numbers came
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

DATAGRAM_BYTES = 1000
BUFFER_BYTES = 4 << 20


def _request(group: str) -> bytes:
    """`struct ip_mreqn`: group, any address, interface."""
    return struct.pack("=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex("eth0"))


def send(group: str, port: int, count: int, per_s: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _request("0.0.0.0"))
        plug.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        padding = bytes(DATAGRAM_BYTES - 4)
        began = time.monotonic()
        for number in range(count):
            plug.sendto(number.to_bytes(4, "big") + padding, (group, port))
            ahead = number / per_s - (time.monotonic() - began)
            if ahead > 0.001:
                time.sleep(ahead)


def receive(group: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        plug.bind((group, port))
        plug.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _request(group))
        print(json.dumps({"ready": True}), flush=True)
        came = 0
        while True:
            readable, _, _ = select.select([plug, sys.stdin], [], [])
            if plug in readable:
                came |= 1 << int.from_bytes(plug.recv(2048)[:4], "big")
            elif not (word := sys.stdin.readline().strip()):
                return
            else:
                print(json.dumps({word: hex(came)}), flush=True)
                came = 0


def main() -> None:
    role, group, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if role == "send":
        send(group, port, int(sys.argv[4]), float(sys.argv[5]))
    else:
        receive(group, port)


if __name__ == "__main__":
    main()
