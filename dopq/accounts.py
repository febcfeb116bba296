"""Accounts, as people use them from outside: log in, register, change a password, log out.

A password is tried at a bounded rate, whoever it is for. An answer never tells whether a name is registered: an unknown
user, one who waits for an admin, and a wrong password cost the same work and get the same words.
"""

from __future__ import annotations

from collections.abc import Callable

from dopq.caller import Caller
from dopq.database import Database
from dopq.errors import LoginRefused, NotLoggedIn
from dopq.invites import Invites
from dopq.job import UserName
from dopq.passwords import Passwords, checked_password, known_of
from dopq.registrations import Registrations, Request
from dopq.tokens import Issued, Tokens
from dopq.tries import Tries
from dopq.user_fields import checked_email, checked_name, checked_ssh_key, checked_uid
from dopq.users import User, Users
from dopq.utils.clock import Clock
from dopq.utils.log import logger

log = logger(__name__)


class Accounts:
    """The front door of one node; usable from any thread."""

    def __init__(self, database: Database, tokens: Tokens, clock: Clock, welcome: Callable[[User], None]) -> None:
        """Open the door; `welcome` is told of everybody whom an invite has made a user, and must not fail."""
        self._users = Users(database)
        self._registrations = Registrations(database)
        self._invites = Invites(database)
        self._tokens = tokens
        self._passwords = Passwords()
        self._tries = Tries(clock)
        self._clock = clock
        self._welcome = welcome

    def login(self, caller: Caller, name: str, password: str) -> Issued:
        """A token for whoever knows a user's password.

        Raises:
            LoginRefused: there is no such user, or not yet, or the password is wrong.
            SlowDown: too many tries; `details["wait_s"]`.
        """
        stored = self._verified(caller, name, password)
        issued = self._tokens.issue(UserName(name), f"login from {caller.address}")
        if self._users.password_hash(name) != stored:  # changed in between, which ended every token but this one
            self._tokens.logout(issued.token)
            raise _refused()
        log.info("logged_in", user=name, address=caller.address)
        return issued

    def change_password(self, caller: Caller, old: str, new: str) -> Issued:
        """Set another password, which ends every token of the user; the one that is returned is the first new one.

        Raises:
            NotLoggedIn: the caller is nobody.
            UserError: the new password will not do.
            LoginRefused, SlowDown: as in `login`.
        """
        if caller.user is None:
            raise NotLoggedIn("Only who is logged in changes their password.", "Log in: dopq-client login.")
        name, email = caller.user.name, caller.user.email
        checked_password(new, *known_of(name, email))
        self._verified(caller, name, old)
        self._users.set_password_hash(name, self._passwords.hash(new))
        log.info("password_changed", user=name, address=caller.address)
        return self._tokens.issue(name, f"change of the password from {caller.address}")

    def logout(self, caller: Caller) -> None:
        """End the token that the caller came with.

        Raises:
            NotLoggedIn: they came without one.
        """
        if caller.token is None:
            raise NotLoggedIn("There is no token to end: this connection came without one.")
        self._tokens.logout(caller.token)
        if caller.user is not None:
            log.info("logged_out", user=caller.user.name, address=caller.address)

    def register(
        self,
        caller: Caller,
        name: str,
        password: str,
        email: str,
        uid: int | None,
        ssh_key: str | None,
        invite: str | None,
    ) -> User | None:
        """Ask to be registered: a user at once with an invite, else None, and an admin will look at it.

        Args:
            uid: the account on this machine that they say is theirs. Only an admin can make that true.

        Raises:
            UserError: a field makes no sense, or, with a good invite alone, the name is another's.
            NotAllowed: the invite is no good, or too many wait for an admin.
            SlowDown: too many tries; `details["wait_s"]`.
        """
        known = checked_name(name)
        checked_password(password, *known_of(known, checked_email(email)))
        wish = None if uid is None else checked_uid(uid)
        key = None if ssh_key is None else checked_ssh_key(ssh_key)
        self._tries.take(caller, known)
        request = Request(known, email, wish, key, self._passwords.hash(password), caller.address)
        if invite is None:
            self._registrations.ask(request, self._clock.now())
            log.info("registration_waits", user=known, address=caller.address)
            return None
        user = self._invites.redeem(invite, request, self._clock.now())
        log.info("registered", user=known, address=caller.address, wished_uid=wish)
        self._welcome(user)
        return user

    def _verified(self, caller: Caller, name: str, password: str) -> str:
        """What the password was verified against, if it is right."""
        taken = self._tries.take(caller, name)
        stored = self._users.password_hash(name)
        if not self._passwords.is_right(stored, password) or stored is None:
            # A name that nobody has may be a password in the wrong field.
            log.info("login_refused", user=name if stored else "unknown", address=caller.address)
            raise _refused()
        self._tries.was_right(taken)
        return stored


def _refused() -> LoginRefused:
    return LoginRefused(
        "The name or the password is wrong, or the account waits for an admin.",
        "Try again, or ask your admin, who can set a password: dopq user passwd.",
    )
