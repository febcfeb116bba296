"""Asking the engine, or our own disk, until it serves: unknown is not dead, and nothing is decided meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dopq.errors import DopqError, EngineUnavailable
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
        trouble: why the engine or our own disk does not serve at present, for `system`; None while it does.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.trouble: str | None = None

    def until_answered(self, question: Callable[[], Result]) -> Result:
        """The answer, however long it takes.

        Raises:
            NodeStops: the node stops; nobody knows whether what was asked has happened.
            EngineRefused: that is the answer.
        """
        while True:
            self.check_on()
            try:
                answer = question()
            except (EngineUnavailable, OSError) as away:
                if self.trouble is None:
                    log.warning("waiting_for_engine_or_disk", cause=str(away))
                self.trouble = str(away)
                self.stopping.wait(RETRY_S)
            else:
                self.trouble = None
                return answer

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
