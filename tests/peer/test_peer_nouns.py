"""The pure parts of `peer/`: outputs, addresses, selection, stopping, speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinney.content.descriptor import Descriptor
from spinney.errors import NotFoundError, NotWritableError, UsageError
from spinney.net.host import Interface
from spinney.net.live import LiveHost
from spinney.peer.handle import Speed
from spinney.peer.making import plain_path
from spinney.peer.outputs import Output, choose_output
from spinney.peer.reachable import EVERYWHERE, listening_addresses, told_addresses
from spinney.peer.selecting import selected
from spinney.peer.sources import tiers_of
from spinney.peer.stopping import Patience, SeedWish
from spinney.wire.bencode import encode


def interface(name: str, *addresses: str, up: bool = True) -> Interface:
    loopback = name == "lo"
    rows = tuple((address, 24) for address in addresses)
    return Interface(name, 1, rows, 1500, not loopback, loopback, up)


LO = interface("lo", "127.0.0.1", "::1")
ETH = interface("eth0", "192.168.1.5", "fe80::1", "2001:db8::5")


def test_told_addresses_are_those_that_mean_something_elsewhere() -> None:
    assert told_addresses([LO, ETH], EVERYWHERE) == ("192.168.1.5", "2001:db8::5")
    assert told_addresses([LO], EVERYWHERE) == ("127.0.0.1", "::1")
    assert told_addresses([], EVERYWHERE) == ("127.0.0.1",)
    down = interface("eth1", "10.0.0.1", up=False)
    assert told_addresses([LO, down], EVERYWHERE) == ("127.0.0.1", "::1")
    assert told_addresses([LO, ETH], ("127.0.0.1",)) == ("127.0.0.1",)
    many = interface("br0", *(f"10.0.0.{n}" for n in range(1, 30)))
    assert len(told_addresses([many], EVERYWHERE)) == 6
    namespace = interface("lo", "127.0.0.1", "198.18.7.1")
    assert told_addresses([namespace], EVERYWHERE) == ("198.18.7.1",)


def test_an_interface_is_named_by_name_or_address() -> None:
    assert listening_addresses([LO, ETH], None) == EVERYWHERE
    assert listening_addresses([LO, ETH], "lo") == ("127.0.0.1", "::1")
    assert listening_addresses([LO, ETH], "192.168.1.5") == ("192.168.1.5",)
    assert listening_addresses([LO, ETH], "eth0") == (
        "192.168.1.5",
        "fe80::1%eth0",
        "2001:db8::5",
    )
    assert listening_addresses([LO, ETH], "127.0.0.9") == ("127.0.0.9",)
    for wish in ("eth9", "10.9.9.9", ""):
        with pytest.raises(UsageError, match="eth0, lo"):
            listening_addresses([LO, ETH], wish)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveHost:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.img").touch()
    return LiveHost()


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        (".", "folder"),
        ("folder", "folder"),
        ("folder/", "folder"),
        ("new", "folder"),
        ("new/deep", "folder"),
        ("file.img", "file"),
        ("x.bin", "file"),
        ("folder/x.bin", "file"),
        ("x.bin/", "folder"),
        ("x.bin.d", "folder"),
    ],
)
def test_an_output_is_a_folder_unless(host: LiveHost, wish: str, kind: str) -> None:
    made = choose_output(host.storage, wish, name="x.bin", single_file=True, chosen_files=1)
    assert made.kind == kind


def test_outputs_that_cannot_hold_it(host: LiveHost) -> None:
    def choose(wish: str, *, single: bool = True, files: int = 1, stream: bool = True) -> Output:
        return choose_output(
            host.storage,
            wish,
            name="x.bin",
            single_file=single,
            chosen_files=files,
            has_stream=stream,
        )

    assert choose("-").kind == "stream"
    with pytest.raises(UsageError, match="--select"):
        choose("-", single=False, files=2)
    with pytest.raises(UsageError, match="stream"):
        choose("-", stream=False)
    with pytest.raises(UsageError, match="name a folder"):
        choose("file.img", single=False, files=2)
    with pytest.raises(NotFoundError, match="no device"):
        choose("/dev/no-such-device")
    with pytest.raises(NotWritableError, match="neither"):
        choose("/dev/null")
    assert choose("x.bin", single=False, files=2).kind == "folder"


def test_where_files_end_up() -> None:
    files = (("photos", "a.jpg"), ("photos", "b.jpg"))
    assert Output("folder", ".").paths(files) == ("./photos/a.jpg", "./photos/b.jpg")
    assert Output("folder", "/").paths(files[:1]) == ("/photos/a.jpg",)
    assert Output("folder", "in/").paths(files[:1]) == ("in/photos/a.jpg",)
    assert Output("file", "x").paths((("y",),)) == ("x",)
    assert Output("stream", "-").paths((("y",),)) == ()


def descriptor() -> Descriptor:
    names = [["one.mp4"], ["two.mp4"], ["docs", "read.me"]]
    files = [{b"length": 10, b"path": [part.encode() for part in parts]} for parts in names]
    info = {b"name": b"set", b"piece length": 16384, b"pieces": b"x" * 20, b"files": files}
    return Descriptor.parse(encode({b"info": info}))


@pytest.mark.parametrize(
    ("wishes", "numbers"),
    [
        ([], [0, 1, 2]),
        (["*.mp4"], [0, 1]),
        (["two.mp4"], [1]),
        (["set/two.mp4"], [1]),
        (["docs"], [2]),
        (["docs/"], [2]),
        (["docs/*"], [2]),
        (["0"], [0]),
        (["1-2"], [1, 2]),
        (["0,2", "two.mp4"], [0, 1, 2]),
        (["1-99999999"], [1, 2]),
    ],
)
def test_files_are_selected_by_name_pattern_or_number(
    wishes: list[str], numbers: list[int]
) -> None:
    assert selected(descriptor(), wishes) == numbers


@pytest.mark.parametrize("wish", ["nothing", "7", "7-9", "", "one", "99999999-99999999"])
def test_a_selection_of_nothing_is_wrong_usage(wish: str) -> None:
    with pytest.raises(UsageError, match="no file is called"):
        selected(descriptor(), [wish])


def test_trackers_of_a_private_torrent_are_its_own() -> None:
    own = (("http://a/",), ("http://b/", "http://c/"))
    assert tiers_of(own, ["http://b/", "http://d/"], private=False) == (*own, ("http://d/",))
    assert tiers_of(own, ["http://d/"], private=True) == own


def test_a_seed_stops_at_the_first_wish_fulfilled() -> None:
    def done(wish: SeedWish, sent: int = 0, since: float = 0, peers: int = 0) -> bool:
        return wish.fulfilled(sent_bytes=sent, total_bytes=100, since_s=since, complete_peers=peers)

    assert SeedWish().empty
    assert not done(SeedWish(), 10**9, 10**9, 10**9)
    assert done(SeedWish(ratio=1.5), sent=150)
    assert not done(SeedWish(ratio=1.5), sent=149)
    assert done(SeedWish(time_s=60), since=60)
    assert not done(SeedWish(time_s=60), since=59)
    assert done(SeedWish(complete_peers=2), peers=2)
    assert not done(SeedWish(complete_peers=2), peers=1)
    assert done(SeedWish(ratio=9, time_s=60), sent=0, since=61)


def test_patience_warns_once_a_drought_and_gives_up_when_asked() -> None:
    patience = Patience(warn_s=20, give_up_s=60, since=0)
    assert patience.look(0, 0) is None
    assert patience.look(19, 0) is None
    assert patience.look(20, 0) == "warn"
    assert patience.look(40, 0) is None
    assert patience.look(50, 7) is None, "something came"
    assert patience.look(69, 7) is None
    assert patience.look(70, 7) == "warn"
    assert patience.look(110, 7) == "give up"
    endless = Patience(warn_s=20, give_up_s=None, since=0)
    endless.look(0, 0)
    assert endless.look(10_000, 0) == "warn"


def test_speed_is_a_mean_over_the_last_seconds() -> None:
    speed = Speed()
    assert speed.measure(0, 0) == 0
    assert speed.measure(1, 1000) == 1000
    for second in range(2, 20):
        assert speed.measure(second, 1000 + 500 * (second - 1)) > 0
    assert speed.measure(20, 1000 + 500 * 19) == 500
    assert speed.measure(60, 1000 + 500 * 19) < 20


@pytest.mark.parametrize(
    ("path", "plain"),
    [("a/b", "a/b"), ("a/b/", "a/b"), ("./a//b/.", "a/b"), ("/a/./b", "/a/b"), ("../x", "../x")],
)
def test_a_path_is_shared_under_its_last_part(path: str, plain: str) -> None:
    assert plain_path(path) == plain
