"""A server's certificate for the checks of TLS, and clients that trust it or do not.

`server.test.pem` holds a self-signed certificate for `server.test` and 127.0.0.9, valid for a
hundred years, and its key, which protects nothing:

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
        -subj /CN=server.test -addext subjectAltName=DNS:server.test,IP:127.0.0.9
        -addext basicConstraints=critical,CA:TRUE
        -addext keyUsage=critical,digitalSignature,keyCertSign
"""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

SERVER_NAME = "server.test"
PEM = Path(__file__).with_name("server.test.pem")


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
    """For the server, for a client that trusts its certificate, and for one that does not."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    trusting = ssl.create_default_context()
    trusting.load_verify_locations(PEM)
    return server, trusting, ssl.create_default_context()
