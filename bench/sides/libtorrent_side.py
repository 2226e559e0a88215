"""One libtorrent session as a side of a benchmark: commands on stdin, JSON lines on stdout.

    libtorrent_side.py ADDRESS PORT TORRENT FOLDER seed|leech UP_BYTES_PER_S

Prints {"ready"}; `go HOST:PORT ...` connects; prints {"done", "at"} when the data is verified
and flushed; `stop` prints what it cost and ends.
"""

from __future__ import annotations

import json
import resource
import select
import sys
import time

import libtorrent as lt


def say(**row: object) -> None:
    print(json.dumps(row), flush=True)


def main() -> None:
    address, port, torrent, folder, role, up = sys.argv[1:7]
    session = lt.session(
        {
            "listen_interfaces": f"{address}:{port}",
            "outgoing_interfaces": address,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            # its own uTP is many times slower on one machine; the faster way is the fair one
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "upload_rate_limit": int(up),
            "alert_mask": lt.alert.category_t.status_notification
            | lt.alert.category_t.storage_notification,
        }
    )
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~lt.torrent_flags.auto_managed
    parameters.flags &= ~lt.torrent_flags.paused
    handle = session.add_torrent(parameters)
    # The seed checks its files before it is ready: seed mode would hash them while it serves.
    wanted = lt.torrent_status.seeding if role == "seed" else lt.torrent_status.downloading
    while handle.status().state != wanted:
        time.sleep(0.01)
    began = resource.getrusage(resource.RUSAGE_SELF)
    say(ready=True, version=f"libtorrent {lt.version}")
    told = role == "seed"
    flushing = False
    while True:
        if select.select([sys.stdin], [], [], 0.005)[0]:
            words = sys.stdin.readline().split()
            if not words or words[0] == "stop":
                break
            if words[0] == "go":
                for word in words[1:]:
                    host, _, peer_port = word.rpartition(":")
                    handle.connect_peer((host, int(peer_port)))
        for alert in session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert) and not told:
                handle.flush_cache()
                flushing = True
            if isinstance(alert, lt.cache_flushed_alert) and flushing and not told:
                told = True
                say(done=True, at=time.monotonic())
    used = resource.getrusage(resource.RUSAGE_SELF)
    status = handle.status()
    say(
        cpu_s=used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime,
        rss_mib=used.ru_maxrss / 1024,
        uploaded_bytes=status.total_payload_upload,
        downloaded_bytes=status.total_payload_download,
    )


main()
