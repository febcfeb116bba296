"""An image with one program that does nothing, for containers that only hold a network namespace open.

The program is a static executable of some 150 bytes, written here: there is nothing in it to attack, to fetch or to
build, and it needs no library. It waits for signals, of which a process with the number 1 gets SIGKILL alone.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile

REFERENCE = "dopq-pause:1"
COMMAND = ("/pause",)

_LOADED_AT = 0x400000
_HEADERS_BYTES = 64 + 56  # an ELF header and one program header (elf(5))

_MACHINES = {
    "x86_64": (62, bytes.fromhex("b822000000 0f05 ebf7")),  # again: mov eax, 34 (pause); syscall; jmp again
    "aarch64": (
        183,
        # again: mov x0..x3, 0; mov x8, 73 (ppoll); svc 0; b again
        struct.pack("<7I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA),
    ),
}


def pause_root() -> io.BytesIO | None:
    """Tar of the image's root file system; None for a machine whose instructions are not known here."""
    program = pause_program(os.uname().machine)
    if program is None:
        return None
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo(COMMAND[0].removeprefix("/"))
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
    stream.seek(0)
    return stream


def pause_program(machine: str) -> bytes | None:
    """The executable for a machine as uname(2) calls it; None where its instructions are not known here."""
    if machine not in _MACHINES:
        return None
    number, code = _MACHINES[machine]
    size, entry = _HEADERS_BYTES + len(code), _LOADED_AT + _HEADERS_BYTES
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little-endian, version 1
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 2, number, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOADED_AT, _LOADED_AT, size, size, 0x10000)  # load, read and execute
    return header + segment + code
