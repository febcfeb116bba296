"""The heredocs that an instruction announces, as in `RUN <<EOF` and `COPY <<-"a" <<b /dir/`. Pure.

Builders find them by splitting the line like a shell (moby/buildkit, frontend/dockerfile/parser/parser.go,
heredocsFromLine), in ways that changed from version to version. So only what all of them read alike is read here: a
word of its own, `<<NAME`, in a line whose quotes are closed and which has no fancy expansions. A word that begins
otherwise is none, as in `$((1<<3))`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN = re.compile(
    rf"""(?<![^ \t])\d*<<(?P<tabs>-?)(?P<quote>['"]?)(?P<name>{_NAME})(?P=quote)(?![^ \t])
    | (?<![^ \t])[^ \t'"\\<=(]*[=(](?:[^ \t'"\\<]*<<(?![< \t]))+
    | '[^']*' | "(?:\\.|[^"\\])*"
    | (?<!<)<<<(?!<)
    | (?P<unclear> << | ['"\\] )
    | .""",
    re.VERBOSE,
)
_FANCY = re.compile(rf"\$\{{(?!{_NAME}\}})")
_WHY_UNCLEAR = {
    "<<": "'<<' is here neither surely a heredoc nor surely none",
    "\\": "'<<' stands in one line with a backslash outside quotes",
}


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A text that ends with a line that is `name`; `strips_tabs` lets tabs stand before it."""

    name: str
    strips_tabs: bool = False


class UnclearHeredoc(Exception):
    """Builders might see a heredoc in this line or not; the text says why."""


def find_heredocs(line: str) -> list[Heredoc]:
    """The heredocs of an instruction in the order of their texts. Raises `UnclearHeredoc`."""
    if "<<" not in line:
        return []
    if _FANCY.search(line):
        raise UnclearHeredoc("'<<' stands in one line with an expansion such as ${X:-Y}")
    heredocs = []
    for token in _TOKEN.finditer(line):  # only up to the first unclear one: to go on takes time by the line's square
        if unclear := token["unclear"]:
            raise UnclearHeredoc(_WHY_UNCLEAR.get(unclear, "'<<' stands in one line with a quote that is not closed"))
        if token["name"]:
            heredocs.append(Heredoc(token["name"], bool(token["tabs"])))
    return heredocs
