"""Takes connections and gives each a thread. It never reads from one, so nobody can keep it waiting."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence

from dopq.boundary.connection import Connection
from dopq.boundary.doors import Door
from dopq.boundary.guard import Guard
from dopq.boundary.places import Places
from dopq.boundary.rates import Rates
from dopq.errors import SlowDown
from dopq.protocol.stream import Stream
from dopq.utils.log import logger

log = logger(__name__)

SPARE_THREADS = 64
"""Connections that were cut may still hold a thread for a moment; more than so many of these, and newcomers wait."""

NEWCOMERS_PER_S = 200.0
"""Of one address. Those that are too many are hung up on at once: a thread each would be the attack's whole effect."""

AT_ONCE = 64
"""How many connections are taken before another door is looked at."""

BREATH_S = 0.05
"""Between tries where the process has no descriptor or thread left."""


class Listener(threading.Thread):
    """The thread that takes connections at some doors, until `stop`."""

    def __init__(self, doors: Sequence[Door], guard: Guard, places: Places, most: int) -> None:
        super().__init__(name="listener", daemon=True)
        self._doors = doors
        self._guard = guard
        self._places = places
        self._most_threads = most + SPARE_THREADS
        self._newcomers = Rates(time.monotonic)
        self._connections: dict[Connection, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        """Take connections."""
        with selectors.DefaultSelector() as selector:
            for door in self._doors:
                door.listening.setblocking(False)
                selector.register(door.listening, selectors.EVENT_READ, door)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select():
                    if key.data is not None:
                        self._take_some(key.data)

    def stop(self, timeout_s: float) -> None:
        """Take no more connections; answer what is being answered, within the time, and end all."""
        self._stopping = True
        if self.is_alive():  # it may not have been started
            os.write(self._wake_write, b"\0")
            self.join()
        for door in self._doors:
            door.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.finish()
        until = time.monotonic() + timeout_s
        for connection, thread in connections.items():
            thread.join(max(0.0, until - time.monotonic()))
            connection.cut()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _take_some(self, door: Door) -> None:
        for _ in range(AT_ONCE):
            if self._stopping or not self._take(door):
                return

    def _take(self, door: Door) -> bool:
        """Take one connection; whether there may be another one."""
        try:
            connected, _ = door.listening.accept()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # it has gone again
        except OSError as error:
            log.warning("cannot_take_connections", cause=error.strerror)
            time.sleep(BREATH_S)
            return False
        try:
            self._begin(door, connected)
        except (OSError, RuntimeError, SlowDown) as error:  # it has gone again; there is no thread to be had
            log.debug("connection_refused", cause=str(error))
            connected.close()
        return True

    def _begin(self, door: Door, connected: socket.socket) -> None:
        evidence = door.first_look(connected)
        self._newcomers.wait_s(evidence.source, NEWCOMERS_PER_S)  # raises for those that are too many; nobody waits
        connection = Connection(Stream(connected), evidence, door, self._guard, self._places)
        with self._lock:
            crowded = len(self._connections) >= self._most_threads
        if crowded:
            log.debug("connection_refused", source=evidence.source, cause="too many connections")
            connected.close()
            return
        self._places.take(connection, evidence.source)
        thread = threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            self._end(connection)
            raise

    def _serve(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._places.leave(connection)
        with self._lock:
            self._connections.pop(connection, None)
