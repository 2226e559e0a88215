"""`DataSettings`: every number of the data path, with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Limits and times of sending and receiving.

    `burst_datagrams`: datagrams handed over in one call: 8 to 16 pass the shallow queue of a
    switch, 46 lose 0.65 % of them.  `late_s`: what a stalled sender may make up for; more is
    forgotten, because making it up overflows queues.  `volley_s`: at once.  `catch_up`: how much
    faster than its rate a sender is meanwhile.

    `repair_share`: of the datagrams, at most so many are repair while blocks are still to be
    sent for the first time.  `hopeless_share`: who asks for more than this share of what was
    sent is served last, and told so.  `spare_symbols`: added to each answer: a code over GF(2)
    needs 1.6 symbols beyond the lost ones, and asking for more takes another round trip.
    `last_spare_symbols`: so many more when all has gone by: then all wait for that round trip.
    `whole_share`: who lacks so much of a block gets its source symbols again, which need no
    decoding; who lacks less would get again what it has.

    `mark_interval_s` and `idle_mark_s`: how often a sender says where it is, working and idle;
    `quick_mark_s`: the least time between two.  `idle_after_s`: without a request, it is idle.

    `held_bytes`: what a sender keeps in memory of blocks whose repair may be asked for.
    `encoders`: blocks whose code is kept ready, 1.2 times their size each.
    `read_ahead_blocks`: blocks read before their turn.
    `needs_per_s`: reports whose signature a sender checks; more are dropped unread.

    `buffer_bytes`: unfinished blocks at a receiver; beyond, the oldest is forgotten and asked
    for as a whole.  `pool_blocks`: idle buffers kept.
    `round_trip_s`: the group's greatest round trip until a sender has measured it, with what a
    busy machine adds.  `backoff`: reports are spread over so many round trips (RFC 5401).
    `settle_s`: how long a block's end may be overtaken by its last symbols.
    `hope_s`: how long a report, of oneself or of others, is believed to be on its way.
    `stall_s`: a stream of which nothing came for so long has stalled; `rejoin_s`: the group is
    joined anew so often then; `forsaken_s`: after so long its leases are given back.
    `lease_s`, `lease_ahead_s`: how long a claim lasts, and how far ahead the stream's pieces are
    claimed.
    `decode_early_symbols`: so many symbols beyond the lost ones make success nearly sure.
    """

    burst_datagrams: int = 16
    late_s: float = 0.05
    volley_s: float = 0.016
    catch_up: float = 2.0

    repair_share: float = 0.5
    hopeless_share: float = 0.35
    spare_symbols: int = 3
    last_spare_symbols: int = 4
    whole_share: float = 0.92

    mark_interval_s: float = 0.1
    quick_mark_s: float = 0.02
    idle_mark_s: float = 0.4
    idle_after_s: float = 3.0

    held_bytes: int = 64 << 20
    encoders: int = 8
    read_ahead_blocks: int = 4
    needs_per_s: int = 400

    buffer_bytes: int = 64 << 20
    pool_blocks: int = 8
    round_trip_s: float = 0.01
    backoff: float = 4.0
    settle_s: float = 0.004
    hope_s: float = 0.15
    stall_s: float = 1.0
    rejoin_s: float = 2.0
    forsaken_s: float = 2.0
    lease_s: float = 20.0
    lease_ahead_s: float = 15.0
    decode_early_symbols: int = 4


DATA_SETTINGS = DataSettings()
