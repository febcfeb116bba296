"""`dopq-client` in this process, over a link to a node in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from dopq_client import cli
from dopq_client.session import Session
from tests.in_memory_node import InMemoryNode, MemoryLink


@dataclass
class Terminal:
    """`dopq-client` as anna, over the links that it was given."""

    node: InMemoryNode
    link: MemoryLink

    def __call__(self, *words: str, stdin: str | None = None, **environment: str) -> Result:
        session = Session(open=lambda account: self._as(account.token))
        return CliRunner(env=environment).invoke(
            cli.main, list(words), obj=session, input=stdin, prog_name="dopq-client"
        )

    def _as(self, token: str | None) -> MemoryLink:
        self.link.token = token
        return self.link

    def json(self, *words: str) -> Any:
        """What stdout says under --json; it must be one JSON object and nothing else."""
        return json.loads(self(*words, "--json").stdout)
