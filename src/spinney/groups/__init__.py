"""One-to-many delivery: what any member sends, all others receive, or it is lost.

    group.py      the faces `Group` and `Groups`; rules G1 to G9, checked by tests/groups
    ip.py         IP multicast, IPv4 and IPv6, on several interfaces that come and go
    ip_scope.py   its addresses and its choice of interfaces, pure
    fanout.py     without multicast: all go through the founder, who is the hub
    fan_*.py      its membership (fan_group), hub, member and datagrams; the last three pure
    probe.py      two machines measure multicast between them (`spinney doctor`)
    facts.py      what this machine can do; advice.py says what both mean

Limits: a fan-out has at most 48 members besides its hub; a group uses at most 8 interfaces; a
measurement takes notice of 8 machines and sends at most 20 MB in 2 s for each family.
"""
