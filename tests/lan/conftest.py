"""Real machines, as far as the system is concerned: network namespaces on one switch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.rig.lan import TOOLS, Lan

from needs import require_program, require_root

MEMBER = Path(__file__).with_name("member.py")


@pytest.fixture(autouse=True)
def laboratory() -> None:
    """What `Lan` needs, or the test is skipped (under CI: fails)."""
    require_root()
    for tool in TOOLS:
        require_program(tool)


class Machine:
    """A `member.py` on one host of the laboratory."""

    def __init__(
        self,
        lan: Lan,
        host: int,
        *,
        six: bool = False,
        plain: bool = False,
        inside: bool = False,
    ) -> None:
        words = [word for word, on in (("six", six), ("inside", inside)) if on]
        environment = dict(os.environ, SPINNEY_PLAIN_IO="1" if plain else "0")
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self.process: subprocess.Popen[str] = lan.start(
            host,
            [sys.executable, str(MEMBER), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One question and its answer."""
        self.begin(do, **arguments)
        return self.answer()

    def begin(self, do: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def machines(lan: Lan, *hosts: int, **options: Any) -> list[Machine]:
    """A member on each of these hosts, all ready."""
    made = [Machine(lan, host, **options) for host in hosts]
    for each in made:
        assert each.answer() == {}
    return made


def meet(members: list[Machine], name: str = "room") -> str:
    """All join one group; its address."""
    address: str = members[0].ask("candidate")["address"]
    for each in members:
        answer = each.ask("join", name=name, address=address)
        assert "error" not in answer, answer
    return address
