"""The boundary: the only module of the service that knows Pyro5.

It authenticates whoever connects, checks the arguments of each call against the controller's own annotations, calls
exactly the methods that are marked `@remote`, and lets only plain data and our own errors out.
"""

from __future__ import annotations

import inspect
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import Pyro5.api
import Pyro5.callcontext
import Pyro5.errors
import Pyro5.nameserver
import Pyro5.serializers
from pydantic import ConfigDict, ValidationError, validate_call

from dopq.access import Access, calls
from dopq.config import RemoteSettings
from dopq.controller import DopqController
from dopq.errors import (
    DopqError,
    InvariantBroken,
    NotAllowed,
    NotLoggedIn,
    OperatorError,
    ServiceUnreachable,
    UserError,
)
from dopq.users import Role, User, Users
from dopq.utils.log import logger
from dopq.wire import ALIAS, CONTROLLER, ERROR_CLASS, error_to_wire

log = logger(__name__)

IDLE_S = 600.0
"""A connection that says nothing for so long is closed; clients connect anew when they have something to ask."""

MAX_MESSAGE_BYTES = 64 * 2**20

MAX_PROBLEMS = 10
"""How many mistakes of one call are told."""


class Boundary:
    """A guarded object on the network, and the nameserver entry that leads to it."""

    def __init__(self, controller: DopqController, users: Users, settings: RemoteSettings) -> None:
        """Bind the sockets; `start` begins to answer.

        Raises:
            OperatorError: an address or port cannot be had, or the external nameserver does not answer.
        """
        _configure(settings)
        self._stopping = threading.Event()
        with ExitStack() as on_failure:
            self._nameserver = _own_nameserver(settings) if settings.nameserver == "embedded" else None
            if self._nameserver:
                on_failure.callback(self._nameserver.close)
            self._daemon = _own_daemon(settings)
            on_failure.callback(self._daemon.close)
            self.uri = str(self._daemon.register(_face(controller, users, self._stopping), CONTROLLER))
            self.nameserver = self._announce(settings)
            on_failure.pop_all()
        self._threads = [
            threading.Thread(target=daemon.requestLoop, name=name, daemon=True)
            for name, daemon in (("nameserver", self._nameserver), ("boundary", self._daemon))
            if daemon
        ]

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Answer nobody any more; calls that are being served are finished, cut, or told that the node stops."""
        self._stopping.set()
        for daemon in (self._daemon, self._nameserver):
            if daemon:
                daemon.shutdown()
        for thread in self._threads:
            thread.join(timeout_s)

    def _announce(self, settings: RemoteSettings) -> str:
        """Register with the nameserver; its address as `host:port`."""
        if self._nameserver:
            for name in (CONTROLLER, ALIAS):
                self._nameserver.nameserver.register(name, self.uri)
            return str(self._nameserver.locationStr)
        try:
            with Pyro5.api.locate_ns(settings.nameserver_host, settings.nameserver_port) as nameserver:
                for name in (CONTROLLER, ALIAS):
                    nameserver.register(name, self.uri)
        except Pyro5.errors.PyroError as error:
            where = f"{settings.nameserver_host}:{settings.nameserver_port}"
            raise OperatorError(
                f"The external nameserver at {where} does not answer: {error}.",
                'Start it, or set remote.nameserver = "embedded".',
            ) from error
        return f"{settings.nameserver_host}:{settings.nameserver_port}"


class _Daemon(Pyro5.api.Daemon):  # type: ignore[misc] # Pyro5 ships no types
    """A Pyro5 daemon that remembers the token which each connection brought."""

    def validateHandshake(self, conn: Any, data: Any) -> str:  # noqa: N802 - Pyro5's name
        token = data.get("token") if isinstance(data, dict) else None
        conn.dopq_token = token if isinstance(token, str) else None
        return "dopq"


def _configure(settings: RemoteSettings) -> None:
    """Set Pyro5's process-wide switches; nothing of it is taken from the environment."""
    config = Pyro5.config
    config.reset(use_environment=False)
    config.SERIALIZER = "msgpack"
    config.SERVERTYPE = "thread"
    config.THREADPOOL_SIZE = settings.max_connections
    config.COMMTIMEOUT = IDLE_S
    config.POLLTIMEOUT = 0.5
    config.SOCK_NODELAY = True
    config.MAX_MESSAGE_SIZE = MAX_MESSAGE_BYTES
    config.ITER_STREAMING = False
    Pyro5.serializers.SerializerBase.register_class_to_dict(DopqError, _error_to_dict)


def _error_to_dict(error: DopqError) -> dict[str, Any]:
    return {"__class__": ERROR_CLASS, "__exception__": True, **error_to_wire(error)}


def _own_nameserver(settings: RemoteSettings) -> Any:
    try:
        return Pyro5.nameserver.NameServerDaemon(settings.nameserver_host, settings.nameserver_port)
    except OSError as error:
        raise _cannot_listen(
            "nameserver", settings.nameserver_host, settings.nameserver_port, "remote.nameserver_port", error
        ) from error


def _own_daemon(settings: RemoteSettings) -> _Daemon:
    try:
        return _Daemon(host=settings.host, port=settings.port)
    except OSError as error:
        raise _cannot_listen("service", settings.host, settings.port, "remote.port", error) from error


def _cannot_listen(what: str, host: str, port: int, key: str, error: OSError) -> OperatorError:
    return OperatorError(
        f"The {what} cannot listen on {host}:{port}: {error.strerror}.",
        f"Is another node or nameserver running there? Stop it, or choose another {key} in the settings.",
    )


def _face(controller: DopqController, users: Users, stopping: threading.Event) -> Any:
    """The object that Pyro5 serves: the controller's marked methods, each behind its guard, and nothing else."""
    methods = {name: _guarded(method, access, users, stopping) for name, method, access in remote_methods(controller)}
    return type("DopqController", (), methods)()


def remote_methods(controller: DopqController) -> list[tuple[str, Callable[..., Any], Access]]:
    """Every method that may be called from outside, with who may call it."""
    return [(name, getattr(controller, name), call.access) for name, call in calls(type(controller)).items()]


def _guarded(method: Callable[..., Any], access: Access, users: Users, stopping: threading.Event) -> Any:
    checked = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True))(method)

    def call(_face: object, /, *args: Any, **kwargs: Any) -> Any:
        try:
            caller = _caller(users)
            _require(access, caller)
            return checked(caller, *args, **kwargs)
        except ValidationError as error:
            raise _bad_call(method, error) from None
        except Exception as error:
            if stopping.is_set():  # what failed may be a part that has stopped already: the caller asks again later
                raise ServiceUnreachable("The node is stopping.", "Ask again when it is back.") from error
            if isinstance(error, DopqError):
                raise
            reference = secrets.token_hex(4)
            log.exception("call_failed", method=method.__name__, reference=reference)
            raise InvariantBroken(
                "The service failed on this call.", f"The admin finds the cause in its log under {reference}."
            ) from error

    call.__name__ = method.__name__
    call.__doc__ = method.__doc__
    return Pyro5.api.expose(call)


def _caller(users: Users) -> User | None:
    """Whose token came with the connection. Looked up at every call: a removed user or a new role counts at once."""
    token = getattr(Pyro5.callcontext.current_context.client, "dopq_token", None)
    return users.by_token(token) if token else None


def _require(access: Access, caller: User | None) -> None:
    if access is Access.ANYBODY:
        return
    if caller is None:
        raise NotLoggedIn("This call needs a valid token.", "Log in: dopq-client login. An admin gives out tokens.")
    if access is Access.ADMIN and caller.role is not Role.ADMIN:
        raise NotAllowed("This is for admins only.", "Ask your admin.")


def _bad_call(method: Callable[..., Any], error: ValidationError) -> UserError:
    names = list(inspect.signature(method).parameters)
    problems = [
        f"{_place(item['loc'], names)}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    ]
    sentence = f"{method.__name__} was called wrongly: {'; '.join(problems)}."
    return UserError(sentence, "See docs/api.md.", problems=problems)


def _place(location: tuple[int | str, ...], names: list[str]) -> str:
    """A place in the arguments, by name; pydantic counts those that came without one."""
    first, *rest = location
    named = names[first] if isinstance(first, int) and first < len(names) else first
    return ".".join(str(part) for part in (named, *rest))
