"""What one run of the command has in its hands: the link to the service, and the screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dopq_client.screen import local_now, show

if TYPE_CHECKING:
    from datetime import datetime

    from dopq_client.account import Account, LocalService
    from dopq_client.client import DopqClient
    from dopq_client.link import Link
    from dopq_client.screen import Shown


def open_link(account: Account | LocalService) -> Link:
    """A real link to the account's service."""
    from dopq_client.link import PyroLink
    from dopq_client.ways import way_to

    return PyroLink(way_to(account), account.token)


@dataclass
class Session:
    """One run of the command.

    Attributes:
        as_json: stdout belongs to JSON; everything for people goes to stderr.
        profile: the profile that was asked for; None: the one in force.
        debug: show tracebacks.
        open: makes the link; tests hand in their own.
    """

    open: Callable[[Account | LocalService], Link] = open_link
    as_json: bool = False
    profile: str | None = None
    debug: bool = False
    _clients: list[DopqClient] = field(default_factory=list)

    def account(self) -> Account | LocalService:
        """The account in force. Raises as `settings.load` does."""
        from dopq_client import settings

        return settings.load(self.profile)

    def client(self, account: Account | LocalService | None = None) -> DopqClient:
        """A client for the account in force, or for the given one."""
        from dopq_client.client import DopqClient

        client = DopqClient(self.open(account or self.account()))
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            client.close()

    # --- the screen ---------------------------------------------------------------------------------------------------

    def answer(self, data: Mapping[str, object], view: Callable[[datetime], Shown]) -> None:
        """What was asked for: `data` as JSON, or for people the `view` of it, both on stdout."""
        if self.as_json:
            self.json_out(data, indent=2)
        else:
            show(view(local_now()))

    def say(self, text: Shown) -> None:
        """Something for people besides the answer: on stdout, with --json on stderr."""
        show(text, stderr=self.as_json)

    def note(self, text: Shown) -> None:
        """Something about the run itself, such as progress: on stderr always."""
        show(text, stderr=True)

    def json_out(self, data: Mapping[str, object], indent: int | None = None) -> None:
        """One JSON object on stdout. ASCII only, so that it can do no harm on a terminal either."""
        import json

        from dopq.wire import SCHEMA_VERSION

        sys.stdout.write(json.dumps({"schema_version": SCHEMA_VERSION} | dict(data), indent=indent) + "\n")

    def flush(self) -> None:
        """Let whoever reads our output have all of it now."""
        sys.stdout.flush()
