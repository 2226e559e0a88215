"""Log lines on stderr: they come in order, and a reader that stops holds nothing up."""

from __future__ import annotations

import logging
import os
import re
import threading

import pytest

from spinney.cli.running import MOST_LOG_LINES, Terminal

PIPE_BYTES = 1 << 16


@pytest.mark.timeout(30)
def test_a_pipe_that_nobody_reads_holds_nothing_up_and_what_was_left_out_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as reader, os.fdopen(writes, "w") as writer:
        monkeypatch.setattr("sys.stderr", writer)
        handler = Terminal()
        count = MOST_LOG_LINES + 2 * PIPE_BYTES // 100
        for number in range(count):  # more than a pipe and the queue hold: a plain handler hangs
            handler.emit(logging.makeLogRecord({"msg": f"line {number:<100}"}))
        taken: list[bytes] = []
        both = threading.Event()

        def read() -> None:
            for line in reader:
                taken.append(line)
                if b"the end" in line:
                    both.set()
                    return

        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(1_000):
            handler.emit(logging.makeLogRecord({"msg": "the end"}))
            if both.wait(0.02):
                break
        thread.join(10)
        handler.close()
        numbers = [int(line.split()[1]) for line in taken if line.startswith(b"line")]
        said = re.findall(r"\((\d+) lines were left out", b"".join(taken).decode())
        assert numbers == sorted(numbers)
        assert MOST_LOG_LINES <= len(numbers) < count
        assert said
        assert len(numbers) + sum(map(int, said)) >= count


@pytest.mark.timeout(30)
def test_closing_waits_for_a_reader_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb"), os.fdopen(writes, "w") as writer:
        monkeypatch.setattr("sys.stderr", writer)
        handler = Terminal()
        for _ in range(2 * PIPE_BYTES // 100):
            handler.emit(logging.makeLogRecord({"msg": "x" * 100}))
        handler.close()
