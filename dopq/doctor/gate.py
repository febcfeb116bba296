"""How bundles are checked here, and by which templates they are built."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dopq.container_handler.gate import Gate
from dopq.container_handler.gate_trial import try_gate
from dopq.container_handler.rules import Rules
from dopq.container_handler.template import Templates
from dopq.doctor.finding import Finding, error, ok, warning
from dopq.errors import BadConfig


def look_at_gate(rules: Rules) -> Iterator[Finding]:
    """Can rights be given up here?"""
    gate = Gate()
    try:
        trouble = try_gate(gate, rules)
    finally:
        gate.close()
    if trouble:
        yield Finding("gate", "error" if trouble.closed else "warning", trouble.found, trouble.fix)
        return
    how = "as root" if os.geteuid() == 0 else "by user namespaces; the service has to run as this user, or as root"
    yield ok("gate", f"Bundles are checked by a process without rights ({how}).")


def look_at_templates(templates: Templates) -> Iterator[Finding]:
    """The admin's own templates, if there are any."""
    if templates.folder is None:
        return
    try:
        templates.read()
    except BadConfig as trouble:
        yield error("templates", trouble.message, trouble.hint)
        return
    if templates.folder.is_dir():
        yield ok("templates", f"{templates.folder} goes before DoPQ's own.")
    else:
        what = f"{templates.folder} is no folder, so DoPQ's own are used."
        yield warning("templates", what, "Make it, or change build.templates.")
