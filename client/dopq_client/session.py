"""What one run of the command has in its hands: the link to the service, and the screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dopq.wire import SCHEMA_VERSION
from dopq_client import settings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from dopq_client.account import Account, LocalService
    from dopq_client.client import DopqClient
    from dopq_client.link import Link


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

    def answer(self, data: dict[str, object], view: Callable[[datetime], RenderableType]) -> None:
        """What was asked for: `data` as JSON, or for people the `view` of it, both on stdout."""
        if self.as_json:
            self.json_out(data, indent=2)
        else:
            _print(console(), view(datetime.now(UTC).astimezone()))

    def say(self, text: str | RenderableType) -> None:
        """Something for people besides the answer: on stdout, with --json on stderr."""
        _print(console(stderr=self.as_json), text)

    def note(self, text: str | RenderableType) -> None:
        """Something about the run itself, such as progress: on stderr always."""
        _print(console(stderr=True), text)

    def json_out(self, data: dict[str, object], indent: int | None = None) -> None:
        """One JSON object on stdout. ASCII only, so that it can do no harm on a terminal either."""
        sys.stdout.write(json.dumps({"schema_version": SCHEMA_VERSION} | data, indent=indent) + "\n")


def console(*, stderr: bool = False) -> Console:
    """A console that reads no markup, emoji codes or highlights out of what it prints. Honours NO_COLOR and pipes."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _print(on: Console, text: str | RenderableType) -> None:
    # Nothing is cut off: a path or a fingerprint that is too long for a line goes on in the next, and can be copied.
    on.print(text, soft_wrap=isinstance(text, str), crop=False)
