"""Is this machine ready to be a node? One finding a thing, each with what to do about it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dopq.config import Paths, Settings
from dopq.container_handler.docker_engine import DockerEngine, find_engine
from dopq.container_handler.gate import Gate
from dopq.container_handler.gate_trial import try_gate
from dopq.container_handler.rules import Rules, rules_of
from dopq.container_handler.template import Templates
from dopq.errors import BadConfig, DopqError
from dopq.share import Share
from dopq.utils import cpu
from dopq.utils.gpu_probe import probe_for

LOW_DISK_BYTES = 10 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do where it is not well."""

    what: str
    level: Literal["ok", "warning", "error"]
    found: str
    fix: str = ""


def examine(settings: Settings, paths: Paths) -> list[Finding]:
    """Look at engine, GPUs, gate, folders, disks and ports. Changes nothing."""
    rules = rules_of(settings, paths.root, has_gpus=False)
    return [
        _engine(settings),
        _gpus(settings),
        _gate(rules),
        *_own_templates(rules.templates),
        _folder("state", paths.state),
        _share(paths),
        *_disks(paths),
        _port(settings),
    ]


def _engine(settings: Settings) -> Finding:
    url = settings.engine.url or find_engine(os.environ)
    if url is None:
        return Finding(
            "engine", "error", "No container engine answers.", "Install Docker (Debian: apt install docker.io)."
        )
    try:
        capacity = DockerEngine(url).capacity()
    except DopqError as error:
        return Finding("engine", "error", error.message, error.hint)
    builder = "builds with BuildKit" if capacity.has_buildkit else "builds with the classic builder"
    return Finding("engine", "ok", f"Docker {capacity.version} at {url}, {builder}.")


def _gpus(settings: Settings) -> Finding:
    with closing(probe_for(settings.gpu.devices)) as probe:
        survey = probe.survey()
    if not survey.gpus:
        return Finding("gpus", "warning", f"No GPUs: {survey.reason or 'none found'}", "Jobs run on the CPU alone.")
    models = ", ".join(sorted({gpu.model or "unknown model" for gpu in survey.gpus}))
    return Finding("gpus", "ok", f"{len(survey.gpus)}: {models}.")


def _gate(rules: Rules) -> Finding:
    gate = Gate()
    try:
        trouble = try_gate(gate, rules)
    finally:
        gate.close()
    if trouble:
        return Finding("gate", "error" if trouble.closed else "warning", trouble.found, trouble.fix)
    how = "as root" if os.geteuid() == 0 else "by user namespaces; the service has to run as this user, or as root"
    return Finding("gate", "ok", f"Bundles are checked by a process without rights ({how}).")


def _own_templates(templates: Templates) -> Iterator[Finding]:
    if templates.folder is None:
        return
    try:
        templates.read()
    except BadConfig as error:
        yield Finding("templates", "error", error.message, error.hint)
        return
    if templates.folder.is_dir():
        yield Finding("templates", "ok", f"{templates.folder} goes before DoPQ's own.")
    else:
        what = f"{templates.folder} is no folder, so DoPQ's own are used."
        yield Finding("templates", "warning", what, "Make it, or change build.templates.")


def _folder(name: str, path: Path) -> Finding:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(name, "error", f"{existing} cannot be written.", "Change its owner or mode, or choose another.")
    there = "is there" if path.exists() else "will be made"
    return Finding(name, "ok", f"{path} {there}.")


def _share(paths: Paths) -> Finding:
    if paths.share_mark.exists() and (trouble := Share(paths).trouble()):
        return Finding("share", "warning", trouble, "Until then a node waits for it, and takes no bundles from it.")
    return _folder("share", paths.share)


def _disks(paths: Paths) -> Iterator[Finding]:
    existing = {next(p for p in (path, *path.parents) if p.exists()) for path in (paths.state, paths.share)}
    for disk in cpu.survey(sorted(existing)).disks:
        if disk.free_bytes is None:
            yield Finding("disk", "warning", f"{disk.folder}: {disk.reason}", "Look whether its disk is mounted.")
        elif disk.free_bytes < LOW_DISK_BYTES:
            free = disk.free_bytes / 2**30
            yield Finding("disk", "warning", f"{disk.folder}: {free:.1f} GiB free.", "Images and outputs need space.")
        else:
            yield Finding("disk", "ok", f"{disk.folder}: {disk.free_bytes / 2**30:.0f} GiB free.")


def _port(settings: Settings) -> Finding:
    remote = settings.remote
    where = f"{remote.nameserver_host}:{remote.nameserver_port}"
    if remote.nameserver == "external":
        return Finding("port", "ok", f"Registers with the nameserver at {where}.")
    family = socket.AF_INET6 if ":" in remote.nameserver_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((remote.nameserver_host, remote.nameserver_port))
        except OSError as error:
            return Finding(
                "port",
                "warning",
                f"{where}: {error.strerror}.",
                "Fine if this is our own running node; else change it.",
            )
    return Finding("port", "ok", f"{where} is free for the nameserver.")
