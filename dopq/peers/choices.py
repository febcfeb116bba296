"""What the admin of this node has chosen about others: whom to ask first, whom to trust, what to say of this node.

A small file beside the node, so that `dopq peer` writes it whether the node runs or not, and the node reads it anew
whenever it goes by it: who is not trusted any more is not from that moment on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from dopq.errors import OperatorError
from dopq.peers.record import Metadata
from dopq.utils.files import write_atomic


class Choices(BaseModel):
    """The admin's choices.

    Attributes:
        seeds: addresses to ask for other nodes, as `HOST` or `HOST:PORT`.
        trusted: the names of the nodes that may use this one and are used by it, by the fingerprint of their
            certificate.
        metadata: what this node tells others of itself besides its machine.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    seeds: list[str] = []
    trusted: dict[str, str] = {}
    metadata: Metadata = {}


class ChoicesFile:
    """The file that keeps them. Processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Choices:
        """The choices as they are now.

        Raises:
            OperatorError: the file is damaged.
        """
        try:
            return Choices.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Choices()
        except (OSError, ValidationError) as error:
            raise OperatorError(
                f"{self._path}, which keeps whom this node trusts, cannot be read.",
                "Mend it, or remove it and say again whom you trust: dopq peer trust",
            ) from error

    def change(self, change: Callable[[Choices], Choices]) -> Choices:
        """Replace them by what `change` makes of them; what they are then. Raises as `read` does."""
        with FileLock(self._path.with_suffix(".lock")):
            changed = change(self.read())
            try:
                write_atomic(self._path, json.dumps(changed.model_dump(), indent=2) + "\n", 0o600)
            except OSError as error:
                raise OperatorError(f"{self._path} cannot be written: {error.strerror}.") from error
        return changed
