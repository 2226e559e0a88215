"""Torrents that look odd and must be read: name, the paths of their files, bytes."""

from __future__ import annotations

from hashlib import sha256

from tests.content.torrents import PIECE, hybrid, torrent, v1_many, v1_single, v2

from spinney.wire.bencode import encode

Case = tuple[str, list[str], bytes]
LONG = b"n" * 300 + b".tar"
"""Of more than 255 bytes."""
LINK = {b"attr": b"l", b"length": 0, b"path": [b"l"], b"symlink path": [b"..", b"x"]}
CUT = "n" * 227


def named(name: str, given: list[list[bytes]], expected: list[str]) -> Case:
    files = [(path, 1) for path in given]
    return name, [f"folder/{path}" for path in expected], torrent(v1_many(*files))


def all_accepted() -> list[Case]:
    unsorted = b"d6:pieces20:" + b"h" * 20 + b"4:name1:x12:piece lengthi16384e6:lengthi5ee"
    plain = ["file.bin"]
    return [
        ("odd_keys_unsorted_everywhere", ["x"], b"d4:info" + unsorted + b"8:announce9:http://a/e"),
        ("odd_piece_length_of_1000", plain,
         torrent(v1_single(3000, piece_length=1000, pieces=b"h" * 60))),
        ("odd_piece_length_of_one", plain, torrent(v1_single(3, piece_length=1, pieces=b"h" * 60))),
        ("odd_piece_of_128_mebibytes", plain, torrent(v1_single(1, piece_length=1 << 27))),
        ("odd_empty_file", plain, torrent(v1_single(0))),
        ("odd_unknown_keys", plain, torrent(v1_single(source=b"x", zzz=[]), xyz={b"a": 1})),
        ("odd_private_zero", plain, torrent(v1_single(private=0))),
        ("odd_only_padding", [],
         torrent(v1_many({b"attr": b"p", b"length": 5, b"path": [b".pad", b"5"]}))),
        ("odd_padding_without_path", ["folder/a"],
         torrent(v1_many(([b"a"], 5), {b"attr": b"p", b"length": 5}))),
        ("odd_padding_named_unsafely", ["folder/a"],
         torrent(v1_many(([b"a"], 5), {b"attr": b"p", b"length": 5, b"path": [b"..", b".."]}))),
        ("odd_padding_of_bitcomet", ["folder/a", "folder/b"],
         torrent(v1_many(([b"a"], 5), ([b"_____padding_file_0_if you see this"], 9), ([b"b"], 5)))),
        ("odd_link_is_left_out", ["folder/a"],
         torrent(v1_many(([b"a"], 5), LINK))),
        ("odd_names_in_two_alphabets", ["folder/ä"],
         torrent(v1_many({b"length": 5, b"path": [b"\xe4"], b"path.utf-8": [b"\xc3\xa4"]}))),
        ("odd_announce_empty", plain, torrent(v1_single(), announce=b"", announce_list=[[]])),
        ("odd_announce_list_flat", plain, torrent(v1_single(), announce_list=[b"http://a/"])),
        ("odd_comment_an_integer", plain, torrent(v1_single(), comment=5, creation_date=b"today")),
        ("odd_no_trackers_at_all", plain, torrent(v1_single())),
        ("odd_files_of_one", ["folder/only"], torrent(v1_many(([b"only"], 1)))),
        ("odd_path_of_100_parts", ["folder/" + "/".join(["d"] * 99)],
         torrent(v1_many(([b"d"] * 99, 1)))),
        ("odd_announce_list_of_many", plain,
         torrent(v1_single(), announce_list=[[b"http://%d/" % number] for number in range(300)])),
        named("name_device_of_windows", [[b"CON"], [b"aux.txt"], [b"d", b"com1"], [b"console"]],
              ["CON_", "aux_.txt", "d/com1_", "console"]),
        named("name_ends_in_dots_and_spaces", [[b"a."], [b"b "], [b"c. ."], [b"..."]],
              ["a_", "b_", "c___", "___"]),
        named("name_with_characters_windows_forbids", [[b'a<b>c:d"e|f?g*h']], ["a_b_c_d_e_f_g_h"]),
        named("name_with_control_characters", [[b"a\x07\x1b[31mb\n\x7f"]], ["a__[31mb__"]),
        named("name_that_turns_text_round", [["bill\u202efdp.exe".encode()]], ["bill_fdp.exe"]),
        named("name_no_utf8", [[b"\xff\xfe"], [b"\xff\xfd"]], ["\ufffd\ufffd", "\ufffd\ufffd~2"]),
        named("name_of_300_bytes", [[LONG]], [CUT + "~" + sha256(LONG).hexdigest()[:8] + ".tar"]),
        named("name_differs_by_case", [[b"readme"], [b"README"], [b"ReadMe.txt"], [b"Readme"]],
              ["readme", "README~2", "ReadMe.txt", "Readme~3"]),
        named("name_differs_by_composition", [["\u00e4".encode()], ["a\u0308".encode()]],
              ["\u00e4", "a\u0308~2"]),
        named("name_of_file_is_folder_by_case", [[b"A"], [b"a", b"b"]], ["A~2", "a/b"]),
        named("name_taken_by_what_it_became", [[b"a?"], [b"a_"], [b"a*"]], ["a_", "a_~2", "a_~3"]),
        named("name_like_a_script", [[b"<script>alert(1)</script>.mp3".replace(b"/", b"")]],
              ["_script_alert(1)_script_.mp3"]),
        named("name_hidden", [[b".bashrc"], [b"~"], [b"-rf"]], [".bashrc", "~", "-rf"]),
        ("v2_single_file", ["folder"], torrent(*v2({b"folder": 40_000}))),
        ("v2_single_file_of_another_name", ["folder/a"], torrent(*v2({b"a": 40_000}))),
        ("v2_empty_files", ["folder/a", "folder/b"], torrent(*v2({b"a": 0, b"b": 0}))),
        ("v2_same_file_twice", ["folder/a", "folder/b"], torrent(*same_twice())),
        ("v2_small_files_without_layers", ["folder/a", "folder/b"],
         torrent(v2({b"a": PIECE, b"b": 1})[0])),
        ("hybrid_with_empty_files", ["folder/a", "folder/b", "folder/c"],
         torrent(*hybrid({b"a": 20_000, b"b": 0, b"c": 5}))),
        ("hybrid_without_layers", ["folder/a"], torrent(hybrid({b"a": 40_000})[0])),
        ("hybrid_padded_behind_the_end", ["folder/a"], padded_tail()),
    ]  # fmt: skip


def same_twice() -> tuple[dict[bytes, object], dict[bytes, bytes]]:
    info, layers = v2({b"a": 40_000})
    tree = info[b"file tree"]
    tree[b"b"] = tree[b"a"]
    return info, layers


def padded_tail() -> bytes:
    info, layers = hybrid({b"a": 20_000})
    info[b"files"].append({b"attr": b"p", b"length": 2 * PIECE - 20_000, b"path": [b".pad", b"1"]})
    return encode({b"info": info, b"piece layers": layers})
