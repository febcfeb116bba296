"""A service, and as whom it is spoken to: values, and the checks of what people type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from dopq.errors import UserError

DEFAULT_PORT = 9090
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?")
_TOKEN = re.compile(r"[!#-\[\]-~]{1,200}")  # printable ASCII without space, quote and backslash
_FINGERPRINT = re.compile(r"[0-9A-F]{64}")


@dataclass(frozen=True, slots=True)
class Account:
    """A service on the network.

    Attributes:
        token: by which it knows the user; None: they are nobody yet.
        fingerprint: SHA-256 that its certificate must have.
        ca: file with the certificate of the CA that must have signed it. With neither of the two it is spoken to in the
            clear, which is done on this machine only.
        user: the name under which the user logs in there.
    """

    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    fingerprint: str | None = None
    ca: Path | None = None
    user: str | None = None

    @property
    def address(self) -> str:
        """As `login` takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LocalService:
    """The service of this very machine, at its Unix socket. It knows the user by their uid, or by a token."""

    path: Path
    token: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """For people."""
        return str(self.path)


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST`, `HOST:PORT` or `[IPV6]:PORT`. Raises `UserError`."""
    match = _ADDRESS.fullmatch(text.strip())
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise UserError(f"{text!r} is no address of a service.", "Give it as HOST:PORT, for example gpu1:9090.")
    return match["v6"] or match["name"], port


def check_token(text: str) -> str:
    """A token as it was handed out, without blanks around it. Raises `UserError`."""
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise UserError("That is no token.", "Paste what the admin got from `dopq user add`, in one line.")
    return token


def check_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint, with or without colons, as `AB:CD:…`. Raises `UserError`."""
    digits = text.strip().replace(":", "").upper()
    if not _FINGERPRINT.fullmatch(digits):
        raise UserError(
            f"{text!r} is no fingerprint.", "Give the SHA-256 of the certificate, 64 hexadecimal digits: dopq cert show"
        )
    return bytes.fromhex(digits).hex(":").upper()
