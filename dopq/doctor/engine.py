"""The container engine: its versions, and how it is set up."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dopq.config import EngineSettings
from dopq.container_handler.docker_engine import DockerEngine, find_engine
from dopq.container_handler.docker_facts import EngineFacts, engine_facts
from dopq.doctor import escapes
from dopq.doctor.finding import Finding, error, ok, warning
from dopq.errors import DopqError

ANSWER_S = 5.0
_DAEMON_JSON = "/etc/docker/daemon.json"
_KEPT_LOGS = frozenset({"json-file", "local", "journald"})


def address(settings: EngineSettings) -> str | None:
    """Where the engine is: configured, or found."""
    return settings.url or find_engine(os.environ)


def look_at_engine(settings: EngineSettings) -> Iterator[Finding]:
    """Does it answer, and is it one to trust with the jobs of others?"""
    url = address(settings)
    if url is None:
        yield error("engine", "No container engine answers.", "Install Docker (Debian: apt install docker.io).")
        return
    try:
        facts = engine_facts(url, ANSWER_S)
        capacity = DockerEngine(url).capacity()
    except DopqError as trouble:
        yield error("engine", trouble.message, trouble.hint)
        return
    builder = "builds with BuildKit" if capacity.has_buildkit else "builds with the classic builder"
    yield ok("engine", f"Docker {facts.version} at {url}, {builder}.")
    yield from judge(facts)


def judge(facts: EngineFacts) -> Iterator[Finding]:
    """What an engine's own words mean for a node. Pure."""
    yield from escapes.judge("engine", facts.version, ["authorization plugins"] if facts.authorization else [])
    if facts.runc:
        yield from escapes.judge("runc", facts.runc)
    yield _confinement(facts)
    yield _accounts(facts)
    yield _live_restore(facts)
    yield _log_driver(facts)
    yield _cgroups(facts)
    for said in facts.warnings:
        if "API is accessible on http" in said:
            what = f"The engine says: {said.removeprefix('[DEPRECATION NOTICE]: ').strip()}"
            fix = f"Whoever reaches that is root here. Take the tcp:// host out of {_DAEMON_JSON} or dockerd's options."
            yield error("tcp", what.split("\n", maxsplit=1)[0], fix)


def _confinement(facts: EngineFacts) -> Finding:
    if "seccomp" not in facts.security or facts.seccomp_profile == "unconfined":
        fix = f"Take seccomp-profile: unconfined out of {_DAEMON_JSON}; the kernel needs CONFIG_SECCOMP_FILTER."
        return error("confine", "Containers may make any call to the kernel: there is no seccomp profile.", fix)
    module = sorted(facts.security & {"apparmor", "selinux"})
    if not module:
        found = "seccomp confines containers, and neither AppArmor nor SELinux."
        return warning("confine", found, "Debian, Ubuntu: apt install apparmor, and start the engine again.")
    return ok("confine", f"seccomp and {' and '.join(module)} confine containers.")


def _accounts(facts: EngineFacts) -> Finding:
    if "rootless" in facts.security:
        return ok("accounts", "The engine runs without root: what leaves a container is an ordinary account.")
    if "userns" in facts.security:
        return ok("accounts", "userns-remap: root in a container is nobody outside of it.")
    found = "root in a container is root outside of it, if it finds a way out (no userns-remap). Jobs run as nobody."
    return ok("accounts", found)


def _live_restore(facts: EngineFacts) -> Finding:
    if facts.live_restore:
        return ok("restore", "Jobs go on while the engine is restarted or updated (live-restore).")
    fix = f'Put "live-restore": true into {_DAEMON_JSON}, then: systemctl reload docker'
    return warning("restore", "Restarting or updating the engine ends all running jobs.", fix)


def _log_driver(facts: EngineFacts) -> Finding:
    driver = facts.logging_driver
    if driver in _KEPT_LOGS:
        return ok("log driver", f"{driver}: logs of jobs can be read back.")
    fix = f'Put "log-driver": "local" into {_DAEMON_JSON}, and start the engine again.'
    return error("log driver", f"{driver or 'none'}: the engine keeps no logs, so jobs have none.", fix)


def _cgroups(facts: EngineFacts) -> Finding:
    if facts.cgroup_version == "2":
        return ok("cgroups", "Version 2.")
    found = "Version 1: memory that a job's kernel calls take is not counted against its limit in all cases."
    return warning("cgroups", found, "Boot with systemd.unified_cgroup_hierarchy=1, or a newer distribution.")
