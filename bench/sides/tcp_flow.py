"""One TCP flow: `sink ADDRESS` counts what comes, `source ADDRESS` sends as fast as it goes.

The sink prints {"ready"}, and for every line on stdin the bytes so far under that word.
"""

from __future__ import annotations

import json
import select
import socket
import sys

PORT = 5201


def sink(address: str) -> None:
    server = socket.create_server((address, PORT))
    print(json.dumps({"ready": True}), flush=True)
    total = 0
    buffer = bytearray(1 << 20)
    peers: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([server, sys.stdin, *peers], [], [])
        if server in ready:
            peers.append(server.accept()[0])
        if sys.stdin in ready:
            word = sys.stdin.readline().strip()
            if not word:
                return
            print(json.dumps({word: total}), flush=True)
        total += sum(peer.recv_into(buffer) for peer in peers if peer in ready)


def main() -> None:
    role, address = sys.argv[1:3]
    if role == "sink":
        sink(address)
        return
    with socket.create_connection((address, PORT)) as peer:
        print(json.dumps({"ready": True}), flush=True)
        block = bytes(1 << 17)
        while True:
            peer.sendall(block)


if __name__ == "__main__":
    main()
