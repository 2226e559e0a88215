"""MC-FTP: one file to a whole network by multicast, in reigns of leaders that nobody appoints.

Source: the MC-FTP paper (seeds), sections II and III; RFC 5401 for reports, RFC 9180 for sealed
ones; Raft for how a majority and a disk make one leader a term.

    GroupDirectory  file -> group, addresses taken      LanDirectory   on one well-known group
          |
      McftpNode  finds or founds the management group; all that is said there is a signed
          |      envelope of at most 1,200 bytes (messages, codec)
          +-- Election   (pure)  follower, candidate, leader; terms, votes on disk, electorates
          +-- Leading -- Leader  (pure)  keep-alives, status requests, the plan
          |                +-- Members, schedule (pure)   who holds what, who sends what
          +-- Reporting  hello, sealed status reports, how far our streams are
          +-- Flows      puts the plan into work: Sending and Receiving, one each stream

    One reign is one line of leaders: terms rise, each has at most one leader.  Data groups carry
    a tag of file and reign; a symbol is right whoever sent it, so a change of leader or sender
    costs nobody what he has.

Limits are rows of `settings.Settings` and `datasettings.DataSettings`, and constants beside what
they bound: 4,096 members, 8 streams, 7 electors, 32 pages of a keep-alive, 64 status reports a
request, 4,096 entries of a directory.

What is trusted: the torrent's hashes alone.  A forged leader can waste time and bandwidth, never
bring a wrong byte; certificates that tell a true leader come later.

To try it: `tests/mcftp/peers.py` puts whole peers on a simulated LAN.
"""
