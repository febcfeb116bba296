"""The machine's package sources are read as apt reads them, and make one recipe for the base image."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.container_handler.apt_sources import (
    AptSource,
    codename,
    main_source,
    parse_deb822,
    parse_list,
    parse_os_release,
)
from dopq.container_handler.base_image import Recipe, machine_recipe
from dopq.errors import OperatorError

KEYRING = "/usr/share/keyrings/archive.gpg"
SOURCE = AptSource("http://mirror.example/debian", "bookworm", ("main",), KEYRING)
RECIPE = Recipe("bookworm", "amd64", SOURCE, ("python3", "git"))


def test_one_line_entries_are_read_with_their_options() -> None:
    text = f"""
# a comment
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by={KEYRING}] http://mirror.example/debian bookworm main contrib # trailing words
deb http://mirror.example/debian bookworm-updates main
nonsense
"""
    assert list(parse_list(text)) == [
        AptSource("http://mirror.example/debian", "bookworm", ("main", "contrib"), KEYRING),
        AptSource("http://mirror.example/debian", "bookworm-updates", ("main",)),
    ]


def test_deb822_paragraphs_give_one_source_for_each_suite() -> None:
    text = f"""Types: deb deb-src
# a comment between two fields
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: {KEYRING}

Types: deb-src
URIs: http://sources.example
Suites: bookworm
Components: main
"""
    assert list(parse_deb822(text)) == [SOURCE, replace(SOURCE, suite="bookworm-updates")]


def test_a_disabled_paragraph_is_passed_over() -> None:
    text = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n"
    assert list(parse_deb822(text)) == []


def test_a_key_written_into_the_paragraph_itself_is_no_keyring_file() -> None:
    text = """Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
"""
    assert [source.keyring for source in parse_deb822(text)] == [None]


@given(st.text())
def test_no_text_makes_the_readers_fail(text: str) -> None:
    list(parse_list(text))
    list(parse_deb822(text))
    parse_os_release(text)


def test_the_main_source_is_the_first_that_has_the_suite_itself_and_can_be_fetched() -> None:
    others = [
        AptSource("http://vendor.example", "bookworm", ("stable",)),
        replace(SOURCE, suite="bookworm-updates"),
        replace(SOURCE, uri="cdrom:[Debian]/"),
        replace(SOURCE, uri="mirror+file:/etc/apt/mirrors.list"),
    ]
    assert main_source([*others, SOURCE], "bookworm") == SOURCE
    assert main_source(others, "bookworm") is None


def test_components_spread_over_several_entries_are_brought_together() -> None:
    universe = replace(SOURCE, components=("universe",))
    assert main_source([universe, SOURCE], "bookworm") == replace(SOURCE, components=("universe", "main"))


@pytest.mark.parametrize(
    ("os_release", "suite"),
    [
        ("ID=debian\nVERSION_CODENAME=bookworm\n", "bookworm"),
        ('ID="ubuntu"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n', "noble"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n", "noble"),
        ('ID="fedora"\nVERSION_ID=42\n', None),
    ],
)
def test_the_suite_comes_from_os_release(os_release: str, suite: str | None) -> None:
    assert codename(parse_os_release(os_release)) == suite


def test_a_machine_of_another_kind_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refusal:
        machine_recipe(root=tmp_path)
    assert "docker load" in refusal.value.hint


def test_the_cached_file_is_named_after_what_the_image_holds_and_not_after_the_mirror() -> None:
    assert RECIPE.key == replace(RECIPE, source=None, packages=("git", "python3", "git")).key
    assert RECIPE.key != replace(RECIPE, packages=("python3",)).key
    assert RECIPE.key != replace(RECIPE, suite="trixie").key
    assert RECIPE.key != replace(RECIPE, architecture="arm64").key


def test_debootstrap_gets_the_machines_own_mirror_and_keyring() -> None:
    command = RECIPE.command(Path("/target"))
    assert command[-3:] == ["bookworm", "/target", SOURCE.uri]
    assert f"--keyring={KEYRING}" in command
    assert "--include=git,python3" in command


def test_without_a_known_mirror_the_choice_is_debootstraps() -> None:
    command = replace(RECIPE, source=None).command(Path("/target"))
    assert command[-2:] == ["bookworm", "/target"]
    assert not [word for word in command if word.startswith("--keyring")]
