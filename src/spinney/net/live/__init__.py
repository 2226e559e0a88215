"""The real machine: `LiveHost` implements `net.host.Host` on the system's sockets and files.

Only `cli`, `web`, `lab`, examples and tests import this package; rooms are handed a `Host`.
`SPINNEY_PLAIN_IO=1` makes everything run without `sendmsg`, `pwrite`, segmentation offload
and `add_reader`, as on Windows (docs/decisions/live-host.md).
"""

from spinney.net.live.host import LiveHost

__all__ = ["LiveHost"]
