"""Why something that was heard of a node is not believed, or not kept."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """The reasons, as they are counted and logged."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    BAD_ADDRESS = "bad_address"
    OTHER_NETWORK = "other_network"
    OTHER_PORT = "other_port"
    HOSTILE_TEXT = "hostile_text"
    FROM_THE_FUTURE = "from_the_future"
    FORGED = "forged"
    OLD = "old"
    BURIED = "buried"
    TABLE_FULL = "table_full"
    TOO_MANY = "too_many"
    NOT_ITS_CERTIFICATE = "not_its_certificate"


class Refused(ValueError):
    """What was heard is not taken."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.detail = detail
