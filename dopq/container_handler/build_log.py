"""What a builder says, made into a log that people read and, where there is no image, into an error that helps.

Pure: messages of the Engine API's build stream in, text out. Both builders are understood.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from dopq.container_handler.buildkit_trace import Vertex, VertexLog, decode
from dopq.errors import BuildFailed, DopqError, EngineRefused, EngineUnavailable
from dopq.job import ImageId

logger = logging.getLogger(__name__)

_LAST_LINES = 8
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the classic builder paints stderr red
_CLASSIC_STEP = re.compile(r"Step (\d+/\d+) : (.*)")
_CLASSIC_CHATTER = (" ---> ", "Removing intermediate container ")
_EXIT_CODE = re.compile(r"(?:exit code|non-zero code): (\d+)")
_WRAPPING = re.compile(
    r"^(?:failed to solve(?: with frontend \S+)?: |failed to create LLB definition: |rpc error: .*?desc = )+"
)
_BASE_IMAGE = re.compile(r"(?:load metadata for|resolve image config for|\] FROM) (?:docker-image://)?(\S+)")
_NO_SESSION = "no active session"
_DISK_FULL = "no space left on device"


class BuildLog:
    """Follows one build, message by message.

    Attributes:
        image: the image's id once the builder has named it.
        error: the engine's own words when the build failed, else empty.
        unpulled: base images that BuildKit could not ask the registry for without a client session; they have to be
            pulled first (https://github.com/moby/moby/issues/48112).
    """

    def __init__(self) -> None:
        self.image: ImageId | None = None
        self.error = ""
        self.unpulled: list[str] = []
        self._names: dict[str, str] = {}  # of the steps that were announced, by digest
        self._speaker = ""
        self._step = ""
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._unreadable = False

    def add(self, message: Mapping[str, Any]) -> bytes:
        """Take in one message and return what belongs into the log because of it."""
        match message:
            case {"id": "moby.buildkit.trace", "aux": str(aux)}:
                return self._trace(aux)
            case {"aux": {"ID": str(image)}}:
                self.image = ImageId(image)
                return b""
            case {"error": str(error)}:
                self.error = _WRAPPING.sub("", error)
                return b"" if self.unpulled else f"ERROR: {self.error}\n".encode()
            case {"stream": str(text)}:
                return self._classic(text)
            case {"status": str(status)} if not message.get("progressDetail"):
                return f"{message.get('id', '')} {status}\n".lstrip().encode()
        return b""

    def failure(self) -> DopqError:
        """Why there is no image, in words that the user can act on."""
        if not self.error:
            return EngineUnavailable(
                "The container engine broke off the build without a word.",
                "Build again; if it stays so, look into the engine's own log.",
            )
        if _DISK_FULL in self.error:
            return EngineRefused(
                f"The build stopped because the engine's disk is full: {self.error}.",
                "Make room where the engine keeps its images (`docker system df` shows what takes it).",
            )
        return BuildFailed(
            *self._told(),
            step=self._step,
            engine_said=self.error,
            last_lines=list(self._last_lines),
        )

    def _told(self) -> tuple[str, str]:
        """What happened, and what to do."""
        if base_image := _BASE_IMAGE.search(self._step):
            return no_base_image(base_image[1], self.error)
        mend = "Mend the Dockerfile and submit again; build.log has every line."
        if not self._step:
            return f"The image could not be built: {self.error}.", mend
        ended = _EXIT_CODE.search(self.error)
        how = f"failed with exit code {ended[1]}" if ended else f"failed: {self.error}"
        words = f' Its last words: "{self._last_lines[-1]}".' if self._last_lines else ""
        return f'The build step "{self._step}" {how}.{words}', mend

    def _trace(self, aux: str) -> bytes:
        try:
            events = decode(aux)
        except ValueError as error:
            if not self._unreadable:  # once is enough: a newer engine would fill the log
                logger.warning(
                    "build progress unreadable", extra={"event": "build_trace_unreadable", "why": str(error)}
                )
            self._unreadable = True
            return b""
        return b"".join(self._vertex(e) if isinstance(e, Vertex) else self._words(e) for e in events)

    def _vertex(self, vertex: Vertex) -> bytes:
        text = b""
        if (vertex.started or vertex.cached) and vertex.digest not in self._names:
            self._names[vertex.digest] = vertex.name
            text = self._heading(vertex.digest, " CACHED" if vertex.cached else "")
        if vertex.error:
            text += self._failed(vertex)
        return text

    def _failed(self, vertex: Vertex) -> bytes:
        base_image = _BASE_IMAGE.search(vertex.name)
        if base_image and _NO_SESSION in vertex.error:
            self.unpulled.append(base_image[1])
            return b""
        if vertex.digest != self._speaker:
            self._last_lines.clear()
        self._step = vertex.name
        return f"=> ERROR {vertex.name}: {vertex.error}\n".encode()

    def _words(self, log: VertexLog) -> bytes:
        """A step's output, under its heading whenever another step (they run side by side) spoke in between."""
        heading = b"" if log.digest == self._speaker else self._heading(log.digest)
        self._remember(log.text.decode(errors="replace"))
        return heading + log.text

    def _heading(self, digest: str, note: str = "") -> bytes:
        self._speaker = digest
        self._last_lines.clear()
        return f"=> {self._names.get(digest, '')}{note}\n".encode()

    def _classic(self, text: str) -> bytes:
        text = _COLOUR.sub("", text)
        if step := _CLASSIC_STEP.match(text):
            self._step = f"[{step[1]}] {step[2]}"
            self._last_lines.clear()
        elif not text.startswith(_CLASSIC_CHATTER):
            self._remember(text)
        return text.encode()

    def _remember(self, text: str) -> None:
        self._last_lines.extend(line.rstrip() for line in text.splitlines() if line.strip())


def no_base_image(reference: str, why: str) -> tuple[str, str]:
    """Sentence and hint for an image after FROM that neither the engine nor its registry gives out."""
    return (
        f"The base image {reference} is not on this machine and could not be fetched: {why}.",
        "Check the name after FROM, and that this machine reaches the registry.",
    )
