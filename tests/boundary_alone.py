"""A boundary in front of a real controller, without the rest of a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dopq.boundary import Boundary
from dopq.boundary.identity import identify_by
from dopq.config import RemoteSettings
from dopq.controller import DopqController
from dopq.uploads import Uploads
from dopq.utils.clock import Clock
from tests.neighbours import lone
from tests.platforms import Home


@dataclass(frozen=True)
class Alone:
    """The boundary that runs, and whose tokens let whom in."""

    address: str
    tokens: dict[str, str]
    home: Home
    boundary: Boundary


@contextmanager
def boundary_alone(
    folder: Path, settings: RemoteSettings | None = None, clock: Clock | None = None, **more: Any
) -> Iterator[Alone]:
    """A boundary that answers, for as long as the body runs; `clock`: else one that stands; `more`: see `Boundary`."""
    home = Home(folder, clock=clock)
    uploads = Uploads(home.paths.uploads, home.paths.spool, 10 * 2**20, lambda _bytes: None)
    controller = DopqController(
        home.platform, home.results, uploads, dict, lone(folder), lambda: None, {}, home.accounts
    )
    given = settings or RemoteSettings(port=0)
    boundary = Boundary(controller, given, identify=identify_by(home.users, home.logins), audit=lambda *_: None, **more)
    boundary.start()
    try:
        yield Alone(boundary.address, {str(name): token for name, token in home.tokens.items()}, home, boundary)
    finally:
        boundary.stop(5.0)
        home.close()
