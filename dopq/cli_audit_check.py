"""`dopq audit check`: whether the node's books are in order."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from dopq.cli_answers import in_words, print_json, say
from dopq.cli_options import AS_JSON, CONFIG

if TYPE_CHECKING:
    from dopq.invariants.evidence import Evidence, Finding


@click.command("check")
@click.option(
    "--witnesses",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder in which jobs wrote down their starts: a line $DOPQ_JOB $DOPQ_ATTEMPT PID each.",
)
@CONFIG
@AS_JSON
@in_words
def audit_check(witnesses: Path | None, config_file: Path, as_json: bool) -> None:
    """Hold the journal against itself, Docker and the share: is nothing lost, doubled or miscounted?

    The node may run meanwhile. Exit code 1 if something is not as it must be.
    """
    from dopq.config import load
    from dopq.container_handler.docker_engine import DockerEngine, find_engine
    from dopq.inspection import gather
    from dopq.invariants import check
    from dopq.utils.clock import SystemClock

    settings, paths = load(config_file)
    engine = DockerEngine(settings.engine.url or find_engine(os.environ))
    evidence = gather(paths, settings.queue, engine, SystemClock(), witnesses)
    findings = check(evidence)
    if evidence.containers is None:
        say("The container engine does not answer: leases were not held against containers.", err=True)
    if as_json:
        print_json(findings=[{"code": f.code, "job": f.job, "sentence": f.sentence} for f in findings])
    else:
        _tell(evidence, findings)
    sys.exit(1 if findings else 0)


def _tell(evidence: Evidence, findings: list[Finding]) -> None:
    for finding in findings:
        whose = "" if finding.job is None else f"job {finding.job}"
        say(f"{finding.code:<17} {whose:<12} {finding.sentence}")
    looked = f"{len(evidence.jobs)} jobs, {len(evidence.events)} changes"
    say(f"{looked}: {len(findings)} findings." if findings else f"{looked}: all in order.")
