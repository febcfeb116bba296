"""The guard: who calls, whether they may, how often, with what arguments; and what of an answer may leave.

Behind it are objects with methods; it calls exactly those that it was given, and each call goes the same way: find the
method, ask who calls, their right, their rate, the arguments' types, the key, then call, and leave a line in the audit
log where something was to change.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from dopq.access import Access
from dopq.boundary.doors import Evidence
from dopq.boundary.rates import LONGEST_WAIT_S, Rates
from dopq.boundary.repeats import Repeats
from dopq.boundary.served import Served, served
from dopq.boundary.turns import Turns
from dopq.caller import Caller
from dopq.errors import (
    DopqError,
    InvariantBroken,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    ServiceUnreachable,
    UnknownCall,
    UserError,
)
from dopq.protocol.plain import NotPlain, pack
from dopq.users import Role
from dopq.utils.log import logger
from dopq.wire import Plain

log = logger(__name__)

MAX_ANSWER_BYTES = 16 * 2**20

STRANGERS_CALLS_PER_S = 20.0
"""Calls a second from one address by those who have not said who they are."""

CHANGES_PER_S, STRANGERS_CHANGES_PER_S = 20.0, 1.0
"""Changing calls a second: each leaves a line in the audit log, where nobody shall push out what they did."""

CALLS_AT_ONCE = 2
"""How many calls of one user or peer are answered at once, besides those that wait for news."""

Identify = Callable[[Evidence, str | None], Caller]
"""Who is at the other end, by what the connection tells and the token that came with it."""

Audit = Callable[[Caller, str, Mapping[str, object], str], None]
"""Takes down who called which changing method with which arguments, and what came of it: `ok` or an error's code."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A connection that was let in: to which object, on what evidence, as whom (who that is may change meanwhile)."""

    target: str
    methods: list[str]
    evidence: Evidence
    token: str | None
    caller: Caller


class Guard:
    """Stands before the objects of one node. Thread-safe."""

    def __init__(self, identify: Identify, audit: Audit, calls_per_s: float, stopping: threading.Event) -> None:
        self._identify = identify
        self._audit = audit
        self._calls_per_s = calls_per_s
        self._stopping = stopping
        self._objects: dict[str, dict[str, Served]] = {}
        self._checked: dict[Served, Callable[..., Any]] = {}
        self._rates = Rates(time.monotonic)
        self._repeats = Repeats()
        self._turns = Turns(CALLS_AT_ONCE, LONGEST_WAIT_S)

    def serve(self, target: str, face: object) -> None:
        """Let an object's marked methods be called, these and no others."""
        self._objects[target] = {call.name: call for call in served(face)}
        for call in self._objects[target].values():
            self._checked[call] = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True))(call.run)

    def admit(self, target: object, handshake: object, evidence: Evidence) -> Visit:
        """Let a connection in, as whoever it is.

        A wrong token lets it in as nobody: then its calls are refused in our own words, which a handshake cannot say.

        Raises:
            DopqError: there is no such object, or it cannot be found out who that is.
        """
        methods = self._objects.get(target) if isinstance(target, str) else None
        if methods is None or not isinstance(target, str):
            raise NotFound("There is no such object.")
        token = handshake.get("token") if isinstance(handshake, dict) else None
        token = token if isinstance(token, str) else None
        with self._in_our_words("handshake"):
            return Visit(target, sorted(methods), evidence, token, self._identify(evidence, token))

    def pause_s(self, visit: Visit) -> float:
        """How long a message of this visit has to wait, whatever it says, so that their caller keeps to the rate.

        Raises:
            SlowDown: too long; it is refused.
        """
        who = visit.caller.principal
        return self._rates.wait_s(who or visit.evidence.source, self._calls_per_s if who else STRANGERS_CALLS_PER_S)

    def turn(self, visit: Visit, method: str) -> AbstractContextManager[None]:
        """What a call is made in, and its answer sent: entered, it may raise `SlowDown`."""
        who, call = visit.caller.principal, self._objects[visit.target].get(method)
        return self._turns.turn(who) if who and call and not call.waits else nullcontext()

    def call(self, visit: Visit, target: str, method: str, arguments: list[object], named: Plain) -> bytes:
        """Call a method and return its answer, packed.

        Raises:
            DopqError: whatever is to be told; nothing else comes out.
        """
        with self._in_our_words(method):
            return self._call(visit, target, method, arguments, named)

    @contextmanager
    def _in_our_words(self, method: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._stopping.is_set():  # what failed may be a part that has stopped already
                raise ServiceUnreachable("The node is stopping.", "Ask again when it is back.") from error
            if isinstance(error, DopqError) and not isinstance(error, InvariantBroken):
                raise
            reference = secrets.token_hex(4)
            log.exception("call_failed", method=method, reference=reference)
            raise InvariantBroken(
                "The service failed on this call.", f"The admin finds the cause in its log under {reference}."
            ) from error

    def _call(self, visit: Visit, target: str, method: str, arguments: list[object], named: Plain) -> bytes:
        # Asked at every call: a removed user, a dead token or a new role counts at once.
        caller = self._identify(visit.evidence, visit.token)
        call = self._objects[visit.target].get(method) if target == visit.target else None
        if call is None:
            raise UnknownCall("The service knows no such call.", "Are client and service of the same version?")
        # Strangers could fill the audit log: it has of them only what they may ask.
        if not call.row.changes or (caller.principal is None and call.row.access is not Access.ANYBODY):
            return self._once(call, caller, arguments, named)
        self._wait_to_change(visit, caller)
        result = "internal"
        try:
            answer = self._once(call, caller, arguments, named)
            result = "ok"
        except DopqError as error:
            result = error.code
            raise
        finally:
            self._audit(caller, method, call.by_name(arguments, named), result)
        return answer

    def _wait_to_change(self, visit: Visit, caller: Caller) -> None:
        who = caller.principal
        per_s = CHANGES_PER_S if who else STRANGERS_CHANGES_PER_S
        self._stopping.wait(self._rates.wait_s(f"changes of {who or visit.evidence.source}", per_s))

    def _once(self, call: Served, caller: Caller, arguments: list[object], named: Plain) -> bytes:
        """Run a call, or tell what came of it before, by the key that came with it."""
        _require(call.row.access, caller)
        if "key" not in named or call.has_key:
            return self._run(call, caller, arguments, named)
        key, rest = named["key"], {name: value for name, value in named.items() if name != "key"}
        if not isinstance(key, str) or not 8 <= len(key) <= 100:
            raise UserError("A key is a text of 8 to 100 characters.", "See docs/api.md.")
        who = caller.principal
        if who is None or not call.row.changes:  # nothing that is worth the memory
            return self._run(call, caller, arguments, rest)
        question = [call.name, arguments, rest]
        return self._repeats.once(who, key, question, lambda: self._run(call, caller, arguments, rest))

    def _run(self, call: Served, caller: Caller, arguments: list[object], named: Plain) -> bytes:
        try:
            answer = self._checked[call](caller if call.row.access in _BY_CALLER else caller.user, *arguments, **named)
        except ValidationError as error:
            raise call.mistake(error) from None
        try:
            packed = pack(answer)
        except NotPlain as error:
            raise InvariantBroken(f"The answer of {call.name} {error}") from error
        if len(packed) > MAX_ANSWER_BYTES:
            raise UserError("The answer is too large.", "Ask for less at a time.")
        return packed


_BY_CALLER = frozenset({Access.ANYBODY, Access.PEER})
"""Calls that are told who is at the other end, user or not."""


def _require(access: Access, caller: Caller) -> None:
    if access is Access.ANYBODY:
        return
    if access is Access.PEER:
        if caller.peer is None:
            raise NotAllowed("This is for the lab's other nodes.", "They show a certificate of its CA.")
        return
    if caller.user is None:
        raise NotLoggedIn("This call needs a valid token.", "Log in: dopq-client login.")
    if access is Access.ADMIN and caller.user.role is not Role.ADMIN:
        raise NotAllowed("This is for admins only.", "Ask your admin.")
