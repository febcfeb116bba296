"""Where a Debian or Ubuntu machine gets its packages from: read from its own files, no I/O.

The formats are those of sources.list(5) (one line, and deb822 paragraphs) and os-release(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

FETCHABLE = ("http://", "https://", "file:", "ftp://")  # what debootstrap(8) can read from; apt knows more


@dataclass(frozen=True, slots=True)
class AptSource:
    """One repository of binary packages.

    Attributes:
        keyring: the file whose keys sign it; None for those that apt trusts for every repository.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: str | None = None


def parse_os_release(text: str) -> dict[str, str]:
    """The fields of /etc/os-release, unquoted."""
    fields = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            fields[key] = value.strip().strip("\"'")
    return fields


def codename(os_release: Mapping[str, str]) -> str | None:
    """The suite that the machine runs, for example `bookworm`; None where it is not Debian, Ubuntu or kin of theirs."""
    family = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    if not family & {"debian", "ubuntu"}:
        return None
    names = (os_release.get(key) for key in ("UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME"))
    return next(filter(None, names), None)


def parse_list(text: str) -> Iterator[AptSource]:
    """The repositories of a `*.list` file; lines that are comments, `deb-src` or not understood are passed over."""
    for line in text.splitlines():
        entry = re.fullmatch(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<words>.*)", line.partition("#")[0].strip())
        if entry is None or len(words := entry["words"].split()) < 2:
            continue
        options = dict(option.partition("=")[::2] for option in (entry["options"] or "").split())
        yield AptSource(words[0], words[1], tuple(words[2:]), _file(options.get("signed-by", "")))


def parse_deb822(text: str) -> Iterator[AptSource]:
    """The repositories of a `*.sources` file; paragraphs that are disabled or for sources only are passed over."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {
            field["key"].lower(): field["value"].strip()
            for field in re.finditer(r"^(?P<key>[\w-]+):(?P<value>.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                yield AptSource(uri, suite, components, _file(fields.get("signed-by", "")))


def main_source(sources: Iterable[AptSource], suite: str) -> AptSource | None:
    """The first repository that has the suite's own packages and that debootstrap can read; None without one.

    Its components may be spread over several entries, as Ubuntu does with `main` and `universe`.
    """
    readable = [source for source in sources if source.suite == suite and source.uri.startswith(FETCHABLE)]
    chosen = next((source for source in readable if "main" in source.components), None)
    if chosen is None:
        return None
    components = (part for source in readable if source.uri == chosen.uri for part in source.components)
    return replace(chosen, components=tuple(dict.fromkeys(components)))


def _file(signed_by: str) -> str | None:
    """`Signed-By` may also hold the key itself or its fingerprint; only a file serves debootstrap."""
    return signed_by if signed_by.startswith("/") and len(signed_by.split()) == 1 else None
