"""Static executables of a few hundred bytes, written here: nothing in them to attack, to fetch or to build."""

from __future__ import annotations

import struct

HEADERS_BYTES = 64 + 56
"""An ELF header and one program header (elf(5))."""

LOADED_AT = 0x400000

_NUMBERS = {"x86_64": 62, "aarch64": 183}


def executable(machine: str, code: bytes) -> bytes:
    """The file that runs `code` from its first byte on, on a machine as uname(2) calls it.

    The code lies at `LOADED_AT + HEADERS_BYTES`, where it can be read and run, and nothing can be written.

    Raises:
        KeyError: it is neither x86_64 nor aarch64.
    """
    size, entry = HEADERS_BYTES + len(code), LOADED_AT + HEADERS_BYTES
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little-endian, version 1
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 2, _NUMBERS[machine], 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, LOADED_AT, LOADED_AT, size, size, 0x10000)  # load, read and execute
    return header + segment + code
