"""Who can get at the engine and at the service without a word of theirs being checked."""

from __future__ import annotations

import grp
import json
import pwd
import socket
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psutil

from dopq import certificate_folder
from dopq.config import EngineSettings, Paths, RemoteSettings
from dopq.doctor.engine import address
from dopq.doctor.finding import Finding, error, ok, warning
from dopq.errors import OperatorError

DAEMON_SETTINGS = Path("/etc/docker/daemon.json")
_MAY_BE_OURS = "Fine if this is our own running node; else change it."


def look_at_socket(settings: EngineSettings) -> Iterator[Finding]:
    """Whoever may open the engine's socket is root on this machine."""
    url = address(settings) or ""
    if not url.startswith("unix://"):
        return
    path = Path(url.removeprefix("unix://"))
    try:
        info = path.stat()
    except OSError:
        return  # the look at the engine tells
    if info.st_mode & stat.S_IWOTH:
        fix = f"chmod o-rw {path}, and look who changed it."
        yield error("socket", f"Every account of this machine can open {path}, and so be root.", fix)
        return
    members = members_of(info.st_gid) if info.st_mode & stat.S_IWGRP and info.st_gid else []
    if members:
        fix = f"They are root on this machine, past every rule of DoPQ. gpasswd -d NAME {_group(info.st_gid)}"
        yield warning("socket", f"{path} is open to {', '.join(members)}.", fix)
    else:
        yield ok("socket", f"{path} is open to {_account(info.st_uid)} alone.")


def look_at_tcp(settings: EngineSettings, daemon: Path = DAEMON_SETTINGS) -> Iterator[Finding]:
    """The engine without TLS on TCP makes whoever reaches that port root."""
    fix = "Have dockerd listen on its Unix socket only, or with --tlsverify."
    if settings.url.startswith(("tcp://", "http://")):
        yield error("tcp", f"engine.url = {settings.url}: whoever reaches that port is root there.", fix)
    open_hosts = [host for host in [*_hosts_of(daemon), *_hosts_of_processes()] if host.startswith("tcp://")]
    for host in sorted(set(open_hosts)):
        yield error("tcp", f"dockerd listens on {host} without checking certificates.", fix)


def look_at_port(remote: RemoteSettings) -> Iterator[Finding]:
    """Is the port free on which clients find the service?"""
    where = f"{remote.host}:{remote.port}"
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((remote.host, remote.port))
        except OSError as trouble:
            yield warning("port", f"{where}: {trouble.strerror}.", _MAY_BE_OURS)
            return
    yield ok("port", f"{where} is free for the service.")


def look_at_tls(remote: RemoteSettings, paths: Paths) -> Iterator[Finding]:
    """Is the service's certificate there, and does it hold?"""
    if not remote.tls:
        yield ok("tls", "Off: the service listens on this machine only.")
        return
    now = datetime.now(UTC)
    try:
        certificate = certificate_folder.own(paths, now)
    except OperatorError as trouble:
        yield error("tls", trouble.message, trouble.hint)
        return
    if soon := certificate_folder.expiry_warning(paths, now):
        yield warning("tls", soon.message, soon.hint)
    else:
        yield ok("tls", f"The certificate holds until {certificate.not_after:%Y-%m-%d}.")


def members_of(group: int) -> list[str]:
    """Names of the accounts in a group, as their first group or another; root left out."""
    try:
        listed = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        listed = set()
    return sorted((listed | {account.pw_name for account in pwd.getpwall() if account.pw_gid == group}) - {"root"})


def tcp_hosts(arguments: Iterable[str]) -> list[str]:
    """The TCP addresses in dockerd's arguments; none where it checks certificates."""
    given = list(arguments)
    if any(argument.partition("=")[0] == "--tlsverify" for argument in given):
        return []
    spread = [part for argument in given for part in argument.split("=", 1)]
    after = [value for flag, value in pairwise(spread) if flag in {"-H", "--host"}]
    return [host for host in after if host.startswith("tcp://")]


def _hosts_of(daemon: Path) -> list[str]:
    try:
        settings = json.loads(daemon.read_text(encoding="utf-8"))
        return [] if settings.get("tlsverify") else [str(host) for host in settings.get("hosts", [])]
    except (OSError, ValueError, AttributeError, TypeError):
        return []  # there is none, or the engine would not have started with it


def _hosts_of_processes() -> Iterator[str]:
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "dockerd":
            yield from tcp_hosts(process.info["cmdline"] or [])


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
