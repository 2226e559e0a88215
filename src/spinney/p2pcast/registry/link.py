"""A stream's link: its name, and the registries that know who is in it.  Pure.

    p2pcast:<stream, 64 hex>?f=4&s=1&r=<key, 64 hex>@HOST:PORT&r=…&dn=NAME

The stream is SHA-256 of its source's public key.  Each `r` is a registry, in the order in which
they are to be asked: its public key, by which its tickets are known, and where it listens (UDP).
A stand-in that signs no tickets is written without a key: `r=HOST:PORT`.  `f` says into how many
stripes the stream is cut, `s` how many spare slots each peer offers, `b` how many bytes a second
each stripe has; `m` is the fewest children that a peer on a slow line may carry (without it: f).
`dn` is a name for people.  Unknown parameters are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from spinney.errors import InputError, WireError
from spinney.net.address import format_address, parse_address
from spinney.net.host import Address
from spinney.p2pcast.place import LEAST_STRIPES, MOST_STRIPES
from spinney.p2pcast.registry.messages import STREAM_BYTES
from spinney.trust.keys import PUBLIC_BYTES

SCHEME = "p2pcast:"
LINK_CHARACTERS_MAX = 4_096
REGISTRIES_MAX = 16
NAME_CHARACTERS_MAX = 200
RATE_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """Where a registry listens (a name or a numeric address), and its key (32 bytes or None)."""

    address: Address
    key: bytes | None = None

    def __str__(self) -> str:
        at = format_address(self.address)
        return at if self.key is None else f"{self.key.hex()}@{at}"


@dataclass(frozen=True, slots=True)
class StreamLink:
    """A stream and its registries, the first to be asked first."""

    stream: bytes
    registries: tuple[RegistryPlace, ...] = ()
    name: str | None = None
    stripes: int = 0
    """0: the link does not say."""
    spare: int = 0
    stripe_bytes_per_s: int = 0
    """0: the link does not say."""
    least_slots: int = 0
    """0: as many as there are stripes."""

    def __str__(self) -> str:
        """The link; `parse_link` reads it back."""
        parts = [f"r={quote(str(place), safe='@:[]')}" for place in self.registries]
        if self.stripes:
            parts[:0] = [f"f={self.stripes}", f"s={self.spare}"]
        parts += [f"b={self.stripe_bytes_per_s}"] if self.stripe_bytes_per_s else []
        parts += [f"m={self.least_slots}"] if self.least_slots else []
        if self.name:
            parts.append(f"dn={quote(self.name, safe='', errors='replace')}")
        return SCHEME + self.stream.hex() + ("?" + "&".join(parts) if parts else "")


def parse_link(text: str) -> StreamLink:
    """Raises `InputError` that says what is wrong with the link."""
    link = text.strip()
    if len(link) > LINK_CHARACTERS_MAX:
        raise InputError(f"a link to a stream has at most {LINK_CHARACTERS_MAX} characters")
    if not link.lower().startswith(SCHEME):
        raise InputError(f"{link[:40]!r} is no link to a stream: it begins with {SCHEME}")
    digits, _, query = link[len(SCHEME) :].partition("?")
    stream = _hex(digits, STREAM_BYTES)
    if stream is None:
        raise InputError("the link names no stream: 64 hexadecimal digits were cut or mistyped")
    try:
        rows = parse_qsl(query, max_num_fields=REGISTRIES_MAX * 2)
    except ValueError:
        raise InputError("the link has too many parameters") from None
    places = [parse_place(value) for key, value in rows if key == "r"]
    if len(places) > REGISTRIES_MAX:
        raise InputError(f"a link names at most {REGISTRIES_MAX} registries")
    names = [value[:NAME_CHARACTERS_MAX] for key, value in rows if key == "dn"]
    stripes, spare, least = (_small(rows, key) for key in ("f", "s", "m"))
    rate = _small(rows, "b", RATE_MAX)
    if least > stripes:
        raise InputError(f"the link asks for {least} slots of each peer, and has {stripes} stripes")
    if (stripes and stripes < LEAST_STRIPES) or spare > stripes:
        raise InputError(f"the link tells of {stripes} stripes with {spare} spare slots")
    shape = stripes, spare, rate, least
    return StreamLink(stream, tuple(places), names[0] if names else None, *shape)


def _small(rows: list[tuple[str, str]], key: str, most: int = MOST_STRIPES) -> int:
    texts = [value for each, value in rows if each == key]
    if not texts:
        return 0
    if not (texts[0].isascii() and texts[0].isdigit()) or len(texts[0]) > len(str(most)):
        raise InputError(f"{key}={texts[0][:20]!r} in the link is no number of stripes or slots")
    if int(texts[0]) > most:
        raise InputError(f"{key}={texts[0]} in the link is more than {most}")
    return int(texts[0])


def parse_place(text: str) -> RegistryPlace:
    """`KEY@HOST:PORT` or `HOST:PORT`.  Raises `InputError`."""
    digits, has_key, at = text.strip().rpartition("@")
    key = _hex(digits, PUBLIC_BYTES) if has_key else None
    if has_key and key is None:
        raise InputError(f"the registry {text[:100]!r} has no key of 64 hexadecimal digits")
    try:
        address = parse_address(at)
    except WireError as error:
        raise InputError(f"the registry {text[:100]!r} has no address: {error}") from None
    if not address[1]:
        raise InputError(f"the registry {text[:100]!r} names no port")
    return RegistryPlace(address, key)


def _hex(digits: str, length: int) -> bytes | None:
    if len(digits) != 2 * length or not digits.isascii() or not digits.isalnum():
        return None
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None
