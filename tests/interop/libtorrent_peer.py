"""A libtorrent session as a process: seeds or leeches one torrent, and says so in JSON lines.

    python libtorrent_peer.py '{"listen": "198.18.2.1:6881", "save": "/folder",
                                "torrent": "/x.torrent"}'

Settings (one JSON object): `listen` (address:port, also where connections leave from), `save`
(folder), `torrent` (a file) or `magnet`; optional `peers` ([["198.18.3.1", 6881], …]),
`upload_limit`, `download_limit` (bytes a second), `settings` (of libtorrent, over ours),
`status_s` (default 0.25).

Out, one object a line: `ready` {version, port}, `status` {state, progress, done_bytes,
payload_down, payload_up, seeds, peers: [{address, client, down, up}]}, `tracker` {url, message}
for each answer or error, `peer` {message} for each peer that is lost, `done` {seconds, bytes}
once everything is verified *and can be read* (libtorrent says finished before its last bytes
are on disk: we wait for the flush), `stopped`.  Bytes by peer are sampled with the status: the
last moment of a peer that left is missing.
In, one object a line: {"connect": ["198.18.3.1", 6881]}, {"announce": true}, {"stop": true};
the end of the input stops it too.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

import libtorrent as lt

CATEGORIES = lt.alert.category_t
OURS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": 2,  # plain only
    "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "ssrf_mitigation": False,
    "alert_mask": CATEGORIES.status_notification
    | CATEGORIES.tracker_notification
    | CATEGORIES.error_notification
    | CATEGORIES.peer_notification
    | CATEGORIES.storage_notification,
}
STOP_S = 5.0


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "time": time.time(), **fields}), flush=True)


class Peer:
    def __init__(self, wishes: dict[str, Any]) -> None:
        self.wishes = wishes
        address = wishes["listen"].rsplit(":", 1)[0]
        settings = {**OURS, "listen_interfaces": wishes["listen"], "outgoing_interfaces": address}
        settings.update(wishes.get("settings", {}))
        self.session = lt.session(settings)
        if wishes.get("torrent"):
            params = lt.load_torrent_file(wishes["torrent"])
        else:
            params = lt.parse_magnet_uri(wishes["magnet"])
        params.save_path = wishes["save"]
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        params.upload_limit = wishes.get("upload_limit", -1)
        params.download_limit = wishes.get("download_limit", -1)
        self.handle = self.session.add_torrent(params)
        for host, port in wishes.get("peers", []):
            self.handle.connect_peer((host, port))
        self.began = time.monotonic()
        self.finished = False
        self.done = False
        self.by_peer: dict[str, dict[str, Any]] = {}
        self._live: dict[str, tuple[int, int]] = {}
        self._input = b""

    def run(self) -> None:
        say("ready", version=lt.version, port=self.session.listen_port())
        every = self.wishes.get("status_s", 0.25)
        next_at = 0.0
        while self._read_commands(0.02):
            self._take_alerts()
            if time.monotonic() >= next_at:
                next_at = time.monotonic() + every
                self._tell_status()
        self._stop()

    def _read_commands(self, wait_s: float) -> bool:
        """False: the end."""
        if not select.select([0], [], [], wait_s)[0]:
            return True
        data = os.read(0, 65536)
        if not data:
            return False
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "stop" in command:
                return False
            if "connect" in command:
                self.handle.connect_peer(tuple(command["connect"]))
            if "announce" in command:
                self.handle.force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)
        return True

    def _take_alerts(self) -> None:
        for alert in self.session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                self.finished = True
                # Everything is checked; the cache is written out before this one comes back.
                self.handle.save_resume_data(lt.save_resume_flags_t.flush_disk_cache)
            elif isinstance(alert, lt.save_resume_data_alert) and self.finished and not self.done:
                self.done = True
                size = self.handle.status().total_wanted
                say("done", seconds=time.monotonic() - self.began, bytes=size)
            elif isinstance(alert, lt.tracker_error_alert | lt.tracker_reply_alert):
                say("tracker", url=alert.url, message=alert.message())
            elif isinstance(alert, lt.peer_disconnected_alert | lt.peer_error_alert):
                say("peer", message=alert.message())
            elif isinstance(alert, lt.file_error_alert | lt.torrent_error_alert):
                say("error", message=alert.message())

    def _tell_status(self) -> None:
        for peer in self.handle.get_peer_info():
            key = f"{peer.ip[0]}:{peer.ip[1]}"
            row = self.by_peer.setdefault(key, {"address": key, "client": "", "down": 0, "up": 0})
            row["client"] = (
                peer.client.decode("utf-8", "replace")
                if isinstance(peer.client, bytes)
                else str(peer.client)
            )
            down, up = self._live.get(key, (0, 0))
            if peer.total_download < down or peer.total_upload < up:
                down = up = 0  # a new connection from the same place
            row["down"] += peer.total_download - down
            row["up"] += peer.total_upload - up
            self._live[key] = (peer.total_download, peer.total_upload)
        status = self.handle.status()
        say(
            "status",
            state=str(status.state),
            progress=status.progress,
            done_bytes=status.total_wanted_done,
            payload_down=status.total_payload_download,
            payload_up=status.total_payload_upload,
            seeds=status.num_seeds,
            peers=list(self.by_peer.values()),
        )

    def _stop(self) -> None:
        """Pausing tells the tracker `stopped`; a little time for that to go out."""
        self._tell_status()
        self.session.pause()
        end = time.monotonic() + STOP_S
        announced = not self.handle.trackers()
        while not announced and time.monotonic() < end:
            self.session.wait_for_alert(100)
            for alert in self.session.pop_alerts():
                if isinstance(alert, lt.tracker_reply_alert | lt.tracker_error_alert):
                    announced = True
        say("stopped")


if __name__ == "__main__":
    Peer(json.loads(sys.argv[1])).run()
