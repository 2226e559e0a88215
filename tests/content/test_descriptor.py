"""Descriptors: the lecture's torrent, then BEP 3, 5, 12, 19, 27, 47 and 52, then any bytes.

What is refused, rule by rule, is in tests/torture.
"""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.content.torrents import PIECE, content, hybrid, torrent, v1_many, v1_single, v2

from spinney.content.descriptor import Descriptor
from spinney.content.rules import RULES
from spinney.errors import DescriptorError
from spinney.wire.bencode import decode, encode

LECTURE_PIECES = random.Random(810).randbytes(27_960)
LECTURE = (
    b"d8:announce39:http://torrent.ubuntu.com:6969/announce"
    b"7:comment29:Ubuntu CD releases.ubuntu.com"
    b"13:creation datei1225365524e"
    b"4:infod"
    b"6:lengthi732766208e"
    b"4:name28:ubuntu-8.10-desktop-i386.iso"
    b"12:piece lengthi524288e"
    b"6:pieces27960:" + LECTURE_PIECES + b"ee"
)


def test_the_torrent_of_the_lecture() -> None:
    descriptor = Descriptor.parse(LECTURE)
    assert descriptor.trackers == (("http://torrent.ubuntu.com:6969/announce",),)
    assert descriptor.comment == "Ubuntu CD releases.ubuntu.com"
    assert descriptor.creation_date == 1_225_365_524
    assert descriptor.total_bytes == 732_766_208
    assert descriptor.name == "ubuntu-8.10-desktop-i386.iso"
    assert descriptor.piece_length == 524_288
    # "Hash values of all 27960 pieces": 27,960 is their bytes; the pieces are 1,398.
    assert descriptor.piece_count == 1_398
    assert descriptor.piece_bytes(0) == 524_288
    assert descriptor.piece_bytes(1_397) == 732_766_208 - 1_397 * 524_288
    assert descriptor.single_file
    assert descriptor.files[0].path == ("ubuntu-8.10-desktop-i386.iso",)
    info = LECTURE[LECTURE.index(b"4:info") + 6 : -1]
    assert descriptor.info_bytes == info
    assert descriptor.infohash == hashlib.sha1(info).hexdigest()
    assert descriptor.swarm_hashes == (hashlib.sha1(info).digest(),)
    assert not descriptor.private
    assert descriptor.encode() == LECTURE


def test_version_1_with_many_files() -> None:
    info = v1_many(
        ([b"a"], 10_000),
        {b"attr": b"p", b"length": 6_384, b"path": [b".pad", b"6384"]},
        {b"attr": b"x", b"length": 20_000, b"path": [b"sub", b"b"]},
        ([b"empty"], 0),
        {b"attr": b"l", b"length": 0, b"path": [b"link"], b"symlink path": [b"etc", b"passwd"]},
        {b"length": 5, b"path": [b"_____padding_file_0_xx"]},
        ([b"c"], 1),
    )
    descriptor = Descriptor.parse(torrent(info))
    assert [(entry.path, entry.length, entry.offset) for entry in descriptor.files] == [
        (("folder", "a"), 10_000, 0),
        (("folder", "sub", "b"), 20_000, 16_384),
        (("folder", "empty"), 0, 36_384),
        (("folder", "c"), 1, 36_389),
    ]
    assert [entry.executable for entry in descriptor.files] == [False, True, False, False]
    assert descriptor.total_bytes == 30_001
    assert descriptor.space_bytes == 36_390
    assert (descriptor.piece_count, descriptor.piece_bytes(2)) == (3, 36_390 - 2 * PIECE)
    assert not descriptor.single_file


def space_of(descriptor: Descriptor, piece: int) -> bytearray:
    """The true bytes of a piece of `torrents.content`."""
    begin = piece * descriptor.piece_length
    data = bytearray(descriptor.piece_bytes(piece))
    for entry in descriptor.files:
        path = "/".join(entry.path if descriptor.single_file else entry.path[1:]).encode()
        start, stop = max(begin, entry.offset), min(begin + len(data), entry.offset + entry.length)
        if start < stop:
            data[start - begin : stop - begin] = content(path, entry.length)[
                start - entry.offset : stop - entry.offset
            ]
    return data


FILES = {b"a": 40_000, b"b": 1, b"dir/c": PIECE, b"dir/empty": 0, b"z": PIECE + 1}


def test_version_2_files_begin_on_pieces() -> None:
    info, layers = v2(FILES)
    descriptor = Descriptor.parse(torrent(info, layers))
    assert [(entry.path[1:], entry.offset // PIECE) for entry in descriptor.files] == [
        (("a",), 0),
        (("b",), 3),
        (("dir", "c"), 4),
        (("dir", "empty"), 5),
        (("z",), 5),
    ]
    assert descriptor.infohash_v1 is None
    assert descriptor.infohash == hashlib.sha256(descriptor.info_bytes).hexdigest()
    assert descriptor.swarm_hashes == (hashlib.sha256(descriptor.info_bytes).digest()[:20],)
    sizes = [descriptor.piece_bytes(piece) for piece in range(descriptor.piece_count)]
    assert sizes == [PIECE, PIECE, 40_000 - 2 * PIECE, 1, PIECE, PIECE, 1]
    assert sum(sizes) == descriptor.total_bytes


def test_a_hybrid_is_one_piece_space_with_two_hashes() -> None:
    info, layers = hybrid(FILES)
    descriptor = Descriptor.parse(torrent(info, layers))
    alone = Descriptor.parse(torrent(*v2(FILES)))
    assert [(entry.path, entry.length, entry.pieces_root) for entry in descriptor.files] == [
        (entry.path, entry.length, entry.pieces_root) for entry in alone.files
    ]
    assert descriptor.piece_count == alone.piece_count == 7
    assert [descriptor.piece_bytes(piece) for piece in range(7)] == [PIECE] * 6 + [1]
    assert descriptor.infohash == hashlib.sha1(descriptor.info_bytes).hexdigest()
    assert [len(digest) for digest in descriptor.swarm_hashes] == [20, 20]


@pytest.mark.parametrize("kind", [v2, hybrid])
def test_pieces_are_checked_to_the_bit(kind: object) -> None:
    info, layers = kind(FILES)  # type: ignore[operator]
    descriptor = Descriptor.parse(torrent(info, layers))
    for piece in range(descriptor.piece_count):
        data = space_of(descriptor, piece)
        assert descriptor.can_check(piece)
        assert descriptor.check_piece(piece, data)
        assert descriptor.check_piece(piece, memoryview(bytes(data)))
        assert not descriptor.check_piece(piece, data + b"\0")
        assert not descriptor.check_piece(piece, data[:-1])
        for at in (0, len(data) - 1):
            data[at] ^= 1
            assert not descriptor.check_piece(piece, data)
            data[at] ^= 1


def test_a_hybrid_whose_versions_differ_in_content_verifies_neither() -> None:
    info, layers = hybrid(FILES)
    pieces = bytearray(info[b"pieces"])
    pieces[0] ^= 1
    forged = Descriptor.parse(torrent(info | {b"pieces": bytes(pieces)}, layers))
    assert not forged.check_piece(0, space_of(forged, 0))
    other, other_layers = hybrid(FILES | {b"a": 40_000})
    root = other[b"file tree"][b"b"][b""][b"pieces root"]
    other[b"file tree"][b"b"][b""][b"pieces root"] = bytes([root[0] ^ 1]) + root[1:]
    forged = Descriptor.parse(torrent(other, other_layers))
    assert not forged.check_piece(3, space_of(forged, 3))


def test_version_2_from_a_magnet_link_lacks_layers_until_they_come() -> None:
    info, layers = v2(FILES)
    descriptor = Descriptor.from_info(encode(info), trackers=[["http://t/"]])
    assert set(descriptor.missing_layers) == set(layers)
    assert [descriptor.can_check(piece) for piece in range(7)] == [
        False, False, False, True, True, False, False,
    ]  # fmt: skip
    assert descriptor.check_piece(3, space_of(descriptor, 3))
    (first, layer), (second, other) = layers.items()
    for root, wrong in ((first, other), (first, layer[:-32]), (b"r" * 32, layer), (first, b"")):
        with pytest.raises(DescriptorError):
            descriptor.add_piece_layer(root, wrong)
    again = Descriptor.parse(descriptor.encode(), allow_missing_layers=True)
    assert again.missing_layers == descriptor.missing_layers
    descriptor.add_piece_layer(first, layer)
    descriptor.add_piece_layer(second, other)
    assert descriptor.missing_layers == ()
    assert all(descriptor.check_piece(piece, space_of(descriptor, piece)) for piece in range(7))
    assert Descriptor.parse(descriptor.encode()) == descriptor


def test_a_hybrid_from_a_magnet_link_is_checked_as_version_1_meanwhile() -> None:
    info, _ = hybrid(FILES)
    descriptor = Descriptor.from_info(encode(info))
    assert len(descriptor.missing_layers) == 2
    assert all(descriptor.check_piece(piece, space_of(descriptor, piece)) for piece in range(7))
    assert Descriptor.parse(descriptor.encode()).missing_layers == descriptor.missing_layers


def test_trackers_web_seeds_and_nodes() -> None:
    descriptor = Descriptor.parse(
        torrent(
            v1_single(private=1),
            announce=b"http://ignored/",
            announce_list=[[b"http://a/", b"", b"udp://b:1"], [], b"http://c/", [b"http://a/"]],
            url_list=[b"http://w/", b"http://w/", b""],
            nodes=[[b"router.example", 6881], [b"::1", 1]],
        )
    )
    assert descriptor.trackers == (("http://a/", "udp://b:1"), ("http://c/",))
    assert descriptor.web_seeds == ("http://w/",)
    assert descriptor.nodes == (("router.example", 6881), ("::1", 1))
    assert descriptor.private
    single = Descriptor.parse(torrent(v1_single(), announce=b"http://a/", url_list=b"http://w/x"))
    assert (single.trackers, single.web_seeds) == ((("http://a/",),), ("http://w/x",))
    none = Descriptor.parse(torrent(v1_single(), announce=b"", announce_list=[[b""]], url_list=b""))
    assert (none.trackers, none.web_seeds, none.nodes) == ((), (), ())
    many = [[b"http://%d/" % number] for number in range(1000)]
    assert len(Descriptor.parse(torrent(v1_single(), announce_list=many)).trackers) == 100


def test_words_for_people_never_fail() -> None:
    descriptor = Descriptor.parse(
        torrent(v1_single(), comment=b"\xff", created_by=7, creation_date=-1)
    )
    assert (descriptor.comment, descriptor.created_by) == ("�", None)
    assert descriptor.creation_date is None


def test_editing_changes_what_is_asked_and_keeps_the_rest() -> None:
    data = torrent(
        v1_single(),
        announce=b"http://a/",
        publisher=b"who",
        x_unknown=[1, {b"y": b"z"}],
        comment=b"c",
    )
    descriptor = Descriptor.parse(data)
    assert descriptor.edited() == descriptor
    edited = descriptor.edited(
        trackers=[["http://b/"], ["http://c/"]], comment=None, web_seeds=["http://w/", "http://v/"]
    )
    assert edited.infohash == descriptor.infohash
    assert edited.trackers == (("http://b/",), ("http://c/",))
    assert decode(edited.encode()) == {
        b"announce": b"http://b/",
        b"announce-list": [[b"http://b/"], [b"http://c/"]],
        b"info": decode(descriptor.info_bytes),
        b"publisher": b"who",
        b"url-list": [b"http://w/", b"http://v/"],
        b"x unknown": [1, {b"y": b"z"}],
    }
    assert descriptor.encode() == data
    gone = edited.edited(
        trackers=[], web_seeds=[], nodes=[("h", 1)], creation_date=5, created_by="u"
    )
    assert (gone.trackers, gone.web_seeds, gone.nodes) == ((), (), (("h", 1),))
    assert (gone.creation_date, gone.created_by) == (5, "u")
    with pytest.raises(TypeError):
        descriptor.edited(name="x")


def test_the_bytes_of_an_unsorted_info_are_kept() -> None:
    info = b"d6:pieces20:" + b"h" * 20 + b"4:name1:x12:piece lengthi16384e6:lengthi5ee"
    descriptor = Descriptor.parse(b"d4:info" + info + b"8:announce9:http://a/e")
    assert descriptor.infohash == hashlib.sha1(info).hexdigest()
    assert descriptor.encode() == b"d8:announce9:http://a/4:info" + info + b"e"


def parsed_or_refused_by_a_rule(data: bytes) -> Descriptor | None:
    try:
        return Descriptor.parse(data)
    except DescriptorError as error:
        if error.rule not in RULES:
            raise AssertionError(f"{error.rule!r} is no rule") from error
        return None


@settings(max_examples=150, deadline=None)
@given(some.data())
def test_any_change_to_a_torrent_parses_or_raises_the_one_error(data: some.DataObject) -> None:
    info, layers = data.draw(some.sampled_from([v2(FILES), hybrid(FILES), (v1_single(), None)]))
    good = torrent(info, layers, announce=b"http://a/", nodes=[[b"h", 1]], url_list=[b"http://w/"])
    at = data.draw(some.integers(0, len(good) - 1))
    new = data.draw(some.binary(max_size=3) | some.sampled_from([b"i1e", b"le", b"de", b"0:"]))
    cut = data.draw(some.integers(0, 3))
    bad = good[:at] + new + good[at + cut :]
    descriptor = parsed_or_refused_by_a_rule(bad)
    if descriptor is None:
        return
    assert Descriptor.parse(descriptor.encode()) == descriptor


def mutated(value: object, draw: some.DrawFn) -> object:
    """One place of a value replaced."""
    other = some.sampled_from([0, -1, 2**40, b"", b"..", b"x" * 32, [], {}, [b""], {b"": {}}])
    if isinstance(value, dict) and value and draw(some.integers(0, 3)):
        key = draw(some.sampled_from(sorted(value)))
        if draw(some.integers(0, 9)) == 0:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutated(value[key], draw)}
    if isinstance(value, list) and value and draw(some.integers(0, 3)):
        at = draw(some.integers(0, len(value) - 1))
        return [*value[:at], mutated(value[at], draw), *value[at + 1 :]]
    return draw(other)


@settings(max_examples=300, deadline=None)
@given(some.data())
def test_any_other_structure_parses_or_raises_the_one_error(data: some.DataObject) -> None:
    info, layers = data.draw(
        some.sampled_from([v2(FILES), hybrid(FILES), (v1_many(([b"a"], 5), ([b"b", b"c"], 6)), {})])
    )
    good = torrent(info, layers, announce=b"http://a/", announce_list=[[b"http://a/"]])
    bad = mutated(decode(good), lambda strategy: data.draw(strategy))  # type: ignore[arg-type]
    descriptor = parsed_or_refused_by_a_rule(encode(bad))
    if descriptor is None:
        return
    assert Descriptor.parse(descriptor.encode()) == descriptor
    for piece in range(min(descriptor.piece_count, 10)):
        assert 0 < descriptor.piece_bytes(piece) <= descriptor.piece_length
        descriptor.check_piece(piece, bytes(descriptor.piece_bytes(piece)))
