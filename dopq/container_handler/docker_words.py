"""Docker's own words, cleaned and completed with what to do. Pure."""

from __future__ import annotations

import re

_WRAPPING = re.compile(
    r"^(?:Error response from daemon: |failed to create (?:shim )?task(?: for container)?: |failed to create shim: "
    r"|OCI runtime \w+ failed: |runc \w+ failed: |container_linux\.go:\d+: |starting container process caused: "
    r"|unable to start container process: |error during container init: )+"
)
_GO_DEFAULT_CODE = ": unknown"  # containerd ends every error with its gRPC code

_TRANSIENT = (
    "context deadline exceeded",
    "context canceled",
    "transport is closing",
    "connection refused",
    "connection error",
    "daemon is shutting down",
    "removal of container",  # "... is already in progress"
    "is marked for removal",
)

_FULL = "no space left on device"

_HINTS = (
    (
        "could not select device driver",
        "Install the NVIDIA Container Toolkit and restart the engine: it hands out GPUs only then.",
    ),
    ("no such image", "Build, load or pull the image first."),
    ("no such container", "It was removed meanwhile; look at what runs before asking again."),
    (_FULL, "Make room where the engine keeps its data (`docker system df` shows what takes it)."),
    ("bind source path does not exist", "Make the folder on this machine first, or correct its path."),
    ("minimum memory limit", "Ask for more memory."),
    ("unable to find user", "Make the user in the Dockerfile (`RUN useradd ...`) before `USER` names it."),
    ("is being used by", "Remove the container that uses it first."),
)

_UNREACHABLE = (
    (("FileNotFoundError", "No such file"), "there is no such socket", "Start the engine (`dopq check` tells more)."),
    (
        ("PermissionError", "Permission denied"),
        "this user may not open the socket",
        "Add the user that runs DoPQ to the group `docker` and log in again.",
    ),
    (
        ("ConnectionRefused", "Connection refused"),
        "nobody listens there",
        "Start the engine (`dopq check` tells more).",
    ),
    (("timed out", "Timeout"), "no answer in time", "The engine is overloaded or hangs; look into its log."),
)


def plain_words(text: str) -> str:
    """An error message of the engine without the names of the layers that it came through."""
    return _WRAPPING.sub("", text.strip()).removesuffix(_GO_DEFAULT_CODE).rstrip(".")


def is_transient(text: str) -> bool:
    """Whether an error says "not now" rather than "no"."""
    return any(words in text for words in _TRANSIENT)


def is_for_want_of_space(text: str) -> bool:
    """Whether an error says that the engine's disk is full."""
    return _FULL in text.lower()


def hint_for(text: str) -> str:
    """What to do about a refusal."""
    folded = text.lower()
    return next((hint for words, hint in _HINTS if words in folded), "The engine's own log may say more.")


def unreachable(text: str) -> tuple[str, str]:
    """Why a connection failed, and what to do, from the text of the exception that tells it."""
    for signs, why, hint in _UNREACHABLE:
        if any(sign in text for sign in signs):
            return why, hint
    return "the connection broke", "Look whether the engine is up (`dopq check` tells more)."
