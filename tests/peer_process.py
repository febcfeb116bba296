"""The peers of a node in a process of its own: real boundary, real TLS, real threads, without engine and queue.

    python -m tests.peer_process FOLDER   # with FOLDER/config.toml and certificates in its state folder

Answers each line on stdin with a line of JSON on stdout: `nodes` tells all that is known, `say KEY VALUE` sets metadata,
`refresh HOPS` walks, `trust FINGERPRINT` trusts, `speed NODE` measures.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dopq.boundary import Boundary
from dopq.boundary.doors import Tls
from dopq.caller import Caller
from dopq.certificate_folder import own
from dopq.config import load, node_name
from dopq.controller.peers import PeerDesk
from dopq.errors import DopqError
from dopq.peers.choices import ChoicesFile
from dopq.peers.link import TlsPeerLink
from dopq.peers.live import LivePeers, Self
from dopq.peers.record import Specs
from dopq.tls import peer_certificate, peer_context, peer_name, server_context
from dopq.utils import log


class Nobody:
    """What users would call."""


def main(folder: Path) -> None:
    log.setup("INFO", json_lines=False)
    settings, paths = load(folder / "config.toml")
    paths.make()
    remote = settings.remote
    certificate = own(paths, datetime.now(UTC)).fingerprint
    live = LivePeers(
        Self(node_name(settings.node), certificate, remote.host, remote.port, lambda: remote.host, Specs),
        settings.peers,
        paths,
        TlsPeerLink(peer_context(paths), peer_name, peer_certificate),
        time.time,
    )
    boundary = Boundary(
        Nobody(),  # type: ignore[arg-type] # no method of it is marked
        remote,
        identify=lambda it, _token: Caller(None, it.address, it.peer, None, it.host, it.certificate),
        audit=lambda *_: None,
        tls=Tls(server_context(paths), peer_name),
        peers=PeerDesk(live.peers),
    )
    live.begin_life(1)
    boundary.start()
    live.start()
    tell({"node_id": live.peers.neighbourhood.me})
    choices = ChoicesFile(paths.peers / "choices.json")
    for line in sys.stdin:
        try:
            answer: Any = answered(live, choices, *line.split())
        except DopqError as error:
            answer = {"error": error.code, "message": error.message}
        tell(answer)
    live.stop(5.0)
    boundary.stop(5.0)


def tell(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def answered(live: LivePeers, choices: ChoicesFile, verb: str, *words: str) -> Any:
    match verb, *words:
        case ("nodes",):
            return live.peers.to_wire()
        case "say", key, value:
            choices.change(lambda it: it.model_copy(update={"metadata": {**it.metadata, key: value}}))
            live.wake()
        case "trust", fingerprint:
            choices.change(lambda it: it.model_copy(update={"trusted": {**it.trusted, fingerprint: "a peer"}}))
        case "refresh", hops:
            return live.peers.refresh(int(hops))
        case "speed", node:
            live.peers.begin_speed_test(node)
        case ("threads",):
            return threading.active_count()
    return {}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
