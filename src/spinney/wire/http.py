"""The public names of HTTP/1.1 over a host's streams (`h11`): for trackers, mirrors, seeds."""

from spinney.wire.http_client import Check, Place, get, unguarded
from spinney.wire.http_messages import HttpRequest, HttpResponse, HttpUrl, query_pairs, split_url
from spinney.wire.http_server import Handler, HttpServer, ServerLimits, serve

__all__ = [
    "Check",
    "Handler",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "HttpUrl",
    "Place",
    "ServerLimits",
    "get",
    "query_pairs",
    "serve",
    "split_url",
    "unguarded",
]
