"""How many joins our registry answers in a second, live over loopback, and what a peer costs it.

python bench/registry.py [--joins 20000] [--peers 10000] [--streams 100]

The registry runs in a process of its own.  First `--peers` peers join `--streams` streams, each
with a key of its own; then `--joins` of them join again, each call signed anew beforehand, so
that what is measured is the registry: token, signature, choice of 16 contacts, ticket.
`--window` calls are under way at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "src"))

from spinney.net.live import LiveHost
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.trust.keys import Keys
from spinney.wire.krpc_messages import decode_message, encode_query

WAIT_S = 5.0


async def serve() -> None:
    """The child: serves until its input ends; tells its processor time for each line it reads."""
    host = LiveHost()
    settings = RegistrySettings(port=0, addresses=("127.0.0.1",), expiry_s=3_600.0)
    node = RegistryNode(host, settings, Keys(host.entropy(32)))
    await node.start()
    print(node.port, flush=True)
    while await host.work(sys.stdin.readline):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        row = {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_kib": usage.ru_maxrss}
        print(json.dumps({**row, "peers": node.desk.registry.member_count}), flush=True)
    await node.close()
    host.close()


class Client:
    """Asks from one port, `window` calls at a time; a lost one is sent again."""

    def __init__(self, port: int, window: int) -> None:
        self.window = window
        self.again = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(WAIT_S)

    def token(self, stream: bytes) -> bytes:
        ask = m.AskToken(stream)
        self.socket.send(encode_query(b"tttt", ask.method, codec.encode_ask(ask)))
        return codec.decode_token(decode_message(self.socket.recv(2_048))[2][b"r"]).token

    def ask(self, queries: list[bytes]) -> int:
        """Sends them all; how many bytes came back."""
        waiting: dict[bytes, bytes] = {}
        left, size = iter(queries), 0
        for query in left:
            waiting[query[-11:-7]] = query
            self.socket.send(query)
            if len(waiting) >= self.window:
                break
        while waiting:
            try:
                answer = self.socket.recv(2_048)
            except TimeoutError:
                self.again += len(waiting)
                for query in waiting.values():
                    self.socket.send(query)
                continue
            assert answer.endswith(b"1:y1:re"), answer
            size += len(answer)
            if waiting.pop(answer[-11:-7], None) is not None:
                query = next(left, None)
                if query is not None:
                    waiting[query[-11:-7]] = query
                    self.socket.send(query)
        return size


def joins(
    keys: list[Keys], streams: list[bytes], token: bytes, count: int, turn: int
) -> list[bytes]:
    rows = []
    for n in range(count):
        at = n % len(keys)
        said = m.Join(streams[at % len(streams)], token)
        arguments = codec.sign(keys[at], turn + n, said)
        rows.append(encode_query(n.to_bytes(4, "big"), m.Join.method, arguments))
    return rows


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    child = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    client = Client(int(child.stdout.readline()), arguments.window)

    def used() -> dict[str, float]:
        child.stdin.write("?\n")
        child.stdin.flush()
        row: dict[str, float] = json.loads(child.stdout.readline())
        return row

    empty = used()
    sources = [Keys(b"source".ljust(28) + n.to_bytes(4, "big")) for n in range(arguments.streams)]
    streams = [m.stream_of(keys.public) for keys in sources]
    peers = [Keys(b"peer".ljust(28) + n.to_bytes(4, "big")) for n in range(arguments.peers)]
    token = client.token(streams[0])
    client.ask(joins(sources, streams, token, len(sources), 1))
    client.ask(joins(peers, streams, token, len(peers), 1))
    queries = joins(peers, streams, client.token(streams[0]), arguments.joins, 1_000_000)
    before, began, own = used(), time.perf_counter(), time.process_time()
    size = client.ask(queries)
    own, clock, after = time.process_time() - own, time.perf_counter() - began, used()
    child.stdin.close()
    child.wait()
    return {
        "joins_per_cpu_s": arguments.joins / (after["cpu_s"] - before["cpu_s"]),
        "joins_per_s": arguments.joins / clock,
        "cpu_s": after["cpu_s"] - before["cpu_s"],
        "client_cpu_s": own,
        "client_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "again": client.again,
        "asked_bytes": sum(map(len, queries)) / len(queries),
        "answered_bytes": size / len(queries),
        "peers": after["peers"],
        "memory_mib": after["memory_kib"] / 1024,
        "memory_mib_empty": empty["memory_kib"] / 1024,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--joins", type=int, default=20_000)
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return 0
    row = measure(arguments)
    print(f"{row['joins_per_cpu_s']:,.0f} joins a second of one core")
    print(f"{row['joins_per_s']:,.0f} joins a second by the clock (client here too)")
    print(
        f"{row['cpu_s']:.2f} s of processor time in the registry, {row['client_cpu_s']:.2f} s in "
        f"the client; {row['again']:.0f} calls were sent again"
    )
    print(f"{row['asked_bytes']:.0f} bytes a question, {row['answered_bytes']:.0f} bytes an answer")
    print(
        f"{row['peers']:,.0f} peers in {arguments.streams} streams; memory "
        f"{row['memory_mib_empty']:.0f} MiB empty, {row['memory_mib']:.0f} MiB now "
        f"(the client, with all its keys: {row['client_memory_mib']:.0f} MiB)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
