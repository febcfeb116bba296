"""`dopq`: the tool of a machine's owner. Parses, asks, translates; decides nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from dopq import __version__
from dopq.cli_answers import in_words, print_json, say
from dopq.cli_audit import audit
from dopq.cli_certs import cert
from dopq.cli_changes import changing
from dopq.cli_gpus import gpu
from dopq.cli_images import image
from dopq.cli_options import AS_JSON, CONFIG
from dopq.cli_peers import peer
from dopq.cli_settings import config
from dopq.cli_simulate import simulate
from dopq.cli_templates import templates
from dopq.cli_users import user


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dopq")
def main() -> None:
    """Run and look after a DoPQ node. Users have a tool of their own: dopq-client."""


@main.command()
@CONFIG
@in_words
def serve(config_file: Path) -> None:
    """Run the node in the foreground until SIGTERM. Running jobs outlive it and are found again."""
    from dopq import config, node
    from dopq.utils import log

    settings, paths = config.load(config_file)
    log.setup(settings.node.log_level.upper(), json_lines=settings.node.log_json)
    node.serve(settings, paths)


@main.command()
@CONFIG
@AS_JSON
@in_words
def check(config_file: Path, as_json: bool) -> None:
    """Is this machine ready? Exit code 1 if something has to be mended first."""
    from dopq import config
    from dopq.doctor import examine

    settings, paths = config.load(config_file)
    findings = examine(settings, paths)
    if as_json:
        print_json(checks=[{"what": f.what, "level": f.level, "found": f.found, "fix": f.fix} for f in findings])
    for finding in [] if as_json else findings:
        say(f"{finding.level:<8} {finding.what:<10} {finding.found}")
        if finding.fix:
            say(f"{'':<19} {finding.fix}")
    sys.exit(1 if any(finding.level == "error" for finding in findings) else 0)


@main.command("shutdown_queue")
@CONFIG
@in_words
def shutdown_queue(config_file: Path) -> None:
    """Stop the node that runs on this machine, in order. Running jobs go on in their containers."""
    from dopq.config import load
    from dopq.node import stop_running

    _, paths = load(config_file)
    with changing(paths, "dopq shutdown_queue"):
        pid = stop_running(paths)
    say(f"The node (pid {pid}) has stopped.")


for verb in (config, user, peer, cert, gpu, image, templates, simulate, audit):
    main.add_command(verb)
