"""Trying out, before there is a bundle, whether the process that checks bundles can be confined on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from dopq.container_handler.gate import Gate
from dopq.container_handler.rules import Rules
from dopq.errors import DopqError

_NETWORK_KEPT = (
    "The process that checks bundles could not leave the network, which takes the capability CAP_SYS_ADMIN. "
    "A bundle that took it over could reach what this machine reaches."
)
_NETWORK_KEPT_FIX = (
    "In a container, start that with --cap-add SYS_ADMIN; under systemd, do not take it away in CapabilityBoundingSet."
)
_START_FIX = "Look whether this machine is out of memory, of processes or of space in its folder for temporary files."


@dataclass(frozen=True, slots=True)
class GateTrouble:
    """What is wrong with the gate and what to do; `closed`: so wrong that it lets no bundle through."""

    found: str
    fix: str
    closed: bool


def try_gate(gate: Gate, rules: Rules) -> GateTrouble | None:
    """Confine a process as for a bundle; None where nothing is wrong."""
    try:
        confined = gate.try_out(rules)
    except DopqError as error:
        return GateTrouble(error.message, error.hint or "No bundle can be checked until this is mended.", closed=True)
    except OSError as error:
        return GateTrouble(f"The process that checks bundles cannot be started: {error}.", _START_FIX, closed=True)
    return GateTrouble(_NETWORK_KEPT, _NETWORK_KEPT_FIX, closed=False) if confined.has_network else None
