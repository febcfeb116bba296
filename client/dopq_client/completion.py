"""What a shell may complete: jobs by number and name, where the service tells them in no time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from dopq_client.session import Session

if TYPE_CHECKING:
    import click

    from dopq_client.shapes import JobInfo

PATIENCE_S = 0.3
"""How long somebody who has pressed Tab is kept waiting."""

MOST = 50


def jobs(context: click.Context, incomplete: str) -> list[CompletionItem]:
    """One's own jobs whose number or name begins so; none where the service does not answer in time."""
    found: list[JobInfo] = []

    def look() -> None:
        try:
            client = context.ensure_object(Session).client()
            found.extend(client.page(mine=True, limit=MOST)["jobs"])
            found.extend(client.history(mine=True, limit=MOST))
        except Exception:  # noqa: BLE001 - who presses Tab is told nothing, whatever is wrong
            found.clear()

    thread = threading.Thread(target=look, daemon=True)  # left behind, with the process, when it takes too long
    thread.start()
    thread.join(PATIENCE_S)
    return [] if thread.is_alive() else list(_items(found, incomplete))


def _items(found: list[JobInfo], incomplete: str) -> list[CompletionItem]:
    from dopq.clean import clean

    numbers = [
        CompletionItem(str(job["id"]), help=f"{clean(job['name'])}, {clean(job['state'])}")
        for job in found
        if str(job["id"]).startswith(incomplete)
    ]
    names = dict.fromkeys(clean(job["name"]) for job in found if job["name"].startswith(incomplete))
    return [*numbers, *(CompletionItem(name) for name in names if incomplete)]
