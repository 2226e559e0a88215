"""Whether to do without the system calls that not every system has."""

from __future__ import annotations

import os
import socket
import sys

ENVIRONMENT_NAME = "SPINNEY_PLAIN_IO"


def plain_io() -> bool:
    """True on Windows, or when `SPINNEY_PLAIN_IO` is set to anything but nothing or 0."""
    if os.environ.get(ENVIRONMENT_NAME, "0") not in ("", "0"):
        return True
    return sys.platform == "win32" or not hasattr(socket.socket, "sendmsg")
