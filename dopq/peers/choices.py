"""What the admin of this node has chosen about others: whom to ask first, whom to trust, what to say of this node.

A small file beside the node, so that `dopq peer` writes it whether the node runs or not, and the node reads it anew
whenever it goes by it: who is not trusted any more is not from that moment on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from dopq.clean import clean
from dopq.errors import OperatorError, UserError
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


def with_metadata(choices: Choices, changes: Mapping[str, str]) -> Choices:
    """The same with other metadata; what becomes empty is not said any more.

    Raises:
        UserError: a key or text is none that others would take.
    """
    said = {key: value for key, value in {**choices.metadata, **changes}.items() if value}
    try:
        changed = Choices.model_validate(choices.model_dump() | {"metadata": said})
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        raise UserError(f"{item['loc'][1]}: {item['msg']}.", "Keys: a-z, 0-9, _ . -; up to 32 of them.") from None
    if hostile := [key for key, value in said.items() if clean(value) != value]:
        raise UserError(f"The text of {hostile[0]} does more on a screen than show itself.", "Write it plainly.")
    return changed


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
