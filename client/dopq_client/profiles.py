"""Profiles: the accounts that `dopq-client login` keeps, a file each, which nobody but their owner may read.

`client.toml` is the profile `default`; the others lie in `profiles/` beside it. A file for each, so that two logins at
once cannot lose one another.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

from dopq.errors import BadConfig, UserError
from dopq_client.account import Account, check_fingerprint, check_token, parse_address

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def file_of(profile: str) -> Path:
    """Where a profile lies: in the platform's folder for settings. Raises `UserError`: that is no name of one."""
    import platformdirs

    if not _NAME.fullmatch(profile):
        raise UserError(
            f"{profile!r} is no name of a profile.", "Take up to 32 letters, digits, `-` and `_`, for example lab2."
        )
    folder = platformdirs.user_config_path("dopq")
    return folder / "client.toml" if profile == DEFAULT else folder / "profiles" / f"{profile}.toml"


def stored(profile: str) -> Account | None:
    """The account of a profile; None where there is no such profile.

    Raises:
        UserError: that is no name of a profile.
        BadConfig: its file is malformed, or others may read it.
    """
    import tomllib

    path = file_of(profile)
    try:
        with path.open("rb") as file:
            _require_private(path, os.fstat(file.fileno()))
            return _read(tomllib.load(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, UserError) as error:
        raise BadConfig(
            f"{path} cannot be used: {error}", "Remove it, and log in: dopq-client login HOST:PORT"
        ) from error


def store(profile: str, account: Account) -> Path:
    """Keep an account, readable by its owner only; where it lies. Raises `UserError`."""
    import tempfile

    path = file_of(profile)
    kept = {
        "host": account.address,
        "user": account.user,
        "token": account.token,
        "fingerprint": account.fingerprint,
        "ca": str(account.ca) if account.ca else None,
    }
    # A JSON string without ASCII escapes is a TOML string, too.
    text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in kept.items() if value)
    try:
        folder = file_of(DEFAULT).parent
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".client-", dir=path.parent)  # made with mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise UserError(f"The account cannot be stored in {path}: {error.strerror}.") from error
    return path


def forget_token(profile: str) -> str | None:
    """Forget the token of a profile, and return it; its service's address and certificate are remembered.

    Raises as `stored` does.
    """
    account = stored(profile)
    if account is None or account.token is None:
        return None
    store(profile, replace(account, token=None))
    return account.token


def _read(data: dict[str, object]) -> Account:
    host, port = parse_address(str(data["host"]))
    return Account(
        host,
        port,
        token=check_token(str(data["token"])) if "token" in data else None,
        fingerprint=check_fingerprint(str(data["fingerprint"])) if "fingerprint" in data else None,
        ca=Path(str(data["ca"])) if "ca" in data else None,
        user=str(data["user"]) if "user" in data else None,
    )


def _require_private(path: Path, found: os.stat_result) -> None:
    # Windows has no such modes: there the user's own folder keeps others out.
    if os.name == "posix" and found.st_mode & _OTHERS:
        raise BadConfig(
            f"{path} holds a token, and others on this machine may read it.",
            f"Keep it to yourself: chmod 600 {path}. If somebody may have read it, end the token: dopq-client logout",
        )
