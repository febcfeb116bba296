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

from dopq.handover import Abandon, Accepted, Built, Declined, FromNode, FromProvider, Rejected
from dopq.job import ImageId, JobSpec, Problem, Reason, StateName

POLL_S = 0.01


@dataclass(frozen=True)
class StubSettings:
    """`folder` is where the test and the process meet."""

    folder: Path
    stubborn: bool = False


def stub(settings: StubSettings, pipe: Connection) -> None:
    """The life of the process; a bundle called `good.zip` is built, `bad.zip` refused, others take for ever."""
    with (settings.folder / "heard").open("a") as heard:
        heard.write(json.dumps({"born": os.getpid()}) + "\n")
    try:
        while True:
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
            facts |= {"key": message.key, "job": message.job, "build": message.build, "log": message.build_log}
        case Declined():
            facts |= {"key": message.key}
        case Abandon():
            facts |= {"job": message.job}
    with (folder / "heard").open("a") as heard:
        heard.write(json.dumps(facts) + "\n")
    if isinstance(message, Accepted) and message.build and (answer := ANSWERS.get(message.bundle)):
        pipe.send(answer(message))


def _built(order: Accepted) -> FromProvider:
    return Built(order.job, JobSpec("built"), ImageId("sha256:00"), has_input=False)


def _rejected(order: Accepted) -> FromProvider:
    problem = Problem("Dockerfile", "is not there", "Add one.")
    return Rejected(order.job, StateName.INVALID, Reason("bundle_rejected", "It was refused."), (problem,))


ANSWERS: dict[str, Callable[[Accepted], FromProvider]] = {"good.zip": _built, "bad.zip": _rejected}
