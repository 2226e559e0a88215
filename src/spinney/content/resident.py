"""Reading what the system has in memory, on the event loop, without a hand-off to a worker.

A hand-off and the fight for the interpreter's lock that follows cost more than copying 1 MiB
out of the page cache.
"""

from __future__ import annotations

from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.errors import StorageError


def read_resident(layout: Layout, handles: Handles, offset: int, buffer: memoryview) -> bool:
    """Fills `buffer`, zeros where padding lies, from files that are open already.

    False if a file is not open, was cut short, or is not all in memory.
    """
    try:
        for span in layout.spans(offset, len(buffer)):
            file = handles.peek(span.file)
            if file is None:
                return False
            part = buffer[span.at : span.at + span.length]
            if file.read_resident(span.file_offset, part) < span.length:
                return False
    except StorageError:  # closed meanwhile
        return False
    for begin, end in layout.padding(offset, len(buffer)):
        buffer[begin:end] = bytes(end - begin)
    return True
