"""The Provider's process: it hears the node over its pipe, speaks, and beats, until the node has gone."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection

from dopq.container_handler.docker_engine import DockerEngine
from dopq.handover import FromProvider
from dopq.provider import Provider, ProviderSettings
from dopq.utils import log as logs
from dopq.utils.clock import Clock, SystemClock
from dopq.utils.crash_points import arm

log = logs.logger(__name__)

BEAT_S = 1.0
"""Seconds between two heartbeats, and two looks at whether there is space again."""


def main(settings: ProviderSettings, pipe: Connection) -> None:
    """The life of the process: look, hear, until the node closes the pipe or dies.

    The node's death closes its end of the pipe; the process then ends by itself, with its builds.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the node says when; a Ctrl-C goes to the whole terminal group
        signal.signal(ignored, signal.SIG_IGN)
    logs.setup(settings.log_level.upper(), json_lines=settings.log_json)
    arm(os.environ)
    # A thread of its own: if both ends only wrote, each would wait for the other to read.
    said: queue.SimpleQueue[FromProvider] = queue.SimpleQueue()
    threading.Thread(target=speak, args=(pipe, said), name="speaker", daemon=True).start()
    provider = Provider(settings, DockerEngine(settings.engine_url), said.put, SystemClock())
    log.info("provider_ready", pid=os.getpid())
    try:
        serve(provider, pipe, SystemClock())
    except (EOFError, OSError) as gone:
        log.info("node_gone", cause=type(gone).__name__)
    provider.stop()


def speak(pipe: Connection, said: queue.SimpleQueue[FromProvider]) -> None:
    """Pass on what is said until the node has gone."""
    with contextlib.suppress(OSError):
        while True:
            pipe.send(said.get())


def serve(provider: Provider, pipe: Connection, clock: Clock) -> None:
    """Hear the node and beat. Raises `EOFError` or `OSError` when the node has gone."""
    provider.start()
    next_beat = clock.monotonic()
    while True:
        if pipe.poll(max(0.0, next_beat - clock.monotonic())):
            provider.hear(pipe.recv())
        else:
            provider.beat()
            next_beat = clock.monotonic() + BEAT_S
