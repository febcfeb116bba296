"""The front door: greeting, logging in and out, one's own account."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dopq import __version__
from dopq.access import Access, remote
from dopq.caller import Caller
from dopq.container_handler.rules import rules_to_wire
from dopq.controller.arguments import Secret, Text
from dopq.controller.desk import Desk
from dopq.tokens import Issued
from dopq.user_fields import LONGEST_KEY
from dopq.users import User
from dopq.wire import SCHEMA_VERSION, Plain, time_to_wire


class FrontDoor(Desk):
    """Greeting and accounts: what people ask about themselves."""

    __slots__ = ()

    @remote(Access.ANYBODY)
    def hello(self, caller: Caller) -> Plain:
        """Version of the service and of its answers; also tells whether the token was good."""
        return {
            "service": "dopq",
            "version": __version__,
            "schema_version": SCHEMA_VERSION,
            "user": str(caller.user.name) if caller.user else None,
        }

    @remote(Access.ANYBODY)
    def get_limits(self, caller: Caller) -> Plain:  # noqa: ARG002 - nothing secret, and needed before a login
        """The limits and allow-lists by which bundles are judged here, for `dopq-client check`."""
        return rules_to_wire(self.rules)

    @remote(Access.USER)
    def whoami(self, caller: User) -> Plain:
        """The caller as the node knows them."""
        return {
            "user": str(caller.name),
            "role": str(caller.role),
            "weight": caller.weight,
            "email": caller.email,
            "uid": caller.uid,
            "expires_at": time_to_wire(caller.token_expires_at),
        }

    @remote(Access.ANYBODY, changes=True)
    def login(self, caller: Caller, name: Text, password: Secret) -> Plain:
        """A token for whoever knows a user's password, and when it ends."""
        return _issued_to_wire(self.accounts.login(caller, name, password))

    @remote(Access.ANYBODY, changes=True)
    def logout(self, caller: Caller) -> None:
        """End the token that the caller came with: it is dead at once."""
        self.accounts.logout(caller)

    @remote(Access.ANYBODY, changes=True)
    def register(
        self,
        caller: Caller,
        name: Text,
        password: Secret,
        email: Text,
        uid: int | None = None,
        ssh_key: Annotated[str, Field(max_length=LONGEST_KEY)] | None = None,
        invite: Secret | None = None,
    ) -> Plain:
        """Ask to be registered: `active` at once with an invite, else `pending` until an admin approves."""
        user = self.accounts.register(caller, name, password, email, uid, ssh_key, invite)
        return {"state": "active" if user else "pending"}

    @remote(Access.ANYBODY, changes=True)
    def change_password(self, caller: Caller, old: Secret, new: Secret) -> Plain:
        """Set another password for oneself, which ends every token one has; the first new one, and when it ends."""
        return _issued_to_wire(self.accounts.change_password(caller, old, new))


def _issued_to_wire(issued: Issued) -> Plain:
    return {"token": issued.token, "expires_at": time_to_wire(issued.expires_at)}
