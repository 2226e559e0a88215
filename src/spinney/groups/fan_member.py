"""A member of a fan-out that is not its hub, pure: registering, keeping alive, succession.

Who succeeds a hub that fell silent: of the members in its last list the one that registered
first, then the next.  Everybody can compute that; the rest register there.  The heir leads when
it finds the hub silent itself; a request by another that already did makes it look sooner.
Whoever finds that all before it are silent leads, and gives way if one of them answers later
(`fan_hub.Hub.elders`).
"""

from __future__ import annotations

from spinney.groups.fan_hub import Out
from spinney.groups.fan_wire import (
    NO_COOKIE,
    Cookie,
    Join,
    Leave,
    Message,
    Moved,
    Row,
    Welcome,
)
from spinney.net.host import Address

KEEP_S = 5.0
ASK_S = 1.0
"""Between requests that nobody answers."""
HUB_LOST_S = 12.0
"""Nothing heard for so long, several requests included: the hub is gone."""
HEIR_S = 8.0
"""So long each heir is asked before the next one's turn."""
HINTED_S = 2.0
"""When another says that the hub is gone, it has so long to answer us."""
HUBS_MAX = 16
"""Hubs that a member remembers to have had."""


class Member:
    """`number` is None until a hub has welcomed us; `lead` asks to become the hub ourselves."""

    def __init__(self, hub: Address, *, send_only: bool, now: float) -> None:
        self.hub = hub
        self.number: int | None = None
        self.members: tuple[Row, ...] = ()
        self.names: dict[int, Address] = {}
        self.lead = False
        self.elders: list[Address] = []
        self.refused = False
        self._send_only = send_only
        self._cookie = NO_COOKIE
        self._heard = now
        self._asked = float("-inf")
        self._answered = True
        self._heirs: list[Row] = []
        self._own_row: Row | None = None
        self._hubs = [hub]

    def hub_spoke(self, now: float) -> None:
        """Something came from the hub."""
        self._heard = now

    def tick(self, now: float) -> list[Out]:
        """What time brings: call it a few times a second."""
        if self.lead or self.refused:
            return []
        patience = HUB_LOST_S if self.number is not None else HEIR_S
        if now - self._heard > patience and (self.members or self._heirs):
            self._next_hub(now)
            if self.lead:
                return []
        every = KEEP_S if self._answered and self.number is not None else ASK_S
        if now - self._asked < every:
            return []
        return self.ask(now)

    def ask(self, now: float) -> list[Out]:
        """A request to the hub, which is also the keep-alive."""
        self._asked, self._answered = now, False
        return [(Join(self._cookie, self._send_only), self.hub)]

    def farewell(self) -> list[Out]:
        return [(Leave(self.number), self.hub)] if self.number is not None else []

    def heard(self, message: Message, remote: Address, now: float) -> list[Out]:
        """The answers to one control message."""
        if isinstance(message, Join) and remote != self.hub:
            return self._hinted(now)
        if remote != self.hub:
            return []
        self._heard = now
        match message:
            case Cookie(cookie):
                # An old cookie ran out, or the hub is new: the same request with the new one.
                self._cookie = cookie
                return self.ask(now)
            case Welcome(number, cookie, members):
                self._answered = True
                self.number, self._cookie, self.members = number, cookie, members
                self.names = dict(members)
                self._own_row = next((row for row in members if row[0] == number), None)
                self._heirs, self.elders = [], []
            case Moved(hub):
                return self._moved(hub, now)
        return []

    def _hinted(self, now: float) -> list[Out]:
        """Somebody takes us for the hub: is ours still there?"""
        if self.number is None or not self.members or self.members[0] != self._own_row:
            return []
        self._heard = min(self._heard, now - HUB_LOST_S + HINTED_S)
        return self.ask(now) if now - self._asked >= ASK_S else []

    def _moved(self, hub: Address | None, now: float) -> list[Out]:
        if hub is None:
            if self.number is None:
                self.refused = True
            return []
        if self._own_row is not None and hub == self._own_row[1]:
            self.lead = True
            return []
        # Only to a place that the old hub named before, or that the address named: a hub that
        # lies could else have a third party asked by everybody.
        known = {address for _, address in self.members}
        if hub not in known and hub not in self._hubs:
            return []
        self._heirs = [row for row in self.members if row[1] != hub]
        self._turn_to(hub, now)
        return self.ask(now)

    def _next_hub(self, now: float) -> None:
        if self.number is not None:
            self._heirs = list(self.members)
        self.elders.append(self.hub)
        while self._heirs:
            row = self._heirs.pop(0)
            if row == self._own_row:
                self.lead = True
                return
            if row[1] not in self.elders:
                self._turn_to(row[1], now)
                return
        # Nobody is left to lead and we are in no list: from the beginning.
        self._heirs = [(0, address) for address in self.elders[1:]]
        first, self.elders = self.elders[0], []
        self._turn_to(first, now)

    def _turn_to(self, hub: Address, now: float) -> None:
        self.hub, self.number, self._cookie = hub, None, NO_COOKIE
        self._heard, self._asked, self._answered = now, float("-inf"), False
        if hub not in self._hubs:
            self._hubs = [*self._hubs[-HUBS_MAX + 1 :], hub]
