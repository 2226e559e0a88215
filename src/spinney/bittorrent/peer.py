"""`Peer`: one connected peer of one swarm: what it has, who chokes whom, what it says.

The data goes through its `Downloader` and `Uploader`; here is the conversation around it.
Before the descriptor is known (a magnet link), what the peer says of its pieces is kept and
told to the transfer when that begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from spinney.bittorrent.chatter import CHATTER_LIMIT, CRUMB_BYTES, DEAR, METADATA_SERVED_BYTES
from spinney.bittorrent.codec import MAX_REQUEST_BYTES, encode, encode_haves
from spinney.bittorrent.connection import Connection
from spinney.bittorrent.downloading import Downloader
from spinney.bittorrent.early import Early
from spinney.bittorrent.extensions import (
    HANDSHAKE_ID,
    METADATA,
    METADATA_ID,
    PEX,
    PEX_ID,
    ExtensionHandshake,
    decode_extension_handshake,
    encode_extension_handshake,
)
from spinney.bittorrent.fast import allowed_fast_set
from spinney.bittorrent.introducing import introduction
from spinney.bittorrent.messages import (
    BLOCK_BYTES,
    RESERVED_EXTENDED,
    RESERVED_FAST,
    AllowedFast,
    BitfieldMessage,
    Cancel,
    Choke,
    Extended,
    Handshake,
    Hashes,
    HashReject,
    HashRequest,
    HaveAll,
    HaveNone,
    Interested,
    KeepAlive,
    Message,
    NotInterested,
    RejectRequest,
    SuggestPiece,
    Unchoke,
)
from spinney.bittorrent.metadata import (
    REQUEST,
    MetadataMessage,
    answer,
    decode_metadata,
    encode_metadata,
)
from spinney.bittorrent.pex import ExchangeInbox, ExchangeOutbox, decode_exchange, encode_exchange
from spinney.bittorrent.uploading import Uploader
from spinney.content.pieces import Bitfield
from spinney.errors import PeerError, WireError
from spinney.net.host import Address

if TYPE_CHECKING:
    from spinney.bittorrent.finishing import Proof
    from spinney.bittorrent.swarm import Swarm


class Peer:
    """`key`: the connection's serial number in its node, the order of everything."""

    def __init__(
        self, swarm: Swarm, connection: Connection, handshake: Handshake, key: int, now: float
    ) -> None:
        self.key = key
        self.connection = connection
        self.peer_id = handshake.peer_id
        self.fast = handshake.bit(RESERVED_FAST)
        self.extended = handshake.bit(RESERVED_EXTENDED)
        self.connected_at = now
        self.choked = True
        """We choke the peer."""
        self.interested = False
        """The peer is interested in us."""
        self.unchoked_at = 0.0
        self.upload_only = False
        self.listens_at: Address | None = connection.remote if connection.outgoing else None
        self.client = ""
        self.ids: dict[str, int] = {}
        self.rationed = False
        self.came_whole = False
        """It said at first that it has everything."""
        self.proof: Proof | None = None
        self.counted_out = False
        """It has left, and what it took is booked (`Finishing`)."""
        self.downloader = Downloader(connection, now, self._lied)
        self.downloader.peer_id = self.peer_id
        self.uploader = Uploader(connection, swarm, now, self._refuse)
        self._swarm = swarm
        self._loop = asyncio.get_running_loop()
        self._described = False
        """It has said which pieces it has (once is all)."""
        self._early = Early()
        self._piece_count = 0
        self._chatter = 0
        self._offered: frozenset[int] = frozenset()
        self._metadata_bytes = 0
        self._exchange_out = ExchangeOutbox()
        self._exchange_in = ExchangeInbox()

    # beginning

    def start(self) -> None:
        """Right after the handshakes: what we have (BEP 3: first), then our extensions."""
        swarm = self._swarm
        if swarm.transfer is not None:
            self._begin_transfer()
        elif self.fast:
            self.connection.send(encode(HaveNone()))
        self.tell_extensions()

    def begin(self) -> None:
        """The descriptor has become known."""
        self._begin_transfer(late=True)

    def _begin_transfer(self, *, late: bool = False) -> None:
        swarm = self._swarm
        assert swarm.transfer is not None
        self._piece_count = swarm.piece_count
        reader = self.connection.reader
        assert reader is not None
        reader.bitfield_bytes = (self._piece_count + 7) // 8
        self.uploader.begin(swarm.transfer)
        self.downloader.begin(swarm.transfer, swarm.space_bytes)
        if late:
            self._tell_early()
            self.connection.send(encode_haves(swarm.transfer.servable()))
        else:
            self._tell_pieces(swarm.transfer.servable())

    def _tell_pieces(self, have: Bitfield) -> None:
        if self._swarm.rationing.active:
            self.rationed = True
            if self.fast:
                self.connection.send(encode(HaveNone()))
            else:
                self._swarm.rationing.joined(self)  # it says nothing at all if it has nothing
            return
        if self.fast and have.full:
            self.connection.send(encode(HaveAll()))
        elif self.fast and not have.count:
            self.connection.send(encode(HaveNone()))
        elif have.count:
            self.connection.send(encode(BitfieldMessage(bytes(have))))
        if self.fast and have.count:
            self._offer_fast_pieces(have)

    def _offer_fast_pieces(self, have: Bitfield) -> None:
        infohash = self._swarm.infohash
        pieces = allowed_fast_set(infohash, self.connection.remote[0], self._piece_count)
        offered = [piece for piece in pieces if piece in have]
        self._offered = frozenset(offered)
        for piece in offered:
            self.connection.send(encode(AllowedFast(piece)))

    def tell_extensions(self) -> None:
        """Our extension handshake; again when we became complete (BEP 10 allows it)."""
        if self.extended:
            row = introduction(self._swarm, self.connection.remote[0], rationed=self.rationed)
            payload = encode_extension_handshake(row)
            self.connection.send(encode(Extended(HANDSHAKE_ID, payload)))

    # what the connection calls

    def block(self, piece: int, begin: int, data: memoryview) -> None:
        if self.proof is not None and self.proof.took(piece, begin, data):
            return
        if len(data) >= CRUMB_BYTES:
            self.downloader.block(piece, begin, data)
        else:
            self._crumb(piece, begin, data)

    def _crumb(self, piece: int, begin: int, data: memoryview) -> None:
        feed = self.downloader.feed
        before = feed.pending_bytes if feed is not None else 0
        self.downloader.block(piece, begin, data)
        if feed is None or feed.pending_bytes == before or begin % BLOCK_BYTES:
            self.chatter()

    def have(self, piece: int) -> None:
        feed = self.downloader.feed
        if feed is None:
            self._early.have(piece)
            return
        if piece >= self._piece_count:
            raise PeerError(f"has piece {piece} of {self._piece_count}")
        if piece in feed.has:
            self.chatter()
            return
        feed.saw_have(piece)
        if not self.downloader.interested:
            self.downloader.wake()
        self._swarm.peer_has(self, piece)

    def requests(self, ranges: Sequence[tuple[int, int, int]]) -> None:
        transfer = self._swarm.transfer
        if transfer is None:
            return self._refuse(ranges)
        if self.choked and not self._offered:
            return self._refuse(ranges)
        limit = self._swarm.settings.request_limit - len(self.uploader.pending)
        good: list[tuple[int, int, int]] = []
        bad: list[tuple[int, int, int]] = []
        last, piece_bytes, servable = -1, 0, False
        for row in ranges:
            piece, begin, length = row
            if piece != last:
                if piece >= self._piece_count:
                    raise PeerError(f"asks for piece {piece} of {self._piece_count}")
                last, piece_bytes = piece, transfer.descriptor.piece_bytes(piece)
                servable = transfer.readable(piece) and self._may_ask(piece)
            if not 0 < length <= MAX_REQUEST_BYTES or begin + length > piece_bytes:
                raise PeerError(f"asks for {length} bytes at {begin} of a piece")
            (good if servable and len(good) < limit else bad).append(row)
        if bad:
            self._refuse(bad)
        if good:
            self.uploader.ask(good)
            if self.rationed:
                self._swarm.rationing.show(self)
        return None

    def _may_ask(self, piece: int) -> bool:
        if self.choked:
            return piece in self._offered
        if self.rationed:
            ration = self._swarm.rationing.ration
            if ration is not None:
                if not ration.may_ask(self.key, piece):
                    return False
                ration.asked(self.key, piece, self._loop.time())
        return True

    def _refuse(self, ranges: Sequence[tuple[int, int, int]]) -> None:
        self.chatter(1 + len(ranges))
        if self.fast:
            data = b"".join([encode(RejectRequest(*row)) for row in ranges])
            self.connection.send(data)

    def message(self, message: Message) -> None:
        self.chatter(DEAR.get(type(message), 1))
        handler = _HANDLERS.get(type(message))
        if handler is not None:
            handler(self, message)

    def chatter(self, weight: int = 1) -> None:
        self._chatter += weight
        if self._chatter > CHATTER_LIMIT:
            raise PeerError("talks without end")

    def batch_ended(self) -> None:
        received = self.downloader.batch_ended()
        if received:
            self._swarm.count_received(self.connection, received)

    def writable(self) -> None:
        self.uploader.pump()

    def ended(self, reason: str) -> None:
        self.downloader.close()
        self.uploader.close()
        self._swarm.peer_left(self, reason)

    # its messages

    def _choke(self, message: Choke) -> None:
        if self.proof is not None and self.proof.unchoked.is_set():
            self.proof.ended()
        self.downloader.was_choked(explicit_rejects=self.fast)

    def _unchoke(self, message: Unchoke) -> None:
        self.downloader.was_unchoked(self._loop.time())
        if self.proof is not None:
            self.proof.unchoked.set()

    def _interested(self, message: Interested) -> None:
        if not self.interested:
            self.interested = True
            self._swarm.slots_changed()

    def _not_interested(self, message: NotInterested) -> None:
        if self.interested:
            self.interested = False
            self._swarm.slots_changed()

    def _describe(self) -> None:
        if self._described or self._early.haves:
            raise PeerError("says twice which pieces it has")
        self._described = True

    def _bitfield(self, message: BitfieldMessage) -> None:
        self._describe()
        feed = self.downloader.feed
        if feed is None:
            self._early.bits = message.bits
            return
        feed.saw_bitfield(Bitfield.from_bytes(message.bits, self._piece_count))
        self._described_now()

    def _have_all(self, message: HaveAll) -> None:
        self._need_fast()
        self._describe()
        feed = self.downloader.feed
        if feed is None:
            self._early.all = True
            return
        feed.saw_bitfield(Bitfield(self._piece_count, full=True))
        self._described_now()

    def _have_none(self, message: HaveNone) -> None:
        self._need_fast()
        self._describe()
        if self.downloader.feed is not None:
            self._described_now()

    def _described_now(self) -> None:
        self.downloader.wake()
        self.came_whole = self.seed
        if self.rationed:
            self._swarm.rationing.joined(self)
        self._swarm.peer_described(self)

    def _tell_early(self) -> None:
        feed = self.downloader.feed
        assert feed is not None
        try:
            self._early.tell(feed, self._piece_count)
        except (WireError, PeerError) as error:
            self.connection.close(str(error), abort=True)
            return
        self.downloader.wake()

    def _need_fast(self) -> None:
        if not self.fast:
            raise PeerError("speaks the fast extension without having said so")

    def _index(self, piece: int) -> int:
        if self._piece_count and piece >= self._piece_count:
            raise PeerError(f"speaks of piece {piece} of {self._piece_count}")
        return piece

    def _suggest(self, message: SuggestPiece) -> None:
        self._need_fast()
        if self.downloader.feed is not None:
            self.downloader.feed.suggest(self._index(message.piece))

    def _allowed_fast(self, message: AllowedFast) -> None:
        self._need_fast()
        if self.downloader.feed is not None:
            if self.downloader.allowed is None:
                self.downloader.allowed = Bitfield(self._piece_count)
            self.downloader.allowed.add(self._index(message.piece))
            self.downloader.wake()

    def _reject(self, message: RejectRequest) -> None:
        self._need_fast()
        if self.proof is not None:
            self.proof.ended()
        self.downloader.rejected(self._index(message.piece), message.begin, message.length)

    def _cancel(self, message: Cancel) -> None:
        row = (message.piece, message.begin, message.length)
        self._chatter += len(self.uploader.pending) // 200  # it is looked for among them
        if self.uploader.cancel(row) and self.fast:
            self.connection.send(encode(RejectRequest(*row)))

    def _hashes(self, message: HashRequest | Hashes | HashReject) -> None:
        self._swarm.describing.hash_message(self, message)

    def _extended(self, message: Extended) -> None:
        if not self.extended:
            raise PeerError("speaks the extension protocol without having said so")
        if message.kind == HANDSHAKE_ID:
            self._extension_handshake(decode_extension_handshake(message.payload))
        elif message.kind == PEX_ID and self._swarm.exchanging:
            if self._exchange_in.may_take(self._loop.time()):
                self._swarm.exchanged(self, decode_exchange(message.payload))
        elif message.kind == METADATA_ID:
            self._metadata(message.payload)

    def _extension_handshake(self, row: ExtensionHandshake) -> None:
        for name, kind in row.ids.items():
            if name in (PEX, METADATA):
                self.ids[name] = kind
        if row.request_limit is not None:
            self.downloader.queue.peer_limit = row.request_limit
        if row.version is not None:
            self.client = row.version
        if row.upload_only is not None:
            self.upload_only = row.upload_only
        if row.port is not None and self.listens_at is None:
            self.listens_at = (self.connection.remote[0], row.port)
        self._swarm.peer_introduced(self, row)

    def _metadata(self, payload: bytes) -> None:
        message = decode_metadata(payload)
        if message.kind != REQUEST:
            self._swarm.describing.metadata_came(self, message)
            return
        kind = self.ids.get(METADATA, 0)
        if not kind:
            return
        info_bytes = self._swarm.info_bytes
        if self._metadata_bytes >= METADATA_SERVED_BYTES or self.connection.backlogged:
            info_bytes = None
        reply = answer(info_bytes, message.piece)
        self._metadata_bytes += len(reply.data)
        self.connection.send(encode(Extended(kind, encode_metadata(reply))))

    # what the swarm tells it to do

    def ask_metadata(self, piece: int) -> None:
        kind = self.ids.get(METADATA, 0)
        payload = encode_metadata(MetadataMessage(REQUEST, piece))
        self.connection.send(encode(Extended(kind, payload)))

    def set_choked(self, choked: bool, now: float) -> None:
        if choked == self.choked:
            return
        self.choked = choked
        if not choked:
            self.unchoked_at = now
            self.connection.send(encode(Unchoke()))
            if self.rationed:
                self._swarm.rationing.show(self)
            return
        self.connection.send(encode(Choke()))
        if self.rationed and self._swarm.rationing.ration is not None:
            self._swarm.rationing.ration.choked(self.key)
        dropped = self.uploader.drop(lambda row: row[0] in self._offered)
        if self.fast and dropped:
            data = b"".join([encode(RejectRequest(*row)) for row in dropped])
            self.connection.send(data)

    def exchange(self, now: float, here: Sequence[tuple[Address, int]]) -> None:
        """Tells who else is here, if it wants to know and it is time."""
        kind = self.ids.get(PEX, 0)
        if kind:
            message = self._exchange_out.next(now, here)
            if message is not None:
                self.connection.send(encode(Extended(kind, encode_exchange(message))))

    def tick(self, now: float, idle_timeout_s: float, keep_alive_s: float) -> None:
        """Once a second: time limits, keep-alives."""
        self._chatter = 0
        if now - self.connection.last_message_at > idle_timeout_s:
            self.connection.close("said nothing for too long", abort=True)
            return
        if now - self.connection.last_sent_at > keep_alive_s:
            self.connection.send(encode(KeepAlive()))
        self.downloader.check_time(now)
        if self.rationed:
            self._swarm.rationing.show(self)

    @property
    def seed(self) -> bool:
        """It has everything, or wants nothing more."""
        feed = self.downloader.feed
        return self.upload_only or self._early.all or (feed is not None and feed.has.full)

    def _lied(self, reason: str) -> None:
        self._swarm.ban(self, reason)


_HANDLERS: dict[type[Any], Callable[[Peer, Any], None]] = {
    Choke: Peer._choke,
    Unchoke: Peer._unchoke,
    Interested: Peer._interested,
    NotInterested: Peer._not_interested,
    BitfieldMessage: Peer._bitfield,
    HaveAll: Peer._have_all,
    HaveNone: Peer._have_none,
    SuggestPiece: Peer._suggest,
    AllowedFast: Peer._allowed_fast,
    RejectRequest: Peer._reject,
    Cancel: Peer._cancel,
    Extended: Peer._extended,
    HashRequest: Peer._hashes,
    Hashes: Peer._hashes,
    HashReject: Peer._hashes,
}
