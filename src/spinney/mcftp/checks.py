"""What must hold of every group at every moment, for tests, simulator and lab.

Safety: a term of a reign has at most one leader; whatever a transfer calls verified is right.
"""

from __future__ import annotations

from collections.abc import Iterable

from spinney.mcftp.node import McftpNode


class Broken(AssertionError):
    """Something that must never be was seen."""


class LeaderCheck:
    """Who was seen to lead which term of which reign; kept over a whole scenario."""

    def __init__(self) -> None:
        self.seen: dict[tuple[bytes, int], bytes] = {}

    def look(self, nodes: Iterable[McftpNode]) -> None:
        """Raises `Broken` if a term has two leaders."""
        for node in nodes:
            if node.leading is None:
                continue
            election = node.election
            key = (election.reign, election.leader_term)
            leader = self.seen.setdefault(key, node.keys.peer)
            if leader != node.keys.peer:
                raise Broken(
                    f"term {key[1]} of reign {key[0].hex()} has two leaders: "
                    f"{leader.hex()[:8]} and {node.keys.peer.hex()[:8]}"
                )

    @property
    def terms(self) -> int:
        """How many terms there were, in all reigns."""
        return len(self.seen)


def agree(nodes: Iterable[McftpNode]) -> bool:
    """Is there one leader, and does everybody follow it?"""
    rows = [node for node in nodes if node.group is not None]
    leaders = [node for node in rows if node.leading is not None]
    return len(leaders) == 1 and all(node.election.leader == leaders[0].keys.peer for node in rows)
