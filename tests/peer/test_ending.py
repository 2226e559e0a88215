"""`end_all`: everything ends, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import logging

import pytest

from spinney.errors import DiskFullError, NetworkError
from spinney.peer.ending import end_all, end_together

NOISE = [OSError(9, "gone"), KeyError("who"), TimeoutError(), NetworkError("no"), AssertionError()]


@pytest.mark.parametrize("error", NOISE, ids=lambda error: type(error).__name__)
def test_what_goes_wrong_is_logged_and_the_rest_ends(
    error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("spinney"), "propagate", True)
    ended: list[object] = []

    async def breaks() -> None:
        raise error

    async def ends() -> None:
        ended.append("later")

    def at_once() -> None:
        ended.append("at once")

    caplog.set_level(logging.WARNING, "spinney.peer")
    asyncio.run(end_all(breaks, ends, at_once))
    assert ended == ["later", "at once"]
    assert type(error).__name__ in caplog.text


def test_a_disk_that_fails_is_told_after_all_have_ended() -> None:
    ended: list[object] = []

    async def breaks() -> None:
        raise DiskFullError("full")

    async def ends() -> None:
        ended.append(1)

    with pytest.raises(DiskFullError):
        asyncio.run(end_all(breaks, ends))
    with pytest.raises(DiskFullError):
        asyncio.run(end_together(breaks, ends))
    assert ended == [1, 1]


def test_who_is_cancelled_ends_the_rest_too() -> None:
    ended: list[object] = []

    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    async def ends() -> None:
        ended.append(1)

    async def run() -> None:
        task = asyncio.ensure_future(end_all(waits, ends))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert ended == [1]
