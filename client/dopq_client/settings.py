"""Which service to talk to, and as whom: the command line, the environment, what is stored, or this machine's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from dopq.errors import NotLoggedIn
from dopq_client import profiles
from dopq_client.account import Account, LocalService, check_fingerprint, check_token, parse_address

SYSTEM_SOCKET = Path("/run/dopq/dopq.sock")


def profile_in_force(profile: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The name of the profile: the one that is asked for, else DOPQ_PROFILE, else `default`."""
    return profile or environment.get("DOPQ_PROFILE") or profiles.DEFAULT


def load(profile: str | None = None, environment: Mapping[str, str] = os.environ) -> Account | LocalService:
    """The account in force.

    A `profile` that is asked for counts alone. Else DOPQ_HOST, DOPQ_SOCKET and DOPQ_TOKEN win, each by itself, over the
    stored account, and without any of these it is the service of this machine, if there is one. A stored token goes
    only to the service that it was stored for.

    Raises:
        NotLoggedIn: no service is named anywhere, or no token for it; says what was looked at.
        UserError: a variable is malformed.
        BadConfig: the stored file is, or others may read it.
    """
    name = profile_in_force(profile, environment)
    given = {} if profile else environment
    token = check_token(given["DOPQ_TOKEN"]) if given.get("DOPQ_TOKEN") else None
    if host := given.get("DOPQ_HOST"):
        return _named(parse_address(host), name, token, given)
    if given.get("DOPQ_SOCKET"):
        return LocalService(Path(given["DOPQ_SOCKET"]), token)
    if stored := profiles.stored(name):
        return replace(stored, token=token or stored.token or _logged_out(stored, name))
    if name != profiles.DEFAULT:
        raise NotLoggedIn(f"There is no profile {name}.", f"Run `dopq-client login HOST:PORT --profile {name}`.")
    return LocalService(_own_socket(environment), token)


def at(address: str, token: str | None, fingerprint: str | None, ca: Path | None) -> Account:
    """The account at an address that is given; without fingerprint and CA those that were stored for this address.

    Raises `UserError` and `BadConfig` as `load` does.
    """
    host, port = parse_address(address)
    account = Account(host, port, token, check_fingerprint(fingerprint) if fingerprint else None, ca)
    return account if fingerprint or ca else _as_remembered(account, profiles.stored(profile_in_force(None)))


def _named(place: tuple[str, int], profile: str, token: str | None, given: Mapping[str, str]) -> Account:
    fingerprint, ca = given.get("DOPQ_FINGERPRINT"), given.get("DOPQ_CA")
    named = Account(
        *place,
        token=token,
        fingerprint=check_fingerprint(fingerprint) if fingerprint else None,
        ca=Path(ca) if ca else None,
    )
    if token and (fingerprint or ca):
        return named
    stored = profiles.stored(profile)
    if stored and stored.address == named.address and not token:
        named = replace(named, token=stored.token)
    return named if fingerprint or ca else _as_remembered(named, stored)


def _as_remembered(account: Account, stored: Account | None) -> Account:
    if stored is None or stored.address != account.address:
        return account
    return replace(account, fingerprint=stored.fingerprint, ca=stored.ca, user=stored.user)


def _own_socket(environment: Mapping[str, str]) -> Path:
    """Where a service of this machine listens: that of root, else one's own."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    sockets = [SYSTEM_SOCKET, *([Path(runtime) / "dopq" / "dopq.sock"] if runtime else [])]
    for path in sockets:
        if path.exists():
            return path
    looked_at = " nor ".join(map(str, sockets))
    raise NotLoggedIn(
        f"You are not logged in to any service, and this machine has none: there is no {looked_at}.",
        "Run `dopq-client login HOST:PORT`.",
    )


def _logged_out(stored: Account, profile: str) -> NoReturn:
    option = f" --profile {profile}" if profile != profiles.DEFAULT else ""
    raise NotLoggedIn(f"You are logged out of {stored.address}.", f"Run `dopq-client login{option}`.")
