"""Passwords: which ones will do, and Argon2id, which makes each guess at a stolen hash cost time and memory.

Memory and rounds are the least that OWASP's Password Storage Cheat Sheet asks for with Argon2id: 19 MiB, 2 rounds, 1
lane (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html). No password is ever part of
an error or of the log.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from dopq.errors import SlowDown, UserError

SHORTEST, LONGEST = 10, 200
"""Characters of a password."""
FEWEST_DIFFERENT = 5
"""Different characters in a password."""
AT_ONCE = 2
"""Hashes that are worked out at once, 19 MiB each: the rest waits, so that many logins cannot take the memory."""
PATIENCE_S = 5.0
"""How long one waits for their turn."""

Result = TypeVar("Result")

_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$817MWCy1dLb08mtS50JX3w$GpMh+N5q82a+U5tqfhGAOuUFq5IsgoEOfpHZuU9IfpY"
"""The hash of 32 random bytes that nobody kept."""


class Passwords:
    """Hashes passwords and verifies them, few at once in the whole process; usable from any thread."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        # Always the same threads: glibc keeps what a thread has freed for that thread (mallopt(3), M_ARENA_MAX), so
        # 19 MiB would stay with each thread that ever called.
        self._workers = ThreadPoolExecutor(AT_ONCE, "password")
        self._patience_s = patience_s

    def hash(self, password: str) -> str:
        """What to store of a password. Raises `SlowDown` where too many are worked out already."""
        return self._in_turn(lambda: self._hasher.hash(_as_bytes(password)))

    def is_right(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one that `stored` was made from; None: nobody's, which costs the same.

        Raises:
            SlowDown: too many are worked out already.
        """

        def verify() -> bool:
            try:
                return self._hasher.verify(stored or _NOBODYS, _as_bytes(password))
            except VerifyMismatchError:
                return False

        return self._in_turn(verify) and stored is not None

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        turn = self._workers.submit(work)
        try:
            return turn.result(self._patience_s)
        except TimeoutError:
            if turn.cancel():
                raise SlowDown(
                    "Too many people log in at once.", "Try again in a moment.", wait_s=self._patience_s
                ) from None
            return turn.result()  # its turn has just come


def known_of(name: str, email: str | None) -> tuple[str, ...]:
    """What others know of a user, which makes no good part of a password."""
    return (name, email, email.partition("@")[0]) if email else (name,)


def checked_password(password: str, *known: str) -> str:
    """A password that may be set; `known`: words that do not count (`known_of`).

    Raises:
        UserError: it is too short, too long or too easy to guess.
    """
    rest = password.casefold()
    for word in sorted(known, key=len, reverse=True):
        rest = rest.replace(word.casefold(), "")
    if len(password) > LONGEST or len(rest) < SHORTEST or len(set(rest)) < FEWEST_DIFFERENT:
        raise UserError(
            "That password will not do.",
            f"Take {SHORTEST} to {LONGEST} characters, your name and e-mail address not counted, and at least"
            f" {FEWEST_DIFFERENT} different ones; a few words in a row are good.",
        )
    return password


def _as_bytes(password: str) -> bytes:
    """The same bytes for what looks the same, however a keyboard composes it (NFC, Unicode Standard Annex 15)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
