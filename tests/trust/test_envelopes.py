"""Keys, sealed boxes and signed envelopes."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from spinney.errors import WireError
from spinney.trust import envelope
from spinney.trust.envelope import Replays, file_tag, make, outline, parse
from spinney.trust.keys import Keys, peer_id_of, verify
from spinney.trust.seal import OVERHEAD_BYTES, SealingKeys, seal
from spinney.wire import bencode

KEYS = Keys(bytes(range(32)))
FILE = file_tag(b"an infohash")


def test_rfc_8032_first_vector() -> None:
    keys = Keys(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert keys.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert (
        keys.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065")
    )
    assert keys.peer == peer_id_of(keys.public)
    assert len(keys.peer) == 20


def test_a_signature_holds_for_these_bytes_and_this_key() -> None:
    signature = KEYS.sign(b"said")
    assert KEYS.verify(KEYS.peer, KEYS.public, b"said", signature)
    assert not KEYS.verify(bytes(20), KEYS.public, b"said", signature)
    assert not verify(KEYS.public, signature, b"not said")
    assert not verify(Keys(bytes(32)).public, signature, b"said")
    assert not verify(b"no key", signature, b"said")
    assert not verify(KEYS.public, b"short", b"said")


def suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def test_boxes_are_hpke() -> None:
    """Ours is read by `cryptography`'s HPKE, and its boxes by ours."""
    seed = bytes(range(32))
    mine = SealingKeys(seed)
    box = seal(mine.public, b"what I hold", b"reign", b"\7" * 32)
    theirs = X25519PrivateKey.from_private_bytes(seed)
    assert suite().decrypt(box, theirs, b"reign") == b"what I hold"
    public = X25519PublicKey.from_public_bytes(mine.public)
    assert mine.open(suite().encrypt(b"and back", public, b"reign"), b"reign") == b"and back"
    assert len(box) == len(b"what I hold") + OVERHEAD_BYTES


def test_a_box_opens_for_its_key_its_purpose_and_unaltered() -> None:
    mine = SealingKeys(bytes(range(32)))
    box = seal(mine.public, b"plain", b"reign", b"\7" * 32)
    for wrong in (box[:-1], box[:40], b"", bytes([box[0] ^ 1]) + box[1:], box[:-1] + b"\0"):
        if wrong != box:
            with pytest.raises(WireError):
                mine.open(wrong, b"reign")
    with pytest.raises(WireError):
        mine.open(box, b"another reign")
    with pytest.raises(WireError):
        SealingKeys(b"\1" * 32).open(box, b"reign")


def test_nothing_is_sealed_to_what_is_no_key() -> None:
    for bad in (b"", bytes(32), b"\1" + bytes(31)):
        with pytest.raises(WireError):
            seal(bad, b"plain", b"", b"\7" * 32)
    with pytest.raises(WireError):
        SealingKeys(b"\1" * 32).open(bytes(64), b"")


def test_an_envelope_comes_back_as_it_was() -> None:
    data = make(KEYS, FILE, 7, {b"t": b"hello"})
    said = parse(data)
    assert (said.file, said.public, said.sequence) == (FILE, KEYS.public, 7)
    assert said.message == {b"t": b"hello"}
    assert said.peer_id == KEYS.peer
    assert said.verified()


@pytest.mark.parametrize(
    "change", [{b"f": b"another!"}, {b"q": 8}, {b"m": {b"t": b"leave"}}, {b"k": bytes(32)}]
)
def test_every_field_is_signed(change: dict[bytes, object]) -> None:
    row = bencode.decode(make(KEYS, FILE, 7, {b"t": b"hello"}))
    assert not parse(bencode.encode({**row, **change})).verified()


@pytest.mark.parametrize(
    "change",
    [
        {b"f": b"short"},
        {b"k": b"short"},
        {b"m": b"text"},
        {b"m": []},
        {b"q": -1},
        {b"q": 1 << 63},
        {b"q": b"7"},
        {b"s": b""},
        {b"x": 1},
    ],
)
def test_a_field_of_a_wrong_shape_is_refused(change: dict[bytes, object]) -> None:
    row = bencode.decode(make(KEYS, FILE, 7, {b"t": b"hello"}))
    with pytest.raises(WireError):
        parse(bencode.encode({**row, **change}))


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    try:
        said = parse(data)
    except WireError:
        return
    assert not said.verified()


def test_the_largest_message_fits() -> None:
    filler = envelope.MESSAGE_BYTES_MAX - len(bencode.encode({b"x": b""})) - 3
    data = make(KEYS, FILE, envelope.SEQUENCE_MAX, {b"x": bytes(filler)})
    assert len(data) <= envelope.DATAGRAM_BYTES_MAX
    assert parse(data).verified()


def test_a_number_counts_once_also_out_of_order() -> None:
    seen = Replays()
    assert [seen.is_new(b"a", n) for n in (5, 5, 3, 3, 4, 6, 4)] == [
        True,
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    assert seen.is_new(b"b", 5)
    assert seen.is_new(b"a", 1_000)
    assert not seen.is_new(b"a", 6)
    assert not seen.is_new(b"a", 1_000 - envelope.WINDOW)
    assert seen.is_new(b"a", 1_001 - envelope.WINDOW)


def test_strangers_cannot_fill_the_memory() -> None:
    seen = Replays(senders=10)
    for number in range(1_000):
        seen.is_new(b"%d" % number, 0)
    assert len(seen._seen) == 10


@given(st.binary(max_size=200))
def test_the_outline_of_any_bytes_is_that_of_the_envelope_or_none(data: bytes) -> None:
    made = make(KEYS, FILE, 7, {b"t": data})
    seen = outline(made)
    assert seen is not None
    assert seen[:2] == (FILE, KEYS.public)
    assert made.endswith(seen[2])
    outline(data)
    assert outline(b"d1:g8:" + made[6:]) is None
