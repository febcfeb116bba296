"""The one error tree, sorted by who has to move next.

Every error has a stable `code` (what programs hold on to), one sentence that says what and why, and a hint that says
what to do. Outside libraries' errors are translated at the adapter that met them, never further in.
"""

from __future__ import annotations

from typing import ClassVar


class DopqError(Exception):
    """Base of every error that DoPQ raises on purpose.

    Attributes:
        code: stable identifier, lower case with underscores; the only part that programs should compare.
        message: one sentence: what happened and why.
        hint: what to do about it; empty when there is nothing that the reader could do.
        details: plain data for programs (strings, numbers, lists, dicts).
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


# --- the user moves next ---------------------------------------------------------------------------------------------


class UserError(DopqError):
    """The request cannot be met as it stands; a changed request can."""

    code = "bad_request"


class BundleRejected(UserError):
    """A bundle was refused. `details["problems"]` lists every problem at once (see `dopq.job.Problem`)."""

    code = "bundle_rejected"


class BuildFailed(UserError):
    """The bundle is well-formed, but no image came of it."""

    code = "build_failed"


class BadTrace(UserError):
    """A trace of jobs cannot be read; says in which line."""

    code = "bad_trace"


class NotLoggedIn(UserError):
    """The call came without a valid token."""

    code = "not_logged_in"


class LoginRefused(NotLoggedIn):
    """The name and the password do not belong to a user of this node; it is not told which of them is wrong."""

    code = "login_refused"


class NotAllowed(UserError):
    """The caller is known, but this is not theirs to do."""

    code = "not_allowed"


class UnknownCall(UserError):
    """The service has no such call; most likely it is of another version."""

    code = "unknown_call"


class NotFound(UserError):
    """No job, user or file of that name."""

    code = "not_found"


class WrongState(UserError):
    """The job is not in a state in which this can be done, for example cancelling a finished one."""

    code = "wrong_state"


class CertificateUnknown(UserError):
    """Nothing vouches for the certificate of the service. `details["fingerprint"]`: what to confirm, if it can be."""

    code = "certificate_unknown"


class CertificateChanged(UserError):
    """The service has another certificate than before. `details`: `fingerprint` as it is, `expected` as it was."""

    code = "certificate_changed"


# --- time moves next: ask again, do not assume ------------------------------------------------------------------------


class TryAgain(DopqError):
    """Something outside did not answer. What was asked may or may not have happened: look, then repeat."""

    code = "try_again"


class EngineUnavailable(TryAgain):
    """The container engine did not answer."""

    code = "engine_unavailable"


class SlowDown(TryAgain):
    """Too many calls or wrong passwords in a short time. `details["wait_s"]`: seconds after which it goes on."""

    code = "slow_down"


class ServiceUnreachable(TryAgain):
    """The DoPQ service did not answer."""

    code = "service_unreachable"


# --- the operator moves next ------------------------------------------------------------------------------------------


class OperatorError(DopqError):
    """The owner of the machine has to change something."""

    code = "operator"


class BadConfig(OperatorError):
    """A settings file is wrong. `details["problems"]` lists every problem at once."""

    code = "bad_config"


class AlreadyRunning(OperatorError):
    """Another node already serves this state folder."""

    code = "already_running"


class EngineRefused(OperatorError):
    """The container engine understood the request and said no."""

    code = "engine_refused"


class StateUnwritable(OperatorError):
    """The journal takes nothing at present, for example because its disk is full. Nothing was changed."""

    code = "state_unwritable"


class StateUnreadable(OperatorError):
    """The journal is corrupt or written by a newer version."""

    code = "state_unreadable"


# --- we move next -----------------------------------------------------------------------------------------------------


class InvariantBroken(DopqError):
    """A defect of ours. Never caught to go on as if nothing had happened."""

    code = "internal"
