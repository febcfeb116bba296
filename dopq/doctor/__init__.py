"""Is this machine ready to be a node, and who could get at more than is theirs? Each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from dopq.config import Paths, QueueSettings, Settings
from dopq.container_handler.rules import rules_of
from dopq.doctor.engine import address, look_at_engine
from dopq.doctor.finding import Finding, Look, ok, warning
from dopq.doctor.folders import look_at_disks, look_at_state
from dopq.doctor.gate import look_at_gate, look_at_templates
from dopq.doctor.gpus import look_at_gpus, look_at_toolkit
from dopq.doctor.network import look_at_port, look_at_socket, look_at_tcp, look_at_tls
from dopq.doctor.patience import look_at
from dopq.doctor.share import look_at_share
from dopq.utils import cpu


def examine(settings: Settings, paths: Paths) -> list[Finding]:
    """Look at everything that a node stands on. Changes nothing; takes half a minute at most, whatever hangs."""
    return look_at(looks(settings, paths))


def looks(settings: Settings, paths: Paths) -> dict[str, Look]:
    """What is looked at, by name, in the order in which it is told."""
    rules = rules_of(settings, paths.root, has_gpus=False)
    engine = settings.engine
    return {
        "engine": lambda: look_at_engine(engine),
        "socket": lambda: look_at_socket(engine),
        "tcp": lambda: look_at_tcp(engine),
        "gpus": lambda: look_at_gpus(settings.gpu),
        "toolkit": look_at_toolkit,
        "gate": lambda: look_at_gate(rules),
        "templates": lambda: look_at_templates(rules.templates),
        "state": lambda: look_at_state(paths),
        "share": lambda: look_at_share(paths, settings.share),
        "disk": lambda: look_at_disks(paths, settings.disk, address(engine), cpu.disk),
        "port": lambda: look_at_port(settings.remote),
        "tls": lambda: look_at_tls(settings.remote, paths),
        "limits": lambda: look_at_limits(settings.queue),
    }


def look_at_limits(queue: QueueSettings) -> Iterator[Finding]:
    """Do jobs end?"""
    default, longest = (seconds / 3600 for seconds in (queue.default_time_limit_s, queue.max_time_limit_s))
    if default > longest:
        found = f"Jobs that do not say may run {default:g} h, longer than the longest that others may ask for."
        yield warning("limits", found, "Lower queue.default_time_limit_s.")
    else:
        yield ok("limits", f"Jobs run {default:g} h where they do not say, and {longest:g} h at most.")
