"""Alphabets that several rooms share: bencode, KRPC over datagrams, HTTP over h11, sealed state.

    bencode.py        values to bytes and back: strict, canonical, bounded (BEP 3)
    krpc_messages.py  what may be said in a KRPC datagram, and its codec (BEP 5), pure
    krpc.py           calls and answers over a host's datagrams
    http_messages.py  requests, answers, URLs, and the bounds on each, pure
    http_client.py    `get`: one request over a host's stream, redirects, bounds
    http_server.py    `serve`: requests in, answers out, keep-alive, bounds
    http.py           the public names of the three
    sealed.py         a server's state as a list with a checksum, pure
    state_file.py     that list as a file over a host's storage

Every decoder here raises `WireError`, and nothing else, for any bytes.
"""
