"""The entries of a tar file, one after the other, each with all that its headers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dopq.container_handler.file_part import Part
from dopq.container_handler.tar_header import (
    BLOCK,
    EXTENSIONS,
    LINKS,
    LONG_LINK,
    LONG_NAME,
    MOST_EXTENSION_BYTES,
    PAX_FOR_ALL,
    SPARSE,
    SPECIAL,
    Header,
    Malformed,
    parse_decimal,
    parse_header,
    parse_pax,
    sparse_map_goes_on,
)

END_BYTES = 2 * BLOCK
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; what it claims is unchecked.

    Attributes:
        kind: type flag of its header.
        link: where a link leads to.
        at: offset of its content.
        is_sparse: the file has holes, so that it unpacks to more bytes than it takes.
    """

    kind: bytes
    name: str
    link: str
    size: int
    mode: int
    at: int
    is_sparse: bool

    @property
    def end(self) -> int:
        """Offset of the first byte behind its content: links, devices and FIFOs have none, whatever they claim."""
        return self.at if self.kind in LINKS | SPECIAL else self.at + self.size


def entries_of(tar: Part) -> Iterator[Entry]:
    """Every entry, in the order of the file, which then has nothing but zeros left.

    Raises:
        Malformed: the headers are damaged, or bytes follow the end; the text says how.
        EOFError: the file ends before its end blocks.
    """
    at = tar.start
    extensions: dict[str, bytes] = {}
    while (block := tar.exactly(BLOCK, at)).strip(b"\0"):
        header = parse_header(block)
        at += BLOCK
        if header.kind in EXTENSIONS:
            extensions |= _extension(header, tar.exactly(_checked_length(header.size), at))
            at += _filled_up(header.size)
            continue
        if header.kind == SPARSE:
            at += _sparse_map_bytes(tar, block, at)
        entry = _entry(header, extensions, at)
        extensions = {}
        if entry.end > tar.end:
            raise EOFError
        yield entry
        at += _filled_up(entry.end - at)
    if extensions:
        raise Malformed("a header announces an entry that is not there")
    _check_end(tar, at + BLOCK)


def _check_end(tar: Part, at: int) -> None:
    """After the first block of zeros a second one, and then zeros only: tar fills files up to its record size."""
    if tar.exactly(BLOCK, at).strip(b"\0"):
        raise Malformed("there are foreign bytes after the end of the tar file")
    for piece_at in range(at, tar.end, _PIECE):
        if tar.exactly(min(_PIECE, tar.end - piece_at), piece_at).strip(b"\0"):
            raise Malformed("there are foreign bytes after the end of the tar file")
    if tar.size % BLOCK:
        raise EOFError  # a tar file has whole blocks only, and a copy that lacks its last bytes is no copy


def _filled_up(size: int) -> int:
    """Content is filled up to whole blocks."""
    return size + -size % BLOCK


def _sparse_map_bytes(tar: Part, header: bytes, at: int) -> int:
    blocks, goes_on = 0, sparse_map_goes_on(header, is_header=True)
    while goes_on:
        goes_on = sparse_map_goes_on(tar.exactly(BLOCK, at + blocks * BLOCK), is_header=False)
        blocks += 1
    return blocks * BLOCK


def _checked_length(size: int) -> int:
    if size > MOST_EXTENSION_BYTES:
        raise Malformed(f"a header has {size} bytes, {MOST_EXTENSION_BYTES} are allowed")
    return size


def _extension(header: Header, content: bytes) -> Mapping[str, bytes]:
    """What a header says about the entry that follows it, by pax key."""
    if header.kind in {LONG_NAME, LONG_LINK}:
        return {"path" if header.kind == LONG_NAME else "linkpath": content.removesuffix(b"\0")}
    records = parse_pax(content)
    if header.kind == PAX_FOR_ALL:
        if forged := {"path", "size", "linkpath"} & records.keys():
            raise Malformed(f"a pax header gives all entries the same {min(forged)}")
        return {}
    return records


def _entry(header: Header, extensions: Mapping[str, bytes], at: int) -> Entry:
    return Entry(
        kind=header.kind,
        name=_text(extensions.get("path", header.name)),
        link=_text(extensions.get("linkpath", header.link)),
        size=parse_decimal(extensions["size"]) if "size" in extensions else header.size,
        mode=header.mode,
        at=at,
        is_sparse=header.kind == SPARSE or any(key.startswith("GNU.sparse.") for key in extensions),
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
