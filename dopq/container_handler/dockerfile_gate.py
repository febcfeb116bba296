"""The Dockerfile gate: what a stranger's Dockerfile may ask the engine for. Pure.

A build runs what its Dockerfile says in containers of their own; that is fine. What is refused here is what the engine
itself would do for it, with rights, networks and images that are not the user's.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

from dopq.container_handler.dockerfile import INSTRUCTIONS, Dockerfile, Instruction, read_dockerfile, where
from dopq.container_handler.dockerfile_bases import NOTHING, Finding, base_finding
from dopq.container_handler.dockerfile_expansion import Unclear, Value, expand, is_builders_own
from dopq.container_handler.dockerfile_findings import add_findings, flags_findings, volume_findings
from dopq.container_handler.dockerfile_json import json_words
from dopq.container_handler.image_name import BaseImage
from dopq.container_handler.refusal import shown
from dopq.job import Problem

_RUN_VALUES = {"network": ("default", "none"), "security": ("sandbox",)}
_MOUNT_KEYS = {
    *("type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw", "required"),
    *("size", "id", "sharing", "mode", "uid", "gid"),
}
_MOUNT_TYPES = {"bind", "cache", "tmpfs"}
_OWN_PLATFORM = {"", "$BUILDPLATFORM", "${BUILDPLATFORM}", "$TARGETPLATFORM", "${TARGETPLATFORM}"}
_INDEX = re.compile(r"[0-9]{1,9}")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ARG = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:=(\"[^\"\\`]*\"|'[^'\\`]*'|[^\s\"'\\`]*))?(?:[ \t]+|\Z)")


@dataclass(frozen=True, slots=True)
class DockerfileRules:
    """What a node lets Dockerfiles ask for.

    Attributes:
        allowed_bases: names of images that may be built on or copied from; `*` stands for anything.
    """

    allowed_bases: tuple[str, ...] = ("*",)


def dockerfile_problems(content: bytes, rules: DockerfileRules) -> list[Problem]:
    """Everything for which a Dockerfile is refused; empty when it may be built."""
    dockerfile = read_dockerfile(content)
    found = (*dockerfile.problems, *_older_reading(content, dockerfile), *_Gate(rules).check(dockerfile))
    return list(dict.fromkeys(found))


def base_images(content: bytes) -> frozenset[BaseImage]:
    """The images, other than its own stages, that a Dockerfile takes from; only for one that has no problems."""
    gate = _Gate(DockerfileRules())
    for _ in gate.check(read_dockerfile(content)):
        pass
    return frozenset(gate.images)


def _older_reading(content: bytes, dockerfile: Dockerfile) -> Iterator[Problem]:
    """A builder without heredocs has to stop at one, as at an unknown instruction, before it does anything at all."""
    first = next((instruction for instruction in dockerfile.instructions if instruction.heredocs), None)
    if first:
        older = read_dockerfile(content, heredocs=False)
        if all(instruction.word in INSTRUCTIONS for instruction in older.instructions):
            what = "builders that do not know heredocs would run the lines of this one as instructions"
            yield Problem(
                where(first.line), what, "Give it another name, such as EOF, and no line that ends in a backslash."
            )


@dataclass(slots=True)
class _Gate:
    """Goes through the instructions once, keeping what later ones may refer to."""

    rules: DockerfileRules
    arguments: dict[str, Value] = field(default_factory=dict)
    stages: int = 0
    names: set[str] = field(default_factory=set)  # of the stages before this one
    current: str = ""
    images: set[BaseImage] = field(default_factory=set)

    def check(self, dockerfile: Dockerfile) -> Iterator[Problem]:
        """What is wrong with each instruction."""
        for instruction in dockerfile.instructions:
            for what, instead in self._wrong(instruction):
                yield Problem(where(instruction.line), what, instead)
        if dockerfile.instructions and all(instruction.word == "ARG" for instruction in dockerfile.instructions):
            yield Problem("Dockerfile", "it has no FROM", "Begin it with FROM and a base image.")

    def _wrong(self, it: Instruction) -> Iterator[Finding]:
        if it.word not in INSTRUCTIONS:
            yield f"{shown(it.word)} is no instruction", "Write one such as FROM, RUN or COPY."
            return
        if not self.stages and it.word not in {"FROM", "ARG"}:
            yield f"{it.word} comes before the first FROM", "Begin with FROM and a base image."
        yield from flags_findings(it)
        match it.word:
            case "FROM":
                yield from self._from(it)
            case "ARG" if not self.stages:
                yield from self._argument(it)
            case "COPY":
                yield from self._copy(it)
            case "ADD":
                yield from add_findings(it)
            case "RUN":
                yield from self._run(it)
            case "VOLUME":
                yield from volume_findings(it)
            case "ONBUILD":
                yield "ONBUILD would run in other people's builds", "Leave it out."

    def _argument(self, it: Instruction) -> Iterator[Finding]:
        """An ARG before the first FROM: the only kind that FROM sees."""
        at, known = 0, dict(self.arguments)
        while at < len(it.arguments) and (found := _ARG.match(it.arguments, at)):
            name, default, at = found[1], found[2], found.end()
            if default is not None and is_builders_own(name):
                yield f"{name} is the builder's own to set", "Give the variable another name."
            known[name] = Unclear(f"{name} is set from itself, or from its own line")
            self.arguments[name] = self._default(name, default, known)
        if at < len(it.arguments) or not it.arguments:
            yield "ARG before FROM is not of the form NAME=value", "Write one ARG a line, without escapes."

    def _default(self, name: str, default: str | None, known: Mapping[str, Value]) -> Value:
        if name in self.arguments:
            return Unclear(f"{name} is declared twice before FROM")
        try:
            return None if default is None else expand(default, known)
        except Unclear as unclear:
            return unclear

    def _from(self, it: Instruction) -> Iterator[Finding]:
        if self.stages:
            self.names |= {self.current} - {""}
        self.stages += 1
        self.current = ""
        base, *naming = re.split(r"[ \t]+", it.arguments)
        if naming:
            if len(naming) != 2 or naming[0].lower() != "as" or not _STAGE_NAME.fullmatch(naming[1].lower()):
                yield "FROM has more than a base image", "Write FROM IMAGE, or FROM IMAGE AS NAME."
            else:
                self.current = naming[1].lower()
        try:
            base = expand(base, self.arguments)
        except Unclear as unclear:
            yield f"which image FROM means cannot be told: {unclear}", "Write the name out, or give ARG a default."
        else:
            if base.lower() not in self.names:
                yield from self._image(base, "FROM", (yield from self._platform(it)))

    def _platform(self, it: Instruction) -> Generator[Finding, None, str]:
        """The platform that FROM asks for; empty for the builder's own."""
        platform = next((flag.value or "" for flag in it.flags if flag.name == "platform"), "")
        if platform in _OWN_PLATFORM:
            return ""
        try:
            return expand(platform, self.arguments)
        except Unclear as unclear:
            yield f"which platform FROM means cannot be told: {unclear}", "Write $TARGETPLATFORM, or leave it out."
            return ""

    def _copy(self, it: Instruction) -> Iterator[Finding]:
        if it.arguments.startswith("[") and json_words(it.arguments) is None:
            yield "it begins like a JSON list, but is none", "Close the list, with every word in double quotes."
        for flag in it.flags:
            if flag.name == "from" and _INDEX.fullmatch(flag.value or ""):
                if int(flag.value or "") >= self.stages - 1:
                    yield f"there is no stage {flag.value} before this one", "Name an earlier stage or an image."
            elif flag.name == "from" and flag.value:
                yield from self._source(flag.value, "COPY --from")

    def _run(self, it: Instruction) -> Iterator[Finding]:
        for flag in it.flags:
            if flag.value and flag.name in _RUN_VALUES and flag.value not in _RUN_VALUES[flag.name]:
                allowed = " or ".join(f"--{flag.name}={value}" for value in _RUN_VALUES[flag.name])
                yield f"--{flag.name}={flag.value} is not allowed in a build", f"Write {allowed}, or leave it out."
            elif flag.name == "mount" and flag.value:
                yield from self._mount(flag.value)

    def _mount(self, value: str) -> Iterator[Finding]:
        if '"' in value:
            yield "a mount holds a quote, which builders treat in several ways", "Write --mount=key=value,key=value."
            return
        for key, _, text in (part.partition("=") for part in value.split(",")):
            if key.lower() not in _MOUNT_KEYS:
                yield f"a mount has the key {shown(key)}, which is not known here", "Leave it out."
            elif key.lower() == "type" and text.lower() not in _MOUNT_TYPES:
                # Nobody stands beside a build in the queue to hand it a secret or an agent.
                yield f"a mount of type {shown(text)} is not available here", "Use bind, cache or tmpfs."
            elif key.lower() == "from" and text:
                yield from self._source(text, "RUN --mount from")

    def _source(self, name: str, asker: str) -> Iterator[Finding]:
        """A stage or an image that something is taken from, not built on."""
        if "$" in name:
            yield f"{asker} takes no variables", "Name an earlier stage: FROM IMAGE AS NAME."
        elif name.lower() == self.current:
            yield f"{asker} names its own stage", "Name an earlier one."
        elif name.lower() not in self.names:
            yield from self._image(name, asker)

    def _image(self, reference: str, asker: str, platform: str = "") -> Iterator[Finding]:
        if reference != NOTHING:
            self.images.add(BaseImage(reference, platform))
        if finding := base_finding(reference, asker, self.rules.allowed_bases):
            yield finding
