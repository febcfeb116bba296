"""Tar files byte by byte, so that every field can lie (POSIX.1-2017, pax; GNU tar's manual, "Basic Tar Format")."""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
FILE, HARD_LINK, LINK, CHARACTER, DISK, FOLDER, PIPE = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def member(name: str | bytes, data: bytes = b"x", kind: bytes = FILE, **fields: bytes | int) -> bytes:
    """Header and padded content; `fields` replace what the header says (see `header`)."""
    return header(name, kind, **({"size": len(data)} | fields)) + data + bytes(-len(data) % BLOCK)


def header(
    name: str | bytes,
    kind: bytes = FILE,
    *,
    size: bytes | int = 0,
    link: bytes = b"",
    mode: bytes = b"0000644\0",
    magic: bytes = b"ustar\00000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """One block. A `size` of bytes is written as it is; `tail` goes where POSIX has nothing (byte 500 on)."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    number = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    for at, value in (
        (0, raw[:100]), (100, mode), (108, b"0000000\0"), (116, b"0000000\0"), (124, number), (136, b"00000000000\0"),
        (148, b" " * 8), (156, kind), (157, link), (257, magic), (345, prefix), (500, tail),
    ):  # fmt: skip
        block[at : at + len(value)] = value
    block[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: dict[str, bytes], kind: bytes = b"x") -> bytes:
    """An extended header for the next member, or with kind `g` for all."""
    return member("pax", b"".join(pax_record(key, value) for key, value in records.items()), kind)


def pax_record(key: str, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE` and a new line; the length counts its own digits."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU: the next member's name; with kind `K` where its link leads."""
    return member("././@LongLink", name + b"\0", kind, magic=b"ustar  \0")


def base_256(number: int) -> bytes:
    """GNU: a number too large for octal digits, or negative."""
    return (b"\xff" if number < 0 else b"\x80") + (number % 2**88).to_bytes(11, "big")


def tar_bytes(*members: bytes, end: bytes = END) -> bytes:
    """A whole tar file."""
    return b"".join(members) + end
