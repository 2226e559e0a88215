"""Torrents that must be refused: name, rule, bytes.  Each name says what is wrong."""

from __future__ import annotations

from tests.content.torrents import PIECE, changed, hybrid, torrent, v1_many, v1_single, v2

from spinney.content.paper import redundancy
from spinney.trust import merkle
from spinney.wire.bencode import Value

Case = tuple[str, str, bytes]
Info = dict[bytes, Value]

GOOD = torrent(v1_single())
FILES = {b"a": 40_000, b"b/c": 5}


def single(rule: str, **named: dict[str, Value]) -> list[Case]:
    """Version 1, one file, with keys changed."""
    return [(name, rule, torrent(v1_single(**keys))) for name, keys in named.items()]


def many(rule: str, **named: list[Value]) -> list[Case]:
    """Version 1, these entries as `files`."""
    return [(name, rule, torrent(v1_many(*rows))) for name, rows in named.items()]


def named(rule: str, **paths: list[list[bytes]]) -> list[Case]:
    """Version 1, files of one byte with these paths."""
    return many(rule, **{name: [(path, 1) for path in rows] for name, rows in paths.items()})


def outer(rule: str, **rows: dict[str, Value]) -> list[Case]:
    return [(name, rule, torrent(v1_single(), None, **keys)) for name, keys in rows.items()]


PAPER: dict[bytes, Value] = {
    **redundancy(PIECE),
    b"file id": bytes(16),
    b"checksums": bytes(16 * 3),
}
"""The MC-FTP paper's fields, as they fit `GOOD`."""


def paper(rule: str, **rows: dict[bytes, Value]) -> list[Case]:
    return outer(rule, **{name: {"mc_ftp": {**PAPER, **row}} for name, row in rows.items()})


def two(rule: str, **rows: dict[str, Value]) -> list[Case]:
    """Version 2, with keys of the info changed."""
    return [
        (name, rule, torrent(changed(v2(FILES)[0], keys), v2(FILES)[1]))
        for name, keys in rows.items()
    ]


def tree(rule: str, **rows: Value) -> list[Case]:
    return two(rule, **{name: {"file_tree": value} for name, value in rows.items()})


def entry(length: Value = 5, root: Value = b"r" * 32, **more: Value) -> Info:
    """A file of a version 2 tree."""
    file: Info = {}
    return {b"": changed(file, {"length": length, "pieces_root": root} | more)}


def both(rule: str, **rows: tuple[dict[bytes, int], dict[bytes, int]]) -> list[Case]:
    """A hybrid of one list of files in version 1 and another in version 2."""
    cases = []
    for name, (one, other) in rows.items():
        info, layers = v2(other)
        cases.append(
            (name, rule, torrent(hybrid(one)[0] | {b"file tree": info[b"file tree"]}, layers))
        )
    return cases


def bencoded() -> list[Case]:
    return [
        ("bencode_cut_short", "bencode", GOOD[:-1]),
        ("bencode_bytes_after_the_end", "bencode", GOOD + b"e"),
        ("bencode_key_twice_in_info", "bencode", GOOD.replace(b"4:name", b"6:lengthi1e4:name")),
        (
            "bencode_a_thousand_lists_deep",
            "bencode",
            b"d4:infod1:x" + b"l" * 1000 + b"e" * 1000 + b"ee",
        ),
        ("bencode_string_longer_than_the_file", "bencode", b"d4:infod4:name999999999999:xee"),
        ("info_missing", "info", b"d8:announce9:http://a/e"),
        ("info_a_string", "info", torrent(b"info")),
        ("info_a_list", "info", torrent([1])),
        ("info_in_an_empty_dictionary", "info", b"de"),
        ("info_an_integer", "info", torrent(7)),
    ]


def beside() -> list[Case]:
    return [
        *outer(
            "announce",
            announce_an_integer={"announce": 1},
            announce_a_list={"announce": [b"http://a/"]},
        ),
        *outer(
            "announce-list",
            announce_list_a_string={"announce_list": b"http://a/"},
            announce_list_of_integers={"announce_list": [[1]]},
            announce_list_a_dictionary={"announce_list": {}},
            announce_list_too_nested={"announce_list": [[[b"http://a/"]]]},
        ),
        *outer(
            "url-list",
            url_list_an_integer={"url_list": 5},
            url_list_of_lists={"url_list": [[b"http://a/"]]},
            url_list_a_dictionary={"url_list": {b"a": b"b"}},
        ),
        *outer(
            "nodes",
            nodes_a_string={"nodes": b"127.0.0.1:1"},
            nodes_port_zero={"nodes": [[b"h", 0]]},
            nodes_port_beyond_65535={"nodes": [[b"h", 65_536]]},
            nodes_without_port={"nodes": [[b"h"]]},
            nodes_host_empty={"nodes": [[b"", 1]]},
        ),
        *outer(
            "mc-ftp",
            mc_ftp_a_string={"mc_ftp": b"1"},
            mc_ftp_empty={"mc_ftp": {}},
        ),
        *paper("mc-ftp", mc_ftp_file_id_too_short={b"file id": bytes(15)}),
        *paper(
            "mc-ftp-layout",
            mc_ftp_other_symbols={b"symbol size": 1400},
            mc_ftp_other_code={b"code": b"raptorq"},
        ),
        *paper(
            "mc-ftp-checksums",
            mc_ftp_a_checksum_too_few={b"checksums": bytes(32)},
            mc_ftp_checksums_a_list={b"checksums": []},
        ),
        *paper(
            "mc-ftp-publisher",
            mc_ftp_publisher_without_signature={b"publisher": bytes(32)},
            mc_ftp_signature_too_short={b"publisher": bytes(32), b"signature": bytes(63)},
        ),
        *outer(
            "url",
            url_with_line_break={"announce": b"http://a/\r\nX-Header: y"},
            url_with_space={"announce": b"http://a b/"},
            url_no_utf8={"announce": b"http://\xff/"},
            url_of_three_kilobytes={"url_list": b"http://" + b"a" * 3_000},
            url_with_nul={"announce_list": [[b"http://a/\0"]]},
        ),
    ]


def dictionary() -> list[Case]:
    return [
        *single(
            "name",
            name_missing={"name": None},
            name_an_integer={"name": 1},
            name_empty={"name": b""},
        ),
        *single(
            "piece-length",
            piece_length_missing={"piece_length": None},
            piece_length_zero={"piece_length": 0},
            piece_length_negative={"piece_length": -16_384},
            piece_length_a_string={"piece_length": b"16384"},
            piece_length_of_a_gigabyte={"piece_length": 1 << 30},
        ),
        *single(
            "private", private_two={"private": 2}, private_a_string={"private": b"1"},
            private_negative={"private": -1},
        ),
        *single(
            "meta-version",
            meta_version_three={"meta_version": 3},
            meta_version_a_string={"meta_version": b"2"},
            meta_version_zero={"meta_version": 0},
        ),
        *single(
            "versions",
            versions_none={"length": None, "pieces": None},
            versions_two_without_tree={"meta_version": 2},
            versions_tree_without_two={"file_tree": {}},
        ),
        *single(
            "pieces",
            pieces_missing={"pieces": None},
            pieces_a_list={"pieces": [b"h" * 20] * 3},
            pieces_of_59_bytes={"pieces": b"h" * 59},
        ),
        *single(
            "pieces-count",
            pieces_one_too_few={"pieces": b"h" * 40},
            pieces_one_too_many={"pieces": b"h" * 80},
            pieces_empty={"pieces": b""},
            pieces_for_an_empty_file={"length": 0, "pieces": b"h" * 20},
        ),
        *single(
            "length",
            length_negative={"length": -1},
            length_a_string={"length": b"40000"},
        ),
        *single(
            "length-or-files",
            length_and_files={"files": [{b"length": 1, b"path": [b"a"]}]},
            neither_length_nor_files={"length": None},
        ),
        *single(
            "files",
            files_an_empty_list={"length": None, "files": []},
            files_a_dictionary={"length": None, "files": {b"a": 1}},
            files_of_strings={"length": None, "files": [b"a"]},
        ),
        *single(
            "pieces-bound",
            two_million_pieces_and_one={"length": 2_097_153, "piece_length": 1},
            length_beyond_64_bits={"length": 10**19},
            length_of_an_exabyte={"length": 1 << 60, "piece_length": 1 << 27},
        ),
    ]  # fmt: skip


def version_1_files() -> list[Case]:
    return [
        *many(
            "length",
            file_length_missing=[{b"path": [b"a"]}],
            file_length_negative=[([b"a"], 2), ([b"b"], -1)],
        ),
        *many(
            "path",
            path_missing=[{b"length": 1}],
            path_empty=[([], 1)],
            path_a_string=[{b"length": 1, b"path": b"a"}],
            path_of_integers=[{b"length": 1, b"path": [1]}],
            path_of_lists=[{b"length": 1, b"path": [[b"a"]]}],
        ),
        *many(
            "attributes",
            attributes_an_integer=[{b"attr": 1, b"length": 1, b"path": [b"a"]}],
            link_with_bytes_of_its_own=[{b"attr": b"l", b"length": 9, b"path": [b"a"]}],
        ),
        *named("depth", path_of_101_parts=[[b"d"] * 100], path_of_5000_parts=[[b"d"] * 5000]),
        *named(
            "path-length",
            path_of_4000_bytes=[[b"d" * 200] * 20],
            path_of_many_long_parts=[[b"\xc3\xa4" * 120] * 14],
        ),
        *named(
            "name-empty",
            name_part_empty=[[b"a", b"", b"b"]],
            name_last_part_empty=[[b"a", b""]],
        ),
        *named(
            "name-dots",
            name_parent_folder=[[b"..", b"x"]],
            name_parent_deep_inside=[[b"a", b"b", b"..", b"..", b"..", b"x"]],
            name_this_folder=[[b".", b"x"]],
            name_last_part_is_parent=[[b"a", b".."]],
        ),
        ("torrent_name_is_parent_folder", "name-dots", torrent(v1_many(([b"x"], 1), name=b".."))),
        *named(
            "name-separator",
            name_with_slash=[[b"../../etc/passwd"]],
            name_with_backslash=[[b"..\\..\\windows\\system.ini"]],
            name_absolute=[[b"/etc/passwd"]],
            name_of_a_drive=[[b"C:\\x"]],
        ),
        ("torrent_name_absolute", "name-separator", torrent(v1_single(name=b"/etc/passwd"))),
        *named("name-nul", name_with_nul=[[b"a\0.txt"]], name_nul_alone=[[b"\0"]]),
        ("torrent_name_with_nul", "name-nul", torrent(v1_single(name=b"file\0.bin"))),
        *named(
            "name-twice",
            two_files_of_one_path=[[b"a"], [b"b"], [b"a"]],
            two_files_of_one_path_deep=[[b"a", b"b"], [b"a", b"b"]],
        ),
        *named(
            "name-file-and-folder",
            a_file_and_then_a_folder=[[b"a"], [b"a", b"b"]],
            a_folder_and_then_a_file=[[b"a", b"b"], [b"a"]],
            a_file_below_a_file=[[b"a", b"b"], [b"a", b"b", b"c", b"d"]],
        ),
    ]


def version_2() -> list[Case]:
    info, layers = v2(FILES)
    root, layer = next(iter(layers.items()))
    big = changed(v2({b"a": 40_000})[0], {})
    huge = {b"a": entry(2_097_153 * PIECE)}
    return [
        *two(
            "piece-length-v2",
            v2_piece_length_no_power_of_two={"piece_length": 3 * PIECE},
            v2_piece_length_of_8_kilobytes={"piece_length": 8_192},
            v2_piece_length_of_one={"piece_length": 1},
        ),
        *two("versions", v2_without_meta_version={"meta_version": None}),
        *tree(
            "file-tree",
            v2_tree_empty={},
            v2_tree_a_list=[],
            v2_tree_folder_empty={b"a": {}},
            v2_tree_folder_a_string={b"a": b"b"},
            v2_tree_folder_an_integer={b"a": {b"b": 1}},
        ),
        *tree(
            "file-tree-file",
            v2_file_a_string={b"a": {b"": b"x"}},
            v2_file_beside_a_folder={b"a": entry() | {b"b": entry()}},
            v2_file_at_the_root=entry(),
        ),
        *tree(
            "pieces-root",
            v2_root_missing={b"a": entry(root=None)},
            v2_root_of_31_bytes={b"a": entry(root=b"r" * 31)},
            v2_root_of_an_empty_file={b"a": entry(0)},
            v2_root_an_integer={b"a": entry(root=1)},
            v2_root_of_two_lengths={b"a": entry(20_000), b"b": entry(40_000)},
        ),
        *tree("length", v2_length_negative={b"a": entry(-5)}),
        *tree("attributes", v2_link_with_bytes={b"a": entry(5, attr=b"l")}),
        *tree("pieces-bound", v2_two_million_pieces_and_one=huge),
        ("v2_name_is_parent_folder", "name-nul", torrent(big | {b"file tree": {b"a\0": entry()}})),
        ("layers_a_list", "piece-layers", torrent(info)[:-1] + b"12:piece layerslee"),
        ("layers_of_integers", "piece-layers", torrent(info, {root: 1})),
        ("layers_under_a_short_root", "piece-layers", torrent(info, {b"r" * 31: layer})),
        ("layers_missing", "piece-layer-missing", torrent(info)),
        ("layers_empty", "piece-layer-missing", torrent(info, {})),
        ("layer_one_hash_short", "piece-layer-length", torrent(info, {root: layer[:-32]})),
        ("layer_one_hash_long", "piece-layer-length", torrent(info, {root: layer + bytes(32)})),
        ("layer_of_95_bytes", "piece-layer-length", torrent(info, {root: layer[:-1]})),
        ("layer_of_a_flipped_bit", "piece-layer-root", torrent(info, {root: b"\1" + layer[1:]})),
        ("layer_of_zeros", "piece-layer-root", torrent(info, {root: bytes(96)})),
        ("layer_of_swapped_hashes", "piece-layer-root",
         torrent(info, {root: layer[32:64] + layer[:32] + layer[64:]})),
        ("layer_of_no_file", "piece-layer-unknown", torrent(info, layers | {b"r" * 32: layer})),
        ("layer_of_a_file_of_one_piece", "piece-layer-unknown",
         torrent(info, layers | {merkle.file_root(b"x"): b"r" * 32})),
    ]  # fmt: skip


def hybrids() -> list[Case]:
    info, layers = hybrid(FILES)
    # As many pieces without padding as with it: only the offset tells.
    other, other_layers = v2({b"a": 20_000, b"b": 14_000})
    unpadded = [{b"length": 20_000, b"path": [b"a"]}, {b"length": 14_000, b"path": [b"b"]}]
    unaligned = other | {b"files": unpadded, b"pieces": b"h" * 60}
    wide = [
        info[b"files"][0],
        {b"attr": b"p", b"length": 9_152 + PIECE, b"path": [b"p"]},
        info[b"files"][-1],
    ]
    tail = [*info[b"files"], {b"attr": b"p", b"length": 2 * PIECE, b"path": [b"p"]}]
    return [
        *both(
            "hybrid-files",
            hybrid_other_name=({b"a": 5}, {b"b": 5}),
            hybrid_other_length=({b"a": 5}, {b"a": 6}),
            hybrid_file_only_in_v1=({b"a": 5, b"b": 6}, {b"a": 5}),
            hybrid_file_only_in_v2=({b"a": 5}, {b"a": 5, b"b": 6}),
        ),
        (
            "hybrid_other_order",
            "hybrid-files",
            torrent(info | {b"files": list(reversed(info[b"files"]))}, layers),
        ),
        (
            "hybrid_without_padding",
            "hybrid-alignment",
            torrent(unaligned, other_layers),
        ),
        (
            "hybrid_padding_of_a_piece_too_many",
            "hybrid-alignment",
            torrent(info | {b"files": wide, b"pieces": b"h" * 100}, layers),
        ),
        (
            "hybrid_padding_behind_the_end",
            "hybrid-alignment",
            torrent(info | {b"files": tail, b"pieces": b"h" * 120}, layers),
        ),
    ]


def all_refused() -> list[Case]:
    return [*bencoded(), *beside(), *dictionary(), *version_1_files(), *version_2(), *hybrids()]
