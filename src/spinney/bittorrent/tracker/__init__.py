"""The tracker's part of BitTorrent: who else has this torrent?  Client and server, over HTTP.

Source: BEP 3 (announce), 7 (IPv6), 12 (tiers), 23 (compact), 24 (external ip), 27 (private),
31 (retry in), 48 (scrape), and the exchange that the lecture on peer-to-peer systems prints.

    TrackerSource ── schedule.py (tiers, intervals, back-off: pure)
         │  GET /announce?info_hash=…&port=…&left=…&event=started
         ▼
    Tracker ── state.py (who is where: pure) ── snapshot.py (kept over a restart)
         │  d8:completei1e…5:peers6:……e
         ▼
    found(addresses, "tracker")

`messages.py` what may be said, `codec.py` bytes to messages and back, `client.py` and
`server.py` the two that touch the host, `page.py` what people see.
Try it: `spinney tracker --port 6969`, then open the address that it prints in a browser.
Limits: `udp://` trackers (BEP 15) are not spoken yet; one line in `client.SCHEMES` adds them.
"""
