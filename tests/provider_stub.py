"""A Provider that does as it is told: what its process says comes from files, what it heard goes into one."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dopq.handover import (
    Abandon,
    Accepted,
    Alive,
    Built,
    Declined,
    FromNode,
    FromProvider,
    Imaged,
    Known,
    Refused,
    Rejected,
)
from dopq.inbox_watch import WatchSettings
from dopq.job import ImageId, JobSpec, Problem, Reason, StateName

POLL_S = 0.01
MANY = 20_000
"""Messages that no pipe holds."""


@dataclass(frozen=True)
class StubSettings:
    """`folder` is where the test and the process meet, `watch` what a supervisor wants to know of any Provider.

    Attributes:
        stubborn: it goes on when its pipe is closed.
        talkative: it has more to say than a pipe holds before it hears anything.
        beats: it says all the time that it lives.
    """

    folder: Path
    watch: WatchSettings
    stubborn: bool = False
    talkative: bool = False
    beats: bool = False


def stub(settings: StubSettings, pipe: Connection) -> None:
    """The life of the process; a bundle's name says what comes of it (`ANSWERS`), others take for ever."""
    with (settings.folder / "heard").open("a") as heard:
        heard.write(json.dumps({"born": os.getpid()}) + "\n")
    try:
        for number in range(MANY if settings.talkative else 0):
            pipe.send(Alive(troubles=(f"{number}",)))
        while True:
            if settings.beats:
                pipe.send(Alive(troubles=(f"pid {os.getpid()}",)))
            _say_what_is_ordered(settings.folder, pipe)
            if pipe.poll(POLL_S):
                _hear(settings.folder, pipe)
    except (EOFError, OSError):
        while settings.stubborn:
            signal.pause()


def _say_what_is_ordered(folder: Path, pipe: Connection) -> None:
    for file in sorted(folder.glob("*.say")):
        messages = pickle.loads(file.read_bytes())
        file.unlink()
        for message in messages:
            pipe.send(message)


def _hear(folder: Path, pipe: Connection) -> None:
    message: FromNode = pipe.recv()
    facts: dict[str, Any] = {"pid": os.getpid(), "kind": type(message).__name__}
    match message:
        case Accepted():
            facts |= {"key": message.key, "job": message.job, "build": message.build, "held": message.held}
            facts |= {"log": message.build_log}
        case Declined() | Refused():
            facts |= {"key": message.key}
        case Abandon():
            facts |= {"job": message.job}
        case Known():
            facts |= {"user": message.user, "fingerprint": message.fingerprint, "image": message.image}
    with (folder / "heard").open("a") as heard:
        heard.write(json.dumps(facts) + "\n")
    if isinstance(message, Accepted) and message.build and (answer := ANSWERS.get(message.bundle)):
        for said in answer(message):
            pipe.send(said)


def _built(order: Accepted) -> list[FromProvider]:
    image = ImageId("sha256:00")
    return [Imaged(order.job, image, "f1"), Built(order.job, JobSpec("built"), image, has_input=False)]


def _rejected(order: Accepted) -> list[FromProvider]:
    problem = Problem("Dockerfile", "is not there", "Add one.")
    return [Rejected(order.job, StateName.INVALID, Reason("bundle_rejected", "It was refused."), (problem,))]


ANSWERS: dict[str, Callable[[Accepted], list[FromProvider]]] = {"good.zip": _built, "bad.zip": _rejected}
