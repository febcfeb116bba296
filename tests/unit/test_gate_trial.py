"""Whether bundles can be checked here is known, and told, before there is one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dopq.config import Settings
from dopq.container_handler.gate import Gate
from dopq.container_handler.gate_trial import try_gate
from dopq.container_handler.rules import rules_of
from dopq.errors import DopqError
from tests.little_rights import as_ordinary_user, as_root_in_a_plain_container

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root without one capability")

TRY = """
import json, os
from dataclasses import asdict
from pathlib import Path
from dopq.config import Settings
from dopq.container_handler.gate import Gate
from dopq.container_handler.gate_trial import try_gate
from dopq.container_handler.rules import rules_of

trouble = try_gate(Gate(), rules_of(Settings(), Path(), has_gpus=False))
print(json.dumps(trouble and asdict(trouble)))
"""

PROVIDER = """
import io, json, tempfile
from pathlib import Path
from dopq.handover import Alive
from dopq.utils import log
from tests.unit.test_provider import Bench
from tests.waiting import wait_until

logged = io.StringIO()
log.setup("WARNING", json_lines=True, stream=logged)
with tempfile.TemporaryDirectory() as folder:
    bench = Bench(Path(folder))
    bench.provider.start()
    wait_until(lambda: logged.getvalue().endswith(chr(10)), 20.0)
    bench.provider.beat()
    bench.provider.stop()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    print(json.dumps({"logged": lines, "troubles": bench.heard(Alive)[-1].troubles}))
"""


def test_where_everything_can_be_given_up_nothing_is_wrong() -> None:
    gate = Gate()
    assert try_gate(gate, rules_of(Settings(), Path(), has_gpus=False)) is None
    gate.close()


def test_an_ordinary_user_with_user_namespaces_leaves_the_network_too() -> None:
    assert as_ordinary_user(TRY, namespaces=10) is None


@needs_root
def test_root_in_a_plain_container_is_told_that_the_network_is_kept() -> None:
    trouble = as_root_in_a_plain_container(TRY)
    assert not trouble["closed"]
    assert "could not leave the network" in trouble["found"]
    assert "--cap-add SYS_ADMIN" in trouble["fix"]


def test_a_gate_that_cannot_be_started_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("dopq.container_handler.gate_link.subprocess.Popen", refuse)
    trouble = try_gate(gate, rules_of(Settings(), Path(), has_gpus=False))
    assert trouble
    assert trouble.closed
    assert "temporarily" in trouble.found


def test_a_gate_that_dies_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    monkeypatch.setattr("dopq.container_handler.gate_link._MODULE", "dopq.errors")  # ends without a word
    with pytest.raises(DopqError, match="dies at once"):
        gate.try_out(rules_of(Settings(), Path(), has_gpus=False))
    gate.close()


def provider_says(said: Any) -> tuple[str, str, str]:
    [line] = said["logged"]
    assert line["event"] == "gate_trouble"
    return line["level"], line["cause"], "\n".join(said["troubles"])


def test_a_node_that_can_check_no_bundle_says_so_from_the_start() -> None:
    level, cause, warnings = provider_says(as_ordinary_user(PROVIDER, namespaces=0))
    assert level == "ERROR"
    assert "does not let DoPQ take the rights" in cause
    assert "every job ends as build_failed" in warnings
    assert "Run DoPQ as root" in warnings


@needs_root
def test_a_node_whose_gate_keeps_the_network_says_so_in_its_log() -> None:
    level, cause, warnings = provider_says(as_root_in_a_plain_container(PROVIDER))
    assert level == "WARNING"
    assert "could not leave the network" in cause
    assert warnings == ""
