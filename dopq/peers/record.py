"""What a node says of itself, signed by it: made, read and compared.

A record's body is JSON in one canonical form, and what is signed, kept and passed on are these very bytes: so nobody
who passes a record on can change it, and two nodes that hold the same version hold the same bytes. Floats have many
spellings and are not in it. Fields that this version does not know are passed on with the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dopq.clean import clean
from dopq.config import NODE_NAME
from dopq.peers.node_key import SIGNATURE_BYTES, NodeId, NodeKey, id_of, is_signed
from dopq.peers.refusal import Refused, Why

MOST_BYTES = 8 * 1024
"""What a record may be large, its signature not counted."""

MOST_ADDRESSES, MOST_GPUS = 8, 32
MOST_METADATA = 32
"""How many keys a node's metadata may have."""

Text = Annotated[str, Field(max_length=128)]
MetadataKey = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_.-]{0,30}[a-z0-9])?$")]
Metadata = Annotated[dict[MetadataKey, Text], Field(max_length=MOST_METADATA)]
Number = Annotated[int, Field(ge=0, le=2**53)]
"""What every JSON reader takes for the same number (RFC 8259, 6)."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class GpuSpecs(_Part):
    """One GPU, as its node tells of it: MiB, per cent, degrees Celsius, MHz; None: not known."""

    model: Text | None = None
    memory_mib: Number | None = None
    memory_used_mib: Number | None = None
    utilisation_percent: Number | None = None
    temperature_c: Number | None = None
    sm_clock_mhz: Number | None = None
    memory_clock_mhz: Number | None = None
    fan_percent: Number | None = None
    free: bool | None = None


class Specs(_Part):
    """A node's machine and queue; None: not known."""

    hostname: Text | None = None
    platform: Text | None = None
    cpu_model: Text | None = None
    cpus: Number | None = None
    memory_mib: Number | None = None
    disk_mib: Number | None = None
    disk_free_mib: Number | None = None
    driver: Text | None = None
    gpus: Annotated[list[GpuSpecs], Field(max_length=MOST_GPUS)] = []
    free_gpus: Number | None = None
    queue_length: Number | None = None
    expected_wait_s: Number | None = None


class Facts(_Part):
    """What a body says.

    Attributes:
        key: the node's public key, in hex.
        certificate: fingerprint of the certificate with which the node proves its name.
        incarnation: rises with each life of the node.
        sequence: rises with each record of one life.
        issued_at: when the record was signed, seconds since 1970 by the node's own clock.
    """

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    name: Annotated[str, Field(max_length=63, pattern=rf"^{NODE_NAME}$")]
    version: Annotated[str, Field(max_length=40, pattern=r"^[0-9A-Za-z.+-]+$")]
    addresses: Annotated[list[Annotated[str, Field(max_length=45)]], Field(max_length=MOST_ADDRESSES)]
    port: Annotated[int, Field(ge=1, le=65535)]
    certificate: Annotated[str, Field(pattern=r"^([0-9A-F]{2}(:[0-9A-F]{2}){31})?$")]
    incarnation: Number
    sequence: Number
    issued_at: Number
    metadata: Metadata = {}
    specs: Specs = Specs()


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node's record: what it says (`facts`), the bytes that it signed, and their SHA-256 (`check`)."""

    node_id: NodeId
    facts: Facts
    body: bytes
    signature: bytes
    check: bytes

    @property
    def age(self) -> tuple[int, int, bytes, bytes]:
        """By what records of one node are ordered, the newest last.

        Incarnation and sequence; the rest only decides between two that a node should never have signed.
        """
        return self.facts.incarnation, self.facts.sequence, self.check, self.signature

    @property
    def version(self) -> tuple[int, int]:
        """Incarnation and sequence."""
        return self.facts.incarnation, self.facts.sequence


def signed(facts: Facts, key: NodeKey) -> NodeRecord:
    """A record of the node that has that key.

    Raises:
        Refused: it would be too large.
    """
    body = canonical(facts.model_dump(mode="json") | {"key": key.public.hex()})
    if len(body) > MOST_BYTES:
        raise Refused(Why.TOO_LARGE, f"{len(body)} bytes")
    return NodeRecord(key.node_id, facts, body, key.sign(body), hashlib.sha256(body).digest())


def read(body: bytes, signature: bytes) -> NodeRecord:
    """A record from its bytes; who signed it is for `is_genuine` to say, which takes longer.

    Raises:
        Refused: it is no record in its canonical form, or holds what no node of ours says.
    """
    if len(body) > MOST_BYTES or len(signature) != SIGNATURE_BYTES:
        raise Refused(Why.TOO_LARGE, f"{len(body)} bytes, signature of {len(signature)}")
    try:
        content = json.loads(body, parse_float=_no_float, parse_constant=_no_float)
        if canonical(content) != body:
            raise Refused(Why.MALFORMED, "it is not in its canonical form")
        facts = Facts.model_validate(content)
    except ValidationError as error:
        raise Refused(Why.MALFORMED, _first(error)) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(Why.MALFORMED, type(error).__name__) from None
    if not all(clean(text) == text for text in _texts(content)):
        raise Refused(Why.HOSTILE_TEXT, "a text in it does more than show itself")
    return NodeRecord(id_of(bytes.fromhex(facts.key)), facts, body, signature, hashlib.sha256(body).digest())


def is_genuine(record: NodeRecord) -> bool:
    """Whether the node itself signed it."""
    return is_signed(bytes.fromhex(record.facts.key), record.body, record.signature)


def canonical(content: Mapping[str, Any]) -> bytes:
    """The one form of a body: keys in order, no blanks, ASCII alone."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        return [text for part in (*content, *content.values()) for text in _texts(part)]
    return [text for part in content for text in _texts(part)] if isinstance(content, list) else []


def _no_float(_text: str) -> None:
    raise ValueError("a number with a point")


def _first(error: ValidationError) -> str:
    item = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, item['loc']))[:60]}: {item['msg']}"
