"""The MC-FTP paper's File Descriptor (its section III): fields beside `info`, made and judged."""

from __future__ import annotations

import asyncio
import random
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.content import making
from spinney.content.descriptor import Descriptor
from spinney.content.layout import Layout
from spinney.content.magnet import Magnet, parse_magnet
from spinney.content.making import Made, Version, make_descriptor
from spinney.content.paper import (
    Paper,
    Verdict,
    fields,
    judge,
    published,
    read_published,
    redundancy,
)
from spinney.errors import DescriptorError
from spinney.net.live.host import LiveHost
from spinney.trust.keys import Keys
from spinney.wire.bencode import Value, decode, encode

KEYS = Keys(bytes(range(32)))
VERSIONS: list[Version] = ["v1", "v2", "hybrid"]


def make(path: Path, **options: object) -> Made:
    async def scene() -> Made:
        async with asyncio.timeout(60):
            return await make_descriptor(LiveHost(), str(path), **options)  # type: ignore[arg-type]

    return asyncio.run(scene())


def chunks_of(descriptor: Descriptor, contents: list[bytes]) -> list[bytes]:
    """The pieces, put together from files by the definition."""
    layout = Layout(descriptor)
    rows = []
    for piece in range(descriptor.piece_count):
        data = bytearray(descriptor.piece_bytes(piece))
        for span in layout.spans(piece * descriptor.piece_length, len(data)):
            part = contents[span.file][span.file_offset : span.file_offset + span.length]
            data[span.at : span.at + span.length] = part
        rows.append(bytes(data))
    return rows


def by_definition(descriptor: Descriptor, contents: list[bytes]) -> Paper:
    chunks = chunks_of(descriptor, contents)
    following = chunks[1:] + chunks[:1]
    sums = [md5(one + other).digest() for one, other in zip(chunks, following, strict=True)]
    return Paper(md5(b"".join(contents)).digest(), b"".join(sums))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 32_767, 32_768, 32_769, 65_536, 100_000, 300_000])
def test_the_circle_closes_for_any_number_of_chunks(
    version: Version, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """n = 1, n = 2, a short last chunk; in units of two chunks, so that pairs span units."""
    monkeypatch.setattr(making, "UNIT_BYTES", 65_536)
    path = tmp_path / "file"
    path.write_bytes(random.Random(size).randbytes(size))
    made = make(path, version=version, piece_length=32_768, paper=True)
    assert made.descriptor.paper == by_definition(made.descriptor, [path.read_bytes()])
    assert made.sha256 is not None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_is_its_files_one_after_the_other(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "UNIT_BYTES", 32_768)
    rng = random.Random(1)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, size in {"a": 1, "b": 40_000, "c": 0, "d": 16_384, "e": 70_001}.items():
        (folder / name).write_bytes(rng.randbytes(size))
    made = make(folder, version=version, piece_length=16_384, paper=True)
    contents = [Path(path).read_bytes() for path in made.paths]
    assert made.descriptor.paper == by_definition(made.descriptor, contents)
    plain = make(folder, version=version, piece_length=16_384)
    assert plain.descriptor.paper is None
    assert plain.descriptor.info_bytes == made.descriptor.info_bytes, "the infohash stays"


@pytest.fixture
def signed(tmp_path: Path) -> Descriptor:
    path = tmp_path / "file"
    path.write_bytes(random.Random(5).randbytes(50_000))
    return make(path, piece_length=16_384, keys=KEYS).descriptor


def test_what_is_written_is_read_and_other_edits_keep_it(signed: Descriptor) -> None:
    again = Descriptor.parse(signed.encode())
    assert again.encode() == signed.encode()
    assert again.paper == signed.paper
    assert again.publisher == KEYS.public
    assert again.edited(comment="new").publisher == KEYS.public
    bare = again.edited(paper=None)
    assert bare.paper is None
    assert bare.publisher is None
    assert b"mc-ftp" not in bare.encode()
    assert bare.infohash == signed.infohash


def test_a_signature_holds_for_this_torrent_and_these_checksums_only(signed: Descriptor) -> None:
    paper = signed.paper
    assert paper is not None
    assert paper.holds(signed)
    assert paper.signature is not None
    flipped = bytes([paper.checksums[0] ^ 1]) + paper.checksums[1:]
    other_id = bytes([paper.file_id[0] ^ 1]) + paper.file_id[1:]
    stranger = Keys(bytes(32))
    wrong = [
        Paper(paper.file_id, flipped, paper.publisher, paper.signature),
        Paper(other_id, paper.checksums, paper.publisher, paper.signature),
        Paper(paper.file_id, paper.checksums, stranger.public, paper.signature),
        Paper(paper.file_id, paper.checksums, paper.publisher, bytes(64)),
        Paper(paper.file_id, paper.checksums),
    ]
    assert not any(each.holds(signed) for each in wrong)
    assert not any(signed.edited(paper=each).publisher for each in wrong)
    other = dict(decode(signed.info_bytes))  # type: ignore[call-overload]
    other[b"name"] = b"another"
    assert not paper.holds(Descriptor.from_info(encode(other)))


def broken_fields(signed: Descriptor) -> list[tuple[str, Value]]:
    assert signed.paper is not None
    good = fields(signed.paper, signed.piece_length)
    changes: list[tuple[str, dict[bytes, Value]]] = [
        ("mc-ftp", {b"version": b"1"}),
        ("mc-ftp", {b"file id": bytes(15)}),
        ("mc-ftp", {b"file id": 7}),
        ("mc-ftp-checksums", {b"checksums": bytes(16 * 3)}),
        ("mc-ftp-checksums", {b"checksums": []}),
        ("mc-ftp-publisher", {b"publisher": bytes(31)}),
        ("mc-ftp-publisher", {b"signature": bytes(63)}),
        *(("mc-ftp-layout", {key: 12_345}) for key in redundancy(16_384) if key != b"version"),
    ]
    rows: list[tuple[str, Value]] = [(rule, {**good, **change}) for rule, change in changes]
    rows.append(("mc-ftp", b"no dictionary"))
    rows.append(("mc-ftp", {}))
    rows.append(("mc-ftp-publisher", {k: v for k, v in good.items() if k != b"signature"}))
    return rows


def test_fields_that_do_not_fit_the_torrent_are_refused(signed: Descriptor) -> None:
    outer = dict(decode(signed.encode()))  # type: ignore[call-overload]
    for rule, table in broken_fields(signed):
        with pytest.raises(DescriptorError) as caught:
            Descriptor.parse(encode({**outer, b"mc-ftp": table}))
        assert caught.value.rule == rule, table
    for version in (1, 3):
        table = {b"version": version, b"code": b"other"}
        other = Descriptor.parse(encode({**outer, b"mc-ftp": table}))
        assert other.paper is None, "another version is left out, not refused"
        assert b"code5:other" in other.encode(), "and kept"


def test_the_pages_of_a_group_carry_what_was_signed(signed: Descriptor) -> None:
    assert signed.paper is not None
    blob = published(signed.paper, signed)
    assert read_published(blob, signed) == signed.paper
    assert read_published(blob, signed, KEYS.public) == signed.paper
    assert read_published(blob, signed, Keys(bytes(32)).public) is None
    unsigned = Paper(signed.paper.file_id, signed.paper.checksums)
    assert read_published(published(unsigned, signed), signed) is None
    for rule, table in broken_fields(signed):
        assert read_published(encode(table), signed) is None, rule
    for wrong in (b"", b"i1e", b"d", b"x" * 1000, b"l" * 1000, blob[:-1], blob + b"e"):
        assert read_published(wrong, signed) is None


@given(st.binary(max_size=200))
def test_any_published_bytes_are_none(blob: bytes) -> None:
    info = {b"name": b"a", b"piece length": 16_384, b"length": 5, b"pieces": bytes(20)}
    assert read_published(blob, Descriptor.from_info(encode(info))) is None


def test_the_redundancy_restates_the_layout() -> None:
    def of(piece_length: int) -> tuple[Value, ...]:
        table = redundancy(piece_length)
        return table[b"block size"], table[b"blocks"], table[b"symbols"]

    assert of(16_384) == (1 << 20, -64, 745)
    assert of(1 << 20) == (1 << 20, 1, 745)
    assert of(16 << 20) == (1 << 20, 16, 745)
    assert of(768 << 10) == (1536 << 10, -2, 1118)
    assert of(1536 << 10) == (1536 << 10, 1, 1118)


def test_a_link_names_the_publisher(signed: Descriptor) -> None:
    link = str(Magnet.of(signed))
    assert f"x.pub={KEYS.public.hex()}" in link
    assert parse_magnet(link).publisher == KEYS.public
    assert parse_magnet(link.replace("x.pub", "X.PUB")).publisher == KEYS.public
    from base64 import b32encode

    short = b32encode(KEYS.public).decode().rstrip("=")
    plain = str(Magnet.of(signed.edited(paper=None)))
    assert "x.pub" not in plain
    assert parse_magnet(plain).publisher is None
    assert parse_magnet(f"{plain}&x.pub={short}").publisher == KEYS.public
    assert parse_magnet(f"{plain}&x.pub={short.lower()}&x.pub={short}").publisher == KEYS.public
    for wrong in ("", "00", "g" * 64, short[:-1], short + "A", short[:-1] + "B", f"{short}===="):
        with pytest.raises(DescriptorError) as caught:
            parse_magnet(f"{plain}&x.pub={wrong}&dn=x") if wrong else parse_magnet(
                f"{plain}&x.pub=1"
            )
        assert caught.value.rule == "magnet-publisher"
    with pytest.raises(DescriptorError, match="several"):
        parse_magnet(f"{plain}&x.pub={short}&x.pub={'0' * 64}")


@pytest.mark.parametrize(
    ("count", "pairs", "held", "expected"),
    [
        (1, {0: True}, [0], "G"),
        (1, {0: False}, [0], "B"),
        (2, {0: True, 1: True}, [0, 1], "GG"),
        (2, {0: False, 1: False}, [0, 1], "DD"),
        (5, {}, [0, 2], "UU"),
        (5, {0: True, 1: False, 2: False, 3: True, 4: True}, range(5), "GGBGG"),
        (6, {0: True, 1: False, 2: False, 3: False, 4: True, 5: True}, range(6), "GGBBGG"),
        (7, dict(enumerate([True, False, False, False, False, True, True])), range(7), "GGBDBGG"),
        (5, {4: False, 0: True}, [4, 0, 1, 3], "BGGU"),
        (5, {4: True}, [0, 2, 4], "GUG"),
    ],
)  # fmt: skip
def test_what_pairs_prove(
    count: int, pairs: dict[int, bool], held: list[int], expected: str
) -> None:
    words = {"G": Verdict.GOOD, "B": Verdict.BAD, "D": Verdict.DOUBTED, "U": Verdict.UNCHECKED}
    assert judge(pairs, count, held) == {
        chunk: words[letter] for chunk, letter in zip(held, expected, strict=True)
    }
