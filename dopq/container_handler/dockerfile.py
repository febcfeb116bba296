"""Reading a Dockerfile exactly as its builder will, or saying where that cannot be promised. Pure.

The grammar is that of moby/buildkit, frontend/dockerfile/parser (BuildKit 0.8, that is Docker 20.10, and later; the
classic builder uses the same parser). Where versions differ, or where the text could be read in two ways, there is a
problem instead of a guess: a gate that reads another file than the builder is no gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dopq.container_handler.dockerfile_flags import Flag, UnclearFlags, split_flags
from dopq.container_handler.dockerfile_heredoc import Heredoc, UnclearHeredoc, find_heredocs
from dopq.container_handler.dockerfile_json import json_words
from dopq.container_handler.refusal import shown
from dopq.job import Problem

INSTRUCTIONS = frozenset(
    {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"}
    | {"LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)
_WITH_HEREDOC = frozenset({"ADD", "COPY", "RUN"})

_BOM = b"\xef\xbb\xbf"
_MOST_LINES = 20_000
_LONGEST_LINE = 65_535  # bytes with the line end: bufio.MaxScanTokenSize, at which the builder gives up
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\Z)")
# What Go's unicode.IsSpace takes for a space, some of its uses byte by byte, and its regular expressions do not.
_ODD_SPACE = re.compile(r"[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_DIRECTIVE = re.compile(r"[ \t]*#\s*(syntax|escape)\s*=", re.IGNORECASE)
_ESCAPE = re.compile(r"[ \t]*#[ \t]*escape[ \t]*=[ \t]*([\\`])[ \t]*", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its continuation lines joined.

    Attributes:
        line: number, from 1, of the line on which it begins.
        word: its name in capitals; perhaps none that builders know.
        flags: `--name=value` before the arguments, in order; quotes removed.
        arguments: all that follows, without blanks at either end.
        heredocs: the texts that its lines are followed by.
    """

    line: int
    word: str
    flags: tuple[Flag, ...]
    arguments: str
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What was read; while there are problems the instructions may be incomplete."""

    instructions: tuple[Instruction, ...]
    problems: tuple[Problem, ...]


def where(line: int) -> str:
    """How a line of the Dockerfile is named in a problem."""
    return f"Dockerfile:{line}"


def read_dockerfile(content: bytes, *, heredocs: bool = True) -> Dockerfile:
    """The instructions of a Dockerfile and everything that keeps it from being read for certain.

    Args:
        heredocs: read as builders do that know heredocs (BuildKit from Docker 23.0 on); else as older ones.
    """
    raw = content.removeprefix(_BOM).split(b"\n")
    if len(raw) > _MOST_LINES:
        what = f"it has {len(raw)} lines, {_MOST_LINES} are allowed"
        return Dockerfile((), (Problem("Dockerfile", what, "Put long scripts into files and COPY them."),))
    if problems := [problem for number, line in enumerate(raw, 1) if (problem := _unreadable(number, line))]:
        return Dockerfile((), tuple(problems))
    lines = [line.decode().removesuffix("\r") for line in raw]
    problems = list(_directive_problems(lines))
    escape = match[1] if (match := _ESCAPE.fullmatch(lines[0])) else "\\"
    read = list(_Reader(lines, escape, heredocs=heredocs).entries())
    instructions = tuple(entry for entry in read if isinstance(entry, Instruction))
    problems += [entry for entry in read if isinstance(entry, Problem)]
    if not instructions and not problems:
        problems.append(Problem("Dockerfile", "there is no instruction in it", "Begin it with FROM and a base image."))
    return Dockerfile(instructions, tuple(problems))


def _unreadable(number: int, line: bytes) -> Problem | None:
    if len(line) >= _LONGEST_LINE:
        what = f"the line has {len(line)} bytes, builders take less than {_LONGEST_LINE}"
        return Problem(where(number), what, "Break it up.")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return Problem(where(number), f"byte {error.start + 1} of the line is no UTF-8", "Save the file as UTF-8 text.")
    if found := _CONTROL.search(text):
        return Problem(where(number), f"it holds the control character {found[0]!r}", "Write plain text.")
    return None


def _directive_problems(lines: Sequence[str]) -> Iterator[Problem]:
    """Comments before the first instruction that some builder may take for a directive.

    Stricter than any builder, since they differ in which other comments, directives and `#!` lines may stand before.
    """
    for number, line in enumerate(lines, 1):
        if line.strip(" \t") and not line.lstrip(" \t").startswith("#"):
            return
        directive = _DIRECTIVE.match(line)
        if directive and directive[1].lower() == "syntax":
            what = "'# syntax=' would have another program read this file"
            yield Problem(where(number), what, "Delete the line: the engine's own builder is used.")
        elif directive and not (number == 1 and _ESCAPE.fullmatch(line)):
            what = "'# escape=' counts in one form only, and not every builder reads it here"
            yield Problem(where(number), what, "Write '# escape=`' or '# escape=\\' as the very first line.")


class _Reader:
    """Goes through the lines once, from one instruction to the next."""

    def __init__(self, lines: Sequence[str], escape: str, *, heredocs: bool) -> None:
        self._lines = lines
        self._at = 0
        self._knows_heredocs = heredocs
        mark = re.escape(escape)
        self._continues = re.compile(rf"(?:^|(?<=[^{mark}])){mark}[ \t]*\Z")

    def entries(self) -> Iterator[Instruction | Problem]:
        """Instructions and problems in the order of the file."""
        while self._at < len(self._lines):
            begin, joined = self._at + 1, self._joined()
            if joined is None:
                continue
            if _ODD_SPACE.search(joined):
                what = "it holds a space that is none on the keyboard, which builders treat in several ways"
                yield Problem(where(begin), what, "Retype the line's spaces.")
            yield from self._entry(begin, joined.strip(" \t"))

    def _joined(self) -> str | None:
        """The next instruction's lines as one; None for a blank line or a comment."""
        joined, goes_on = self._part(self._next().lstrip(" \t"))
        if _is_comment(joined) or not (joined or goes_on):
            return None
        while goes_on and self._at < len(self._lines):
            line = self._next()
            if line.strip(" \t") and not _is_comment(line):
                part, goes_on = self._part(line)
                joined += part
        return joined

    def _part(self, line: str) -> tuple[str, bool]:
        found = None if _is_comment(line) else self._continues.search(line)
        return (line[: found.start()], True) if found else (line, False)

    def _next(self) -> str:
        self._at += 1
        return self._lines[self._at - 1]

    def _entry(self, begin: int, joined: str) -> Iterator[Instruction | Problem]:
        word, rest = (*_BLANKS.split(joined, maxsplit=1), "")[:2]
        name = word.upper() if word.isascii() else word
        flags, arguments, heredocs = tuple[Flag, ...](), rest, list[Heredoc]()
        try:
            flags, arguments = split_flags(rest)
            if self._knows_heredocs and name in _WITH_HEREDOC:
                heredocs = _heredocs(joined, arguments)
        except UnclearFlags as unclear:
            yield Problem(where(begin), str(unclear), "Write flags as --name=value, without escapes.")
        except UnclearHeredoc as unclear:
            instead = "Write a heredoc as <<EOF between blanks; put any other '<<' into quotes or a script file."
            yield Problem(where(begin), str(unclear), instead)
        yield Instruction(begin, name, flags, arguments, tuple(heredocs))
        for heredoc in heredocs:
            if not self._skip(heredoc):
                what = f"the heredoc {shown(heredoc.name)} has no end"
                yield Problem(where(begin), what, f"Write {heredoc.name} alone on the line after its text.")

    def _skip(self, heredoc: Heredoc) -> bool:
        """Go behind the end of a heredoc; whether it has one."""
        while self._at < len(self._lines):
            line = self._next()
            if (line.lstrip("\t") if heredoc.strips_tabs else line) == heredoc.name:
                return True
        return False


def _heredocs(joined: str, arguments: str) -> list[Heredoc]:
    if arguments.startswith("["):
        if "<<" in joined and json_words(arguments) is None:
            raise UnclearHeredoc("'<<' follows something that is half a JSON list")
        return []
    return find_heredocs(joined)


def _is_comment(line: str) -> bool:
    return line.lstrip(" \t").startswith("#")
