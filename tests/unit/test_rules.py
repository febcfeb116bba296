"""What a node publishes of its rules, and what a client makes of it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.config import Settings
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.rules import Rules, rules_from_wire, rules_of, rules_to_wire
from dopq.errors import OperatorError

SETTINGS = Settings.model_validate(
    {
        "intake": {"max_bundle_bytes": 1, "max_unpacked_bytes": 2, "max_entries": 3},
        "queue": {"max_time_limit_s": 4},
        "gpu": {"slots_per_gpu": 5},
        "build": {"templates": "templates"},
        "templates": {"m_files": "matlab", "matlab": {"version": "r2099a", "license_server": "27000@licences.example"}},
    }
)


def lab() -> Rules:
    return rules_of(SETTINGS, Path("/etc/dopq"), has_gpus=True)


def test_a_settings_file_makes_the_rules() -> None:
    rules = lab()
    assert (rules.limits.bundle_bytes, rules.limits.unpacked_bytes, rules.limits.entries) == (1, 2, 3)
    assert rules.defaults == SpecDefaults(gpus=1, max_time_limit_s=4, slots_per_gpu=5)
    assert rules.templates.folder == Path("/etc/dopq/templates")
    assert rules_of(Settings(), Path(), has_gpus=False).defaults.gpus == 0


def test_what_is_published_makes_the_same_rules_but_for_what_is_nobodys_business() -> None:
    published = json.loads(json.dumps(rules_to_wire(lab())))
    templates = SETTINGS.templates
    public = templates.model_copy(update={"matlab": templates.matlab.model_copy(update={"license_server": ""})})
    expected = replace(lab(), templates=replace(lab().templates, settings=public, folder=None))
    assert rules_from_wire(published) == expected


def test_neither_the_licence_server_nor_a_folder_is_published() -> None:
    published = json.dumps(rules_to_wire(lab()))
    assert "27000" not in published
    assert "/etc" not in published


def test_what_a_newer_node_says_besides_is_left_out() -> None:
    published = rules_to_wire(lab())
    published["more"] = 1
    published["limits"]["more"] = 1
    published["templates"]["julia"] = {"base": "julia"}
    published["templates"]["python"]["more"] = 1
    assert rules_from_wire(published) == rules_from_wire(rules_to_wire(lab()))


@pytest.mark.parametrize("part", ["limits", "defaults", "templates"])
def test_rules_without_a_part_are_refused(part: str) -> None:
    published = rules_to_wire(lab())
    del published[part]
    with pytest.raises(OperatorError, match="cannot be read"):
        rules_from_wire(published)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["limits", "defaults", "templates"]), JUNK, st.data())
def test_whatever_a_service_publishes_it_is_read_or_refused(part: str, junk: Any, data: st.DataObject) -> None:
    published = rules_to_wire(lab())
    if data.draw(st.booleans()):
        published[part] = junk
    else:
        published[part][data.draw(st.sampled_from(sorted(published[part])))] = junk
    with suppress(OperatorError):
        assert isinstance(rules_from_wire(published), Rules)
