"""The Provider's side of the gate: it hands a bundle over and gets facts or a refusal back.

The bundle is looked at by a process without rights (`confinement.py`), which has one folder and three descriptors. What
it leaves there is looked at like anything else that a stranger might have made.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import BinaryIO, NoReturn

from pydantic import ValidationError

from dopq.container_handler.bundle import CONTEXT, Prepared
from dopq.container_handler.gate_link import GateLink
from dopq.container_handler.gate_messages import (
    ANSWER,
    Answer,
    Confined,
    Defect,
    DiskTrouble,
    Exceeded,
    GateLimits,
    IsWhole,
    Misconfigured,
    Passed,
    Prepare,
    Refused,
    Request,
    TryOut,
    Whole,
)
from dopq.container_handler.gate_tries import GateTries
from dopq.container_handler.project_layout import INPUT
from dopq.container_handler.refusal import refusal
from dopq.container_handler.rules import Rules
from dopq.container_handler.spec_fields import is_sound
from dopq.errors import BadConfig, BuildFailed, BundleRejected, InvariantBroken, OperatorError
from dopq.job import Problem
from dopq.utils.log import logger

log = logger(__name__)

_ROOM = "room"
_TRIES = "gate.json"
_MOST_ANSWER_BYTES = 2**20
_LOOK_EVERY_S = 0.1  # how late a cancelled look may be noticed
_SHORT_LIMITS = GateLimits(cpu_s=10, wall_s=10.0)


class Gate:
    """Looks at bundles for any number of threads, each time in a process of its own."""

    def __init__(self, limits: GateLimits | None = None) -> None:
        self._limits = limits or GateLimits()
        self._link = GateLink()

    def close(self) -> None:
        """End the gate's processes; looks that are under way end without an answer."""
        self._link.close()

    def prepare(
        self,
        bundle: Path,
        workdir: Path,
        *,
        bundle_name: str,
        default_name: str,
        user: str,
        rules: Rules,
        labels: Mapping[str, str],
        cancelled: Event | None = None,
    ) -> Prepared:
        """As `dopq.container_handler.bundle.prepare`, somewhere safe. Safe to call again after a crash.

        Raises:
            BundleRejected: the bundle is wrong, took too much to look at, or killed whoever looked at it three times.
            BadConfig: a template is broken.
            BuildFailed: `cancelled` was set meanwhile.
            OSError: this machine's disk is full or failing.
        """
        rules = replace(rules, templates=rules.templates.read())
        request = Prepare(bundle_name, default_name, user, rules, labels, self._limits)
        workdir.mkdir(mode=0o700, exist_ok=True)
        tries = GateTries(workdir / _TRIES)
        while not tries.exhausted:
            room = _new_room(workdir)
            tries.begin()
            with bundle.open("rb") as file:
                answer = self._answer(request, file, room, cancelled or Event())
            if answer is None:
                tries.died()
                log.warning("gate_died", bundle=bundle_name, user=user)
                continue
            tries.end()
            if isinstance(answer, Passed):
                return _moved_in(answer, room, workdir)
            shutil.rmtree(room)
            _raise(answer, self._limits)
        raise _refused("whoever looks at it dies of it", "Pack the bundle again, and tell your admin.")

    def is_whole(self, bundle: BinaryIO, bundle_name: str, rules: Rules) -> bool:
        """Whether a file has the end that its kind of archive has; True where that cannot be told."""
        answer = self._short_look(IsWhole(bundle_name, rules, _SHORT_LIMITS), bundle)
        return answer.whole if isinstance(answer, Whole) else True

    def try_out(self, rules: Rules) -> Confined:
        """How far a process can be confined on this machine, by confining one.

        Raises:
            DopqError: not far enough, most likely since the kernel does not let it give up its rights: no bundle can be
                checked.
            OSError: the process could not be started now.
        """
        with tempfile.TemporaryFile() as nothing:
            answer = self._short_look(TryOut(rules, _SHORT_LIMITS), nothing)
        if answer is None:
            raise OperatorError("The process that checks bundles dies at once.", "What it last said is above.")
        if not isinstance(answer, Confined):
            _raise(answer, _SHORT_LIMITS)
        return answer

    def _short_look(self, request: Request, file: BinaryIO) -> Answer | None:
        with tempfile.TemporaryDirectory() as room:
            return self._answer(request, file, Path(room), Event())

    def _answer(self, request: Request, bundle: BinaryIO, room: Path, cancelled: Event) -> Answer | None:
        """What the gate says; None when it died or said nothing that makes sense."""
        folder = os.open(room, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                child = self._link.send(request, [bundle.fileno(), folder, writing])
            finally:
                os.close(writing)
                os.close(folder)
            try:
                said = _hear(reading, time.monotonic() + request.limits.wall_s, cancelled)
            finally:
                _end(child)
        except ConnectionError:
            return None
        finally:
            os.close(reading)
        if said is None:
            return Exceeded("time")
        try:
            return ANSWER.validate_json(said)
        except ValidationError:
            return None


def _new_room(workdir: Path) -> Path:
    """An empty folder for the gate; what an earlier look left is removed."""
    room = workdir / _ROOM
    if room.exists():
        shutil.rmtree(room)
    room.mkdir(mode=0o700)
    return room


def _hear(reading: int, until_s: float, cancelled: Event) -> bytes | None:
    """All that comes out of a pipe until it is closed; None when that is not until then.

    Raises:
        BuildFailed: cancelled.
    """
    said = b""
    while len(said) <= _MOST_ANSWER_BYTES:
        if cancelled.is_set():
            raise BuildFailed("The bundle's check was broken off.", cancelled=True)
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return None
        if select.select([reading], [], [], min(left_s, _LOOK_EVERY_S))[0]:
            piece = os.read(reading, 65536)
            if not piece:
                break
            said += piece
    return said


def _end(child: int) -> None:
    """Make sure that a gate's process is gone, so that nobody changes what it left."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(child, signal.SIGKILL)
    select.select([child], [], [])
    os.close(child)


def _moved_in(passed: Passed, room: Path, workdir: Path) -> Prepared:
    """Take over what the gate wrote, if it is what it should be, and as our own."""
    context, input_folder = workdir / CONTEXT, workdir / INPUT
    made, made_input = room / CONTEXT, room / INPUT
    if not is_sound(passed.spec) or not stat.S_ISREG(made.lstat().st_mode):
        raise InvariantBroken("The gate let something through that cannot be.")
    os.chown(made, os.geteuid(), os.getegid(), follow_symlinks=False)
    made.replace(context)
    if input_folder.exists():
        shutil.rmtree(input_folder)
    if passed.has_input:
        if not stat.S_ISDIR(made_input.lstat().st_mode):
            raise InvariantBroken("The gate let something through that cannot be.")
        made_input.rename(input_folder)
    shutil.rmtree(room)
    return Prepared(passed.spec, context, passed.is_image, input_folder if passed.has_input else None)


def _raise(answer: Answer, limits: GateLimits) -> NoReturn:
    match answer:
        case Refused(problems):
            raise refusal(problems)
        case Exceeded("time"):
            raise _refused(f"it took more than {limits.cpu_s} s to check", "Put fewer or smaller files into it.")
        case Exceeded("memory"):
            what = f"it took more than {limits.memory_bytes // 2**20} MiB of memory to check"
            raise _refused(what, "Put fewer files into it.")
        case Misconfigured(message, hint):
            raise BadConfig(message, hint)
        case DiskTrouble(number, text):
            raise OSError(number, text)
        case Defect(text):
            raise InvariantBroken(f"The gate failed on a bundle.\n{text}")
    raise InvariantBroken(f"The gate gave an answer to another question ({answer.kind}).")


def _refused(what: str, instead: str) -> BundleRejected:
    return refusal([Problem("bundle", what, instead)])
