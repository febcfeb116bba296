"""What a Docker engine says of itself and of how it is set up, for an admin's check."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from dopq.container_handler.docker_words import unreachable
from dopq.errors import EngineUnavailable


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Versions and settings; see https://docs.docker.com/reference/api/engine/, `/version` and `/info`.

    Attributes:
        runc: its version; None where the engine does not tell, or runs containers with something else.
        security: names of what confines containers: seccomp, apparmor, selinux, rootless, userns, cgroupns.
        seccomp_profile: `builtin` or `default`, `unconfined`, or a file.
        authorization: plugins that are asked before each call.
        warnings: the engine's own.
    """

    version: str
    runc: str | None
    root: Path
    security: frozenset[str]
    seccomp_profile: str
    logging_driver: str
    cgroup_version: str
    live_restore: bool
    authorization: tuple[str, ...]
    warnings: tuple[str, ...]


def engine_facts(url: str, timeout_s: float) -> EngineFacts:
    """Ask an engine.

    Raises:
        EngineUnavailable: it does not answer within `timeout_s`, each of three times.
    """
    try:
        with closing(docker.APIClient(base_url=url, timeout=timeout_s)) as client:
            return facts_of(client.version(), client.info())
    except (docker.errors.DockerException, requests.RequestException) as error:
        why, hint = unreachable(repr(error))
        raise EngineUnavailable(f"The container engine at {url} does not answer: {why}.", hint) from error


def facts_of(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineFacts:
    """The facts in the engine's answers. Engines leave out what they do not know."""
    runc = [part for part in version.get("Components") or [] if part["Name"] == "runc"]
    options = [_options(text) for text in info.get("SecurityOptions") or []]
    return EngineFacts(
        version=version["Version"],
        runc=runc[0]["Version"] if runc else None,
        root=Path(info["DockerRootDir"]),
        security=frozenset(option["name"] for option in options if "name" in option),
        seccomp_profile=next((o.get("profile", "default") for o in options if o.get("name") == "seccomp"), ""),
        logging_driver=info.get("LoggingDriver") or "",
        cgroup_version=info.get("CgroupVersion") or "1",
        live_restore=bool(info.get("LiveRestoreEnabled")),
        authorization=tuple((info.get("Plugins") or {}).get("Authorization") or ()),
        warnings=tuple(info.get("Warnings") or ()),
    )


def _options(text: str) -> dict[str, str]:
    """`name=seccomp,profile=builtin` as a dictionary."""
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)
