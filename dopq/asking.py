"""Asking the engine, or our own disk with the journal, until they serve: unknown is not dead, nothing is decided."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dopq.errors import DopqError, EngineUnavailable, StateUnwritable
from dopq.utils.log import logger

log = logger(__name__)

RETRY_S = 1.0
"""How long to leave an engine or a disk alone that did not answer."""

Result = TypeVar("Result")


class NodeStops(Exception):
    """Leaves a job's thread when the node stops; the container runs on and is adopted at the next start."""


class Asking:
    """The patience of all who carry jobs. Thread-safe.

    Attributes:
        stopping: set when the node stops; whoever asks then leaves with `NodeStops`.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._troubles: dict[int, str] = {}  # of each thread that waits: the next one's answer says nothing of its own

    @property
    def trouble(self) -> str | None:
        """Why the engine or our own disk does not serve somebody at present, for `system`; None while they do."""
        return next(iter(self._troubles.copy().values()), None)

    def until_answered(self, question: Callable[[], Result]) -> Result:
        """The answer, however long it takes.

        Raises:
            NodeStops: the node stops; nobody knows whether what was asked has happened.
            EngineRefused: that is the answer.
        """
        try:
            while True:
                self.check_on()
                try:
                    return question()
                except (EngineUnavailable, StateUnwritable, OSError) as away:
                    self._wait(str(away))
        finally:
            self._troubles.pop(threading.get_ident(), None)

    def _wait(self, trouble: str) -> None:
        if trouble not in self._troubles.values():
            log.warning("waiting_for_engine_or_disk", cause=trouble)
        self._troubles[threading.get_ident()] = trouble
        self.stopping.wait(RETRY_S)

    def quietly(self, question: Callable[[], object]) -> None:
        """As `until_answered` of what nobody waits for: a refusal is logged, and a node that stops is no matter."""
        try:
            self.until_answered(question)
        except NodeStops:
            pass
        except DopqError as error:
            log.warning("engine_refused", code=error.code, cause=error.message)

    def check_on(self) -> None:
        """Raise `NodeStops` once the node stops."""
        if self.stopping.is_set():
            raise NodeStops
