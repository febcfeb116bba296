"""The front door: greeting, logging in and out, one's own account."""

from __future__ import annotations

from typing import cast

from dopq.wire import Plain
from dopq_client.client.desk import Desk
from dopq_client.shapes import Hello, Issued, Myself


class FrontDoor(Desk):
    """Who you are there, and how to get in."""

    def hello(self) -> Hello:
        """Who answers, and as whom they know you. Works without a token."""
        return cast("Hello", self._link.call("hello"))

    def whoami(self) -> Myself:
        """Your name, role and share weight, and when your token ends."""
        return cast("Myself", self._link.call("whoami"))

    def login(self, name: str, password: str) -> Issued:
        """A token for a user, to `connect` with. Raises `LoginRefused`, or `SlowDown` after too many tries."""
        return cast("Issued", self._link.call("login", name, password))

    def logout(self) -> None:
        """End the token with which you are connected."""
        self._link.call("logout")

    def register(
        self, name: str, password: str, email: str, *, ssh_key: str | None = None, invite: str | None = None
    ) -> str:
        """Ask to become a user: `active` at once with an invite, else `pending` until an admin approves.

        Raises:
            UserError: the name, the password, the address or the key will not do.
            NotAllowed: the invite is no good, or too many wait for an admin.
            SlowDown: after too many tries.
        """
        return str(self._link.call("register", name, password, email, None, ssh_key, invite)["state"])

    def change_password(self, old: str, new: str) -> Issued:
        """Change your password. All your tokens end; the one that is returned is new. Raises as `login` does."""
        return cast("Issued", self._link.call("change_password", old, new))

    def limits(self) -> Plain:
        """The limits and allow-lists by which the node judges bundles. Works without a token."""
        return cast("Plain", self._link.call("get_limits"))
