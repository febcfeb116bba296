"""Names of images, as Docker resolves them. Pure.

Grammar and defaults: github.com/distribution/reference, normalize.go (ParseNormalizedNamed).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

_HUB = "docker.io"
_HUB_ALIASES = frozenset({_HUB, "index.docker.io"})
_LONGEST = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})))?"
)
_ID = re.compile(r"[0-9a-f]+|sha(256|384|512):.*")


@dataclass(frozen=True, slots=True)
class ImageName:
    """A full name: `docker.io/library/python:3.11` for `python:3.11`.

    Attributes:
        registry: host, with its port where one is given.
        version: `:tag`, or `@digest` where there is one, since that alone counts then.
    """

    registry: str
    path: str
    version: str

    @property
    def familiar(self) -> str:
        """As people write it, without the version."""
        return self.path.removeprefix("library/") if self.registry == _HUB else f"{self.registry}/{self.path}"

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether one of `patterns` covers it; `*` stands for anything, a pattern without a tag for every version."""
        names = (self.familiar, f"{self.registry}/{self.path}")
        spellings = [spelling for name in names for spelling in (name, name + self.version)]
        return any(fnmatchcase(spelling, pattern) for pattern in patterns for spelling in spellings)


@dataclass(frozen=True, slots=True, order=True)
class BaseImage:
    """An image that a build takes from; `platform` is what `--platform` asks for, empty for the engine's own."""

    reference: str
    platform: str = ""


def may_be_an_id(reference: str) -> bool:
    """Whether an engine could take it for the id of an image, or for its beginning, of any length."""
    return _ID.fullmatch(reference) is not None


def parse_image_name(reference: str) -> ImageName | None:
    """The full name; None for what is no name of an image in small letters."""
    found = _REFERENCE.fullmatch(reference)
    if found is None or len(found["name"]) > _LONGEST:
        return None
    first, slash, rest = found["name"].partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, rest) if is_host else (_HUB, found["name"])
    if registry in _HUB_ALIASES:
        registry, path = _HUB, path if "/" in path else f"library/{path}"
    version = f"@{found['digest']}" if found["digest"] else f":{found['tag'] or 'latest'}"
    return ImageName(registry, path, version)
