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
        for readable in select.select([server, sys.stdin, *peers], [], [])[0]:
            if readable is server:
                peers.append(server.accept()[0])
            elif readable is sys.stdin:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                print(json.dumps({word: total}), flush=True)
            else:
                total += readable.recv_into(buffer)


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
