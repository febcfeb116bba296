"""What a node knows of others, on its disk, so that it finds them again after a restart.

It is worth no more than what others would tell: a damaged file is passed over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dopq.errors import OperatorError
from dopq.peers.liveness import Contact, Tombstone
from dopq.peers.neighbourhood import Known
from dopq.peers.node_key import NodeId
from dopq.peers.record import is_genuine, read
from dopq.peers.table import table_of
from dopq.utils.files import write_atomic
from dopq.utils.log import logger

log = logger(__name__)


def save(path: Path, known: Known) -> None:
    """Write all of it, or leave the file as it was. Raises `OperatorError`."""
    content = {
        "records": [[record.body.decode(), record.signature.hex()] for record in known.table.values()],
        "contacts": {node: [it.heard_at, it.failed_at, it.vouched] for node, it in known.contacts.items()},
        "tombstones": {node: [*stone.version, stone.since] for node, stone in known.tombstones.items()},
    }
    try:
        write_atomic(path, json.dumps(content), 0o600)
    except OSError as error:
        raise OperatorError(f"The node table {path} cannot be written: {error.strerror}.") from error


def load(path: Path) -> Known:
    """What was saved; nothing where there is no file, or a damaged one."""
    try:
        return _known(json.loads(path.read_bytes()))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # Refused is a ValueError
        log.warning("node_table_unreadable", file=path, cause=str(error))
    return Known({})


def _known(content: dict[str, Any]) -> Known:
    records = [read(body.encode(), bytes.fromhex(signature)) for body, signature in content["records"]]
    if not all(map(is_genuine, records)):
        raise ValueError("a record in it is not genuine")
    return Known(
        table_of(records),
        {NodeId(node): Contact(*it) for node, it in content["contacts"].items()},
        {NodeId(node): Tombstone((inc, seq), at) for node, (inc, seq, at) in content["tombstones"].items()},
    )
