"""Memory that the C library gave back and asked for again, a thousand times a second.

glibc returns the top of its heap to the system as soon as 128 KiB lie free there, and each page
costs time again when it comes back.  Recovering one lost block makes and drops 1 MiB of integers.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 16 << 20
"""So much free memory at the end of a heap is kept."""
MAPPED_BYTES = 4 << 20
"""From this size on a buffer is given back as soon as it is free; setting the other number stops
the library from learning this one by itself."""


@lru_cache(1)
def keep_freed_memory() -> bool:
    """Tells the C library, once for the process; False where it has no such knob."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    wanted = ((M_MMAP_THRESHOLD, MAPPED_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES))
    return all(set_option(name, value) == 1 for name, value in wanted)
