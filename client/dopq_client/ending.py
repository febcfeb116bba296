"""How a run of the command ends: with words and an exit code, whatever happened, to its output as well."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dopq_client.session import Session

OUTPUT_LOST = 74
"""EX_IOERR of sysexits.h: what was done is done, but not all of it could be said."""

READER_GONE = 141
"""128 + SIGPIPE, as shells have it: whoever read our output, such as `head`, wanted no more."""


def code_of(session: Session, error: BaseException) -> int:
    """The exit code of a run that ended with `error`, once that is told."""
    from dopq.errors import DopqError
    from dopq_client import failures
    from dopq_client.exits import Exit

    if isinstance(error, OSError) and (code := of_output(error)) is not None:
        return code
    if session.debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        session.note("\nInterrupted.")
        return Exit.INTERRUPTED
    assert isinstance(error, Exception)
    known = error if isinstance(error, DopqError) else failures.defect(error)
    return failures.fail(session, known)


def let_no_character_fail() -> None:
    """A locale that cannot write a character gets a question mark instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flushed(code: object) -> object:
    """The exit code once all output is out: `code`, unless that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return of_output(error)
    return code


def of_output(error: OSError) -> int | None:
    """The exit code for an error of our own standard output, about which its owner is told; None for any other."""
    if error.errno in (errno.EPIPE, errno.EINVAL) and error.filename is None:  # EINVAL: a closed pipe on Windows
        _say_no_more()
        return READER_GONE
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG) and error.filename is None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"Error: Not all could be written to standard output: {error.strerror}.\n")
        _say_no_more()
        return OUTPUT_LOST
    return None


def _say_no_more() -> None:
    """Have Python end without trying again, and complaining about it, what has failed."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file, as in tests
        os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
