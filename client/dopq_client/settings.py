"""Which service to talk to, and as whom: the environment first, then what `dopq-client login` stored."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dopq.errors import BadConfig, NotLoggedIn, UserError

DEFAULT_PORT = 9090  # Pyro5's nameserver
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?")
_TOKEN = re.compile(r"[!#-\[\]-~]{1,200}")  # printable ASCII without space, quote and backslash


@dataclass(frozen=True, slots=True)
class Account:
    """A service (the address of its nameserver) and the token by which it knows the user."""

    host: str
    port: int
    token: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """As `login` takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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


def account_file() -> Path:
    """Where `login` stores the account: the platform's folder for settings."""
    import platformdirs

    return platformdirs.user_config_path("dopq") / "client.toml"


def load(environment: Mapping[str, str] = os.environ) -> Account:
    """The account in force: DOPQ_HOST and DOPQ_TOKEN win over the stored one, each by itself.

    A stored token goes only to the service that it was stored for.

    Raises:
        NotLoggedIn: no service is named anywhere.
        UserError: a variable is malformed.
        BadConfig: the stored file is.
    """
    token = environment.get("DOPQ_TOKEN")
    host = environment.get("DOPQ_HOST")
    if token:
        token = check_token(token)
    stored = None if host and token else _stored()
    if host:
        named = Account(*parse_address(host), token)
        return named if token or stored is None or stored.address != named.address else stored
    if stored is None:
        raise NotLoggedIn("You are not logged in to any service.", "Run `dopq-client login HOST:PORT`.")
    return Account(stored.host, stored.port, token or stored.token)


def store(account: Account) -> Path:
    """Remember an account, readable by its owner only; where it lies. Raises `UserError`."""
    path = account_file()
    text = f'host = "{account.address}"\n' + (f'token = "{account.token}"\n' if account.token else "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".client-", dir=path.parent)  # made with mode 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise UserError(f"The account cannot be stored in {path}: {error.strerror}.") from error
    return path


def forget() -> bool:
    """Remove the stored account; whether there was one."""
    path = account_file()
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def _stored() -> Account | None:
    import tomllib

    path = account_file()
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return Account(*parse_address(str(data["host"])), check_token(str(data["token"])) if "token" in data else None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, UserError) as error:
        raise BadConfig(f"{path} cannot be used: {error}", "Run `dopq-client login HOST:PORT` again.") from error
