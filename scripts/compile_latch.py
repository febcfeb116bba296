"""Compile dopq/container_handler/latch.c to the bytes that latch_program.py holds; prints them as it has them.

    python scripts/compile_latch.py

Needs gcc and gcc-aarch64-linux-gnu (Debian's packages); other versions of them may give other bytes of the same effect.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "dopq/container_handler/latch.c"

TOOLS = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}
FOR_MACHINE = {
    "x86_64": ("-fcf-protection=none", "-mno-red-zone"),
    "aarch64": ("-mcmodel=tiny", "-mgeneral-regs-only", "-mstrict-align"),
}
OPTIONS = (
    *(
        "-Os",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-ffreestanding",
        "-nostdlib",
        "-static",
        "-fno-pic",
        "-no-pie",
    ),
    *(
        "-fno-stack-protector",
        "-fno-asynchronous-unwind-tables",
        "-fno-jump-tables",
        "-fno-tree-loop-distribute-patterns",
    ),
    "-Wl,--build-id=none",
)
LAYOUT = """
ENTRY(_start)
SECTIONS {
  . = 0x400078;
  .all : { *(.text.first) *(.text*) *(.rodata*) }
  /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) }
}
"""
"""Where `executable` has the kernel load it; no variables."""


def compiled(machine: str) -> bytes:
    """The code for a machine.

    Raises:
        OSError: its compiler is not here.
        CalledProcessError: it refused.
    """
    with tempfile.TemporaryDirectory(prefix="dopq-latch-") as folder:
        layout, linked, code = (Path(folder, name) for name in ("layout.ld", "linked", "code"))
        layout.write_text(LAYOUT, encoding="ascii")
        gcc, objcopy = f"{TOOLS[machine]}gcc", f"{TOOLS[machine]}objcopy"
        _run(gcc, *FOR_MACHINE[machine], *OPTIONS, f"-Wl,-T,{layout}", "-o", linked, SOURCE)
        _run(objcopy, "--output-target=binary", "--only-section=.all", linked, code)
        return code.read_bytes()


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def main() -> int:
    """Print each machine's code in lines that fit."""
    for machine in TOOLS:
        digits = compiled(machine).hex()
        lines = [digits[at : at + 104] for at in range(0, len(digits), 104)]
        print(f'    "{machine}": bytes.fromhex(', *(f'        "{line}"' for line in lines), "    ),", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
