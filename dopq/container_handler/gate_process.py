"""The gate's own process: everything that reads strangers' bytes happens in children of this one.

It imports what they need once and then forks one for each request, which takes a few milliseconds where starting Python
takes a quarter of a second. It reads nothing but requests, which the Provider wrote; it ends when the Provider does.
"""

from __future__ import annotations

import codecs
import os
import signal
import socket
import traceback
from collections.abc import Sequence
from contextlib import suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import NoReturn

from dopq.container_handler.archive_kinds import is_whole, most_bytes_of
from dopq.container_handler.bundle import prepare
from dopq.container_handler.confinement import confine, leave_network
from dopq.container_handler.gate_messages import (
    ANSWER,
    REQUEST,
    Answer,
    Confined,
    Defect,
    DiskTrouble,
    Exceeded,
    IsWhole,
    Misconfigured,
    Passed,
    Prepare,
    Refused,
    Request,
    TryOut,
    Whole,
)
from dopq.container_handler.refusal import problems_of
from dopq.errors import BadConfig, BundleRejected

MOST_REQUEST_BYTES = 2**20
_ROOM = Path("/")  # as a child sees it
_ENCODINGS = ("cp437", "utf-8-sig")  # what zip files and specs need beside UTF-8; a child can load nothing any more


class _Overtime(BaseException):
    """SIGXCPU came."""


def main() -> None:
    """Serve the requests that come in over the socket on descriptor 0, until its other end is closed.

    A request is one message of JSON with the bundle, the child's folder and the pipe for the answer as descriptors; it
    is answered with a descriptor of the child (pidfd_open(2)).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C goes to the whole terminal group; the Provider decides
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    has_network = not _left_network()
    with socket.socket(fileno=0) as provider, suppress(ConnectionError):  # a Provider that was killed closes nothing
        while True:
            message, descriptors, _, _ = socket.recv_fds(provider, MOST_REQUEST_BYTES, 4)
            if not message:
                return
            _serve(provider, REQUEST.validate_json(message), descriptors, has_network=has_network)


def _left_network() -> bool:
    """Whether it could; without, it takes a bundle that takes over its reader to do harm, so bundles are checked.

    A reason that keeps rights from being given up as well, such as ENOSPC where user namespaces are limited to none, is
    told to each caller by `confine`.
    """
    try:
        leave_network()
    except OSError:
        return False
    return True


def _serve(provider: socket.socket, request: Request, descriptors: Sequence[int], *, has_network: bool) -> None:
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        provider.close()
        _live(request, descriptors, parent, has_network=has_network)
    handle = os.pidfd_open(child)
    socket.send_fds(provider, [b"."], [handle])
    for descriptor in (handle, *descriptors):
        os.close(descriptor)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # those that have ended since


def _live(request: Request, descriptors: Sequence[int], parent: int, *, has_network: bool) -> NoReturn:
    """A child's life; whatever happens, it does not return into the parent's code."""
    bundle, room, answer = descriptors
    try:
        signal.signal(signal.SIGXCPU, _overtime)
        said = _confined(request, room, parent) or (
            Confined(has_network) if isinstance(request, TryOut) else _answer(request, BufferedReader(FileIO(bundle)))
        )
        with open(answer, "wb") as out:  # noqa: PTH123 - a descriptor is no path
            out.write(ANSWER.dump_json(said))
    finally:
        os._exit(0)


def _confined(request: Request, room: int, parent: int) -> Misconfigured | None:
    """None once this process has no rights any more; else why it cannot go on."""
    limits = request.limits
    try:
        confine(
            room,
            memory_bytes=limits.memory_bytes,
            cpu_s=limits.cpu_s,
            file_bytes=most_bytes_of(request.rules.limits),
            parent=parent,
        )
    except OSError as error:
        message = (
            "This machine does not let DoPQ take the rights from the process that checks bundles, so none is checked: "
            f"{error.strerror}."
        )
        hint = "Run DoPQ as root, or allow unprivileged user namespaces (user_namespaces(7))."
        return Misconfigured(message, hint)
    return None


def _overtime(*_: object) -> NoReturn:
    raise _Overtime


def _answer(request: Prepare | IsWhole, bundle: BufferedReader) -> Answer:
    try:
        return _looked(request, bundle)
    except (BundleRejected, BadConfig, MemoryError, OSError, _Overtime) as error:
        return _told(error)
    except Exception:  # noqa: BLE001 - told to the Provider, which logs it
        return Defect(traceback.format_exc())


def _told(error: BundleRejected | BadConfig | MemoryError | OSError | _Overtime) -> Answer:
    match error:
        case BundleRejected():
            return Refused(tuple(problems_of(error)))
        case BadConfig():
            return Misconfigured(error.message, error.hint)
        case OSError():
            return DiskTrouble(error.errno or 0, error.strerror or str(error))
        case MemoryError():
            return Exceeded("memory")
        case _:
            return Exceeded("time")


def _looked(request: Prepare | IsWhole, bundle: BufferedReader) -> Answer:
    match request:
        case IsWhole():
            return Whole(is_whole(bundle, request.bundle_name))
        case Prepare():
            prepared = prepare(
                bundle,
                _ROOM,
                bundle_name=request.bundle_name,
                default_name=request.default_name,
                user=request.user,
                rules=request.rules,
                labels=request.labels,
            )
            return Passed(prepared.spec, prepared.is_image, prepared.input is not None)


if __name__ == "__main__":
    main()
