"""What keeps the queue from starting anything: a lock, which ends by itself, and a drain, which somebody ends. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

from dopq.job import Reason
from dopq.wire import Plain, time_to_wire


@dataclass(frozen=True, slots=True)
class QueueLock:
    """Nothing is started before `until`, at the wish of `owner`."""

    owner: str
    reason: str
    until: datetime

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The lock that `to_json` wrote."""
        data = json.loads(text)
        return cls(data["owner"], data["reason"], datetime.fromisoformat(data["until"]))

    def to_json(self) -> str:
        """As the journal notes it."""
        return json.dumps(asdict(self) | {"until": self.until.isoformat()})

    def to_wire(self) -> Plain:
        """As it is told to people."""
        return {"owner": self.owner, "reason": self.reason, "until": time_to_wire(self.until)}

    def obstacle(self) -> Reason:
        """Why a job does not start; the time is that of the node's own zone."""
        until = self.until.astimezone().strftime("%H:%M on %d %b")
        return Reason("locked", f"{self.owner} locked the queue until {until}: {_ended(self.reason)}")


@dataclass(frozen=True, slots=True)
class Drain:
    """Nothing is started until somebody says so, at the wish of `owner`; also after a restart."""

    owner: str
    reason: str

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The drain that `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """As the journal notes it."""
        return json.dumps(asdict(self))

    def to_wire(self) -> Plain:
        """As it is told to people."""
        return asdict(self)

    def obstacle(self) -> Reason:
        """Why a job does not start."""
        return Reason("draining", f"{self.owner} drains the node, nothing new starts: {_ended(self.reason)}")


def _ended(text: str) -> str:
    """With the full stop that people leave out, since more sentences follow."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
