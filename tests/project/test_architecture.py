"""Imports point down only, as DESIGN.md draws it.

cli   web   lab
   \\   |   /
    peer
      |
bittorrent  dht  mcftp  p2pcast  overlays/*  relay  mirrors      no arrow between rooms
      |
content   groups
      |
trust   coding
      |
wire
      |
net   errors  events            sim implements net's Host; rooms never import sim or net.live
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from project.tree import PACKAGE, imported, module_name, source_files

GROUND = {"errors", "events", "net"}
ROOMS = {"bittorrent", "dht", "mcftp", "p2pcast", "overlays", "relay", "mirrors"}
BELOW_ROOMS = {"content", "groups", "trust", "coding", "wire"} | GROUND
FACE = {"peer", "content", "errors", "events", "config"}

ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "events": {"errors"},
    "config": {"errors"},
    "net": {"errors", "events"},
    "wire": GROUND,
    "trust": {"wire"} | GROUND,
    "coding": {"wire"} | GROUND,
    "content": {"trust", "coding", "wire"} | GROUND,
    "groups": {"trust", "coding", "wire"} | GROUND,
    **dict.fromkeys(ROOMS, BELOW_ROOMS),
    "sim": GROUND,
    "peer": ROOMS | BELOW_ROOMS | {"config"},
    "cli": FACE,
    "__main__": {"cli"},
    "web": FACE,
    "lab": {"peer", "sim", "config"} | ROOMS | BELOW_ROOMS,
    "": FACE,  # spinney/__init__.py: the public names, taken from where they live
}
"""Which top-level name may import which.  A name always may import itself."""

EXTRA: dict[tuple[str, str], str] = {
    ("spinney.cli.lab", "lab"): "the verb `lab` is the face of the laboratory",
    ("spinney.peer.local", "net.live"): "where the real host is made if none was handed in",
}
"""(module, what it imports) beyond the drawing, each with its reason."""

MEMBERS = {"__version__"}
"""Names of `spinney` itself that anybody may import."""


def part(module: str) -> str:
    """`spinney.net.host` belongs to `net`; a system of `overlays/` is a room of its own."""
    names = module.split(".")[1:]
    if names[:1] == ["overlays"] and len(names) > 1 and names[1] != "overlay":
        return ".".join(names[:2])
    return names[0] if names else ""


def is_live(module: str) -> bool:
    """`net/live.py`, `net/live_streams.py`, `net/live/...`: the real machine."""
    names = module.split(".")[1:]
    return len(names) > 1 and names[0] == "net" and names[1].split("_")[0] == "live"


def wrong_arrows(source: str, module: str, *, package: bool = False) -> list[str]:
    """Every import of `source` that DESIGN.md does not draw, as a line for people."""
    rows: list[str] = []
    here = part(module)
    for line, full in imported(source, module, package=package):
        if full.split(".")[0] != "spinney" or full.removeprefix("spinney.") in MEMBERS:
            continue
        there = part(full)
        if is_live(full) and not is_live(module):
            allowed = (module, "net.live") in EXTRA or here == "lab"
        elif there == here:
            allowed = True
        elif here.startswith("overlays."):
            allowed = there in BELOW_ROOMS or there == "overlays"
        else:
            known = ARROWS.get(here.split(".")[0], set())
            allowed = there.split(".")[0] in known or (module, there) in EXTRA
        if not allowed:
            rows.append(f"{module}:{line} imports {full}: no arrow {here or 'spinney'} -> {there}")
    return rows


def test_every_arrow_is_drawn() -> None:
    rows: list[str] = []
    for path in source_files():
        package = path.name == "__init__.py"
        rows += wrong_arrows(path.read_text(), module_name(path), package=package)
    assert not rows, "\n".join(rows)


def test_every_top_level_name_is_in_the_drawing() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    names -= {"__init__", "__pycache__", "py"}
    assert names <= set(ARROWS), sorted(names - set(ARROWS))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("spinney.wire.bencode", "from spinney.content.pieces import Bitfield"),
        ("spinney.bittorrent.swarm", "from spinney.dht import node"),
        ("spinney.bittorrent.swarm", "import spinney.dht.node"),
        ("spinney.bittorrent.swarm", "def f():\n    from spinney.sim.world import World"),
        ("spinney.bittorrent.node", "from spinney.net.live import LiveHost"),
        ("spinney.bittorrent.node", "from spinney.net import live"),
        ("spinney.bittorrent.node", "from ..net import live_streams"),
        ("spinney.bittorrent.node", "from ..dht.node import Node"),
        ("spinney.content.transfer", "from spinney.bittorrent.swarm import Announcing"),
        ("spinney.content.transfer", "from spinney.groups.ip import Group"),
        ("spinney.cli.get", "from spinney.bittorrent.node import BitTorrent"),
        ("spinney.cli.get", "from spinney.lab import experiments"),
        ("spinney.cli.get", "from spinney.net.host import Host"),
        ("spinney.sim.world", "from spinney.wire.bencode import decode"),
        ("spinney.net.address", "from spinney.wire.bencode import decode"),
        ("spinney.overlays.chord.node", "from spinney.overlays.ring import Ring"),
        ("spinney.peer.peer", "from spinney.sim.world import World"),
        ("spinney.peer.peer", "from spinney.net.live import LiveHost"),
        ("spinney.errors", "from spinney.events import Event"),
    ],
)
def test_a_wrong_arrow_is_found(module: str, source: str) -> None:
    assert wrong_arrows(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("spinney.bittorrent.node", "from spinney.content.transfer import Transfer"),
        ("spinney.bittorrent.node", "from spinney import __version__"),
        ("spinney.bittorrent.node", "import asyncio"),
        ("spinney.peer.local", "from spinney.net.live import LiveHost"),
        ("spinney.overlays.chord.node", "from spinney.overlays.overlay import Overlay"),
        ("spinney.cli.lab", "from spinney.lab import experiments"),
    ],
)
def test_a_drawn_arrow_passes(module: str, source: str) -> None:
    assert not wrong_arrows(source, module)


WITHOUT_LIVE = """
import importlib, pkgutil, sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        names = name.split(".")
        if names[:2] == ["spinney", "net"] and len(names) > 2 and names[2].split("_")[0] == "live":
            raise ModuleNotFoundError(name)
        return None

sys.meta_path.insert(0, Gone())
import spinney
for info in pkgutil.walk_packages(spinney.__path__, "spinney."):
    names = info.name.split(".")
    if names[1] == "net" and len(names) > 2 and names[2].split("_")[0] == "live":
        continue
    importlib.import_module(info.name)
try:
    importlib.import_module("spinney.net.live")
except ModuleNotFoundError:
    print("all imported without net.live")
"""


def test_everything_imports_without_the_live_host() -> None:
    """Taking `net.live` away leaves the rooms, the simulator and the faces whole."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIVE],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert "all imported without net.live" in done.stdout


def test_the_source_under_test_is_this_tree() -> None:
    spec = importlib.util.find_spec("spinney")
    assert spec is not None
    assert spec.origin == str(PACKAGE / "__init__.py")
