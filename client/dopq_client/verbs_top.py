"""The verb top: everything at a glance, live."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import click

from dopq.errors import OperatorError
from dopq_client.session import Session

if TYPE_CHECKING:
    from dopq_client.link import Link
    from dopq_client.top.facts import Facts

NEEDS = "textual>=8.2,<9"
"""What pip installs for it, as pyproject.toml has it for the extra `top`."""


@click.command()
@click.pass_context
def top(context: click.Context) -> None:
    """Watch the node live: what runs and waits, history, users, GPUs. Its key ? shows all keys."""
    from dopq_client.top.facts import Facts

    session: Session = context.obj
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("top needs a terminal. `dopq-client status` and `system` tell the same without one.")
    show = _screen()
    account = session.account()
    with closing(session.open(account)) as link:
        me = link.call("whoami")  # before the screen is taken: who cannot be reached is told of as ever
        code = show(link, Facts(me=me["user"], asked=account.address))
    context.exit(code)


def _screen() -> Callable[[Link, Facts], int]:
    """What shows it. Raises `OperatorError` where the extra of it is not installed."""
    try:
        from dopq_client.top.app import run
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] != "textual":
            raise
        raise OperatorError(
            "dopq-client top needs textual, which is not installed here.",
            f'Install it: {sys.executable} -m pip install "{NEEDS}" (the extra dopq[top]).',
        ) from None
    return run
