"""BitTorrent: a file cut into pieces that its receivers give to each other.

Source: BEP 3 (peer protocol), 6 (fast extension), 7, 9 (metadata), 10 (extensions), 11 (peer
exchange), 14, 16, 20, 21, 23, 27, 40, 48, 52; the lectures' parts on BitTorrent.

    trackers, LAN, links --addresses--> Candidates --dial--> Connection   (handshake, bytes)
                                                                |
    Transfer <--Feed-- Downloader <--- Peer (choke, have, ...) <-Reader   (messages, in runs)
        |                                |
        +--cached / read--> Uploader ----+----> Turns (rate limits) --> Connection

    Choker   who may ask            (pure)      Ration    what a young seed shows   (pure)
    Describing   what it is: info and hashes of pieces, to and from peers
    Swarm    one torrent's peers                BitTorrent   one port, many swarms

Limits are rows of `settings.Settings` and constants beside what they bound: a message 1 MiB, a
request 128 KiB, 1,000 requests waiting, 10 s for a handshake, 80 connections a swarm, 400 in
all, 3 an address (local ones excepted), 1,000 candidates, 10 MB of metadata.

A connection that opens with message stream encryption is closed at once, so that clients that
may fall back to plain do.  Hashes of v2 pieces are told and fetched (BEP 52, `Describing`), from
the piece layer up; a hybrid works as its v1 half and asks for none.

To try it: `spinney lab run swarm`, or `tests/bittorrent/members.py` for a node of one's own.
"""
