"""What may stand in the fields of a user: names, e-mail addresses, uids, weights, SSH public keys.

Each check returns what it was given and raises `UserError` where that will not do.
"""

from __future__ import annotations

import base64
import binascii
import math
import re

from dopq.errors import UserError
from dopq.job import UserName

NAME = re.compile(r"[a-z_][a-z0-9_-]{1,31}")
RESERVED = frozenset({"root", "dopq", "admin", "system", "nobody", "all", "me", "peer"})
OVERFLOW_UID = 65534
"""What the kernel tells of an owner whom it cannot name (user_namespaces(7), "overflow user ID"): that is nobody."""
LARGEST_UID = 2**32 - 2
"""The one above is -1 in 32 bits, which chown(2) takes for "leave it as it is"."""
LONGEST_EMAIL = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets
LONGEST_KEY = 8192

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_KEY_KINDS = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


def is_user_name(name: str) -> bool:
    """Whether somebody may be called so."""
    return NAME.fullmatch(name) is not None and name not in RESERVED


def checked_name(name: str) -> UserName:
    """A name that a user may have."""
    if not is_user_name(name):
        raise UserError(
            f"{name!r} cannot be a user name.",
            "2 to 32 of a-z, 0-9, _ and -, beginning with a letter or _, and not a reserved word.",
        )
    return UserName(name)


def checked_weight(weight: float) -> float:
    """A weight that gives a share."""
    if not 0 < weight < math.inf:
        raise UserError(f"A weight of {weight:g} gives no share.", "Use a number above 0; 1 is the usual one.")
    return weight


def checked_uid(uid: int) -> int:
    """A uid that means one account of the machine; 0 is one."""
    if uid == OVERFLOW_UID or not 0 <= uid <= LARGEST_UID:
        raise UserError(f"{uid} is no uid of a person.", "`id -u` on the machine tells one's uid.")
    return uid


def checked_email(email: str) -> str:
    """An e-mail address, by its form alone."""
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise UserError(f"{email[:LONGEST_EMAIL]!r} is no e-mail address.", "Write it as name@host, in ASCII.")
    return email


def checked_ssh_key(key: str) -> str:
    """An SSH public key as a line of `id_….pub` (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), without options before it."""
    kind, _, rest = key.partition(" ")
    if len(key) > LONGEST_KEY or not key.isprintable() or not _is_key(kind, rest.partition(" ")[0]):
        raise UserError(
            "That is no SSH public key.", "It is the one line of a file such as ~/.ssh/id_ed25519.pub, begin to end."
        )
    return key


def _is_key(kind: str, encoded: str) -> bool:
    """Whether the blob is a whole number of fields of which the first names the kind (RFC 4253, 6.6)."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    fields = _fields(blob)
    return kind in _KEY_KINDS and len(fields) > 1 and fields[0] == kind.encode()


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed fields of a blob (RFC 4251, 5, "string"); none where they do not fill it exactly."""
    fields = []
    while blob:
        end = 4 + int.from_bytes(blob[:4])
        if len(blob) < end:
            return []
        fields.append(blob[4:end])
        blob = blob[end:]
    return fields
