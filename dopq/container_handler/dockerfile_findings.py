"""What a single instruction of a Dockerfile may not say, whatever stands around it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dopq.container_handler.dockerfile import Instruction
from dopq.container_handler.dockerfile_bases import Finding
from dopq.container_handler.dockerfile_json import json_words
from dopq.container_handler.refusal import shown

_FLAGS = {
    "FROM": {"platform"},
    "COPY": {"from", "chown", "chmod", "link", "parents", "exclude"},
    "ADD": {"chown", "chmod", "link", "unpack", "exclude"},
    "RUN": {"mount", "network", "security"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
_SWITCHES = {"link", "parents", "unpack"}  # their value may be left out
# What cannot be a URL, a git remote, a variable or an escape in any builder's eyes.
_LOCAL_SOURCE = re.compile(r"(?!github\.com/|//)[^:@$#<>'\"\\`]+")


def flags_findings(it: Instruction) -> Iterator[Finding]:
    """Flags that the instruction does not have, or not here. What their values ask for is the gate's to look at."""
    for flag in it.flags:
        if flag.name not in _FLAGS.get(it.word, ()):
            yield f"{it.word} has the flag {shown('--' + flag.name)}, which is not allowed", "Leave it out."
        elif not flag.value and flag.name not in _SWITCHES:
            yield f"the flag --{flag.name} has no value", f"Write --{flag.name}=VALUE, or leave it out."


def volume_findings(it: Instruction) -> Iterator[Finding]:
    """Volumes go with the container; one in place of the outputs' own folder the engine leaves out by itself."""
    for path in json_words(it.arguments) or re.split(r"[ \t]+", it.arguments):
        if re.match(r"/+(output|outdir)/+[^/]", path):
            yield f"the volume {shown(path)} would swallow what the job writes there", "Leave it out."


def add_findings(it: Instruction) -> Iterator[Finding]:
    """ADD fetches URLs and git repositories with the engine's own network; local archives it may unpack."""
    words = json_words(it.arguments)
    if words is None and it.arguments.startswith("["):
        yield "it begins like a JSON list, but is none", "Close the list, with every word in double quotes."
        return
    heredocs = {heredoc.name for heredoc in it.heredocs}
    for source in (words or tuple(re.split(r"[ \t]+", it.arguments)))[:-1]:
        is_heredoc = words is None and source.startswith("<<") and source.lstrip("<-").strip("'\"") in heredocs
        if not is_heredoc and not _LOCAL_SOURCE.fullmatch(source):
            what = f"ADD may fetch {shown(source)} from outside"
            yield what, "Use RUN with curl or git, or COPY a file of the bundle."
