"""An image with one program that does nothing, for containers that only hold a network namespace open.

The program has some 150 bytes. It waits for signals, of which a process with the number 1 gets SIGKILL alone.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile

from dopq.container_handler.executable import executable

REFERENCE = "dopq-pause:1"
COMMAND = ("/pause",)

_CODE = {
    "x86_64": bytes.fromhex("b822000000 0f05 ebf7"),  # again: mov eax, 34 (pause); syscall; jmp again
    # again: mov x0..x3, 0; mov x8, 73 (ppoll); svc 0; b again
    "aarch64": struct.pack("<7I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA),
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
    return executable(machine, _CODE[machine]) if machine in _CODE else None
