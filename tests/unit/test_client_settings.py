"""Which service, and as whom."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dopq.errors import BadConfig, NotLoggedIn, UserError
from dopq_client import profiles, settings
from dopq_client.account import Account, LocalService, check_fingerprint, check_token, parse_address
from dopq_client.ways import TcpWay, TlsWay, UnixWay, way_to

PIN = ":".join(["AB"] * 32)
OTHER_PIN = ":".join(["CD"] * 32)
STORED = Account("gpu1", 9090, "stored", PIN, user="anna")


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    monkeypatch.setattr(settings, "SYSTEM_SOCKET", tmp_path / "none.sock")


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


# --- what is kept ---


@pytest.mark.usefixtures("loose_umask")
@pytest.mark.parametrize("profile", [profiles.DEFAULT, "lab2"])
def test_a_stored_account_is_found_again_and_only_its_owner_can_read_it(profile: str) -> None:
    path = profiles.store(profile, STORED)
    assert settings.load(None, {"DOPQ_PROFILE": profile}) == STORED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(profiles.file_of(profiles.DEFAULT).parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == [path.name]


def test_every_part_of_an_account_is_kept() -> None:
    account = Account("::1", 7, "t", PIN, Path('/tmp/a "b"\\ö/ca.pem'), "anna")
    profiles.store("x", account)
    assert profiles.stored("x") == account


def test_the_token_is_not_in_the_accounts_words() -> None:
    assert "secret" not in repr(Account("gpu1", 9090, "secret"))
    assert "secret" not in repr(LocalService(Path("x"), "secret"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_can_get_at_is_refused_with_the_command_that_mends_it(mode: int) -> None:
    path = profiles.store(profiles.DEFAULT, STORED)
    path.chmod(mode)
    with pytest.raises(BadConfig, match="others on this machine") as refused:
        settings.load(None, {})
    assert f"chmod 600 {path}" in refused.value.hint
    path.chmod(0o600)
    assert settings.load(None, {}) == STORED


def test_a_file_of_an_earlier_version_is_still_read() -> None:
    path = profiles.store(profiles.DEFAULT, STORED)
    path.write_text('host = "127.0.0.1:9090"\ntoken = "old"\n')
    assert settings.load(None, {}) == Account("127.0.0.1", 9090, "old")


def test_forgetting_a_token_keeps_what_the_service_is_known_by() -> None:
    profiles.store(profiles.DEFAULT, STORED)
    assert profiles.forget_token(profiles.DEFAULT) == "stored"
    assert profiles.forget_token(profiles.DEFAULT) is None
    assert profiles.stored(profiles.DEFAULT) == Account("gpu1", 9090, None, PIN, user="anna")


@pytest.mark.parametrize(
    "text",
    ['host = "a b"', "nonsense", 'host = "gpu1"\ntoken = "a b"', 'token = "x"', 'host = "gpu1"\nfingerprint = "AB"'],
)
def test_a_broken_file_is_named(text: str) -> None:
    path = profiles.store(profiles.DEFAULT, STORED)
    path.write_text(text)
    with pytest.raises(BadConfig, match=str(path)):
        settings.load(None, {})


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "x" * 33, "a b", "x.toml"])
def test_a_profile_leads_to_no_other_folder(name: str) -> None:
    with pytest.raises(UserError, match="no name of a profile"):
        settings.load(name, {})


# --- which one counts ---


def test_the_environment_wins_over_the_file() -> None:
    profiles.store(profiles.DEFAULT, STORED)
    assert settings.load(None, {"DOPQ_TOKEN": "other"}) == Account("gpu1", 9090, "other", PIN, user="anna")
    named = settings.load(None, {"DOPQ_HOST": "gpu2:1234", "DOPQ_TOKEN": "other", "DOPQ_FINGERPRINT": OTHER_PIN})
    assert named == Account("gpu2", 1234, "other", OTHER_PIN)
    assert settings.load(None, {"DOPQ_SOCKET": "/x/y"}) == LocalService(Path("/x/y"))


def test_a_stored_token_goes_to_its_own_service_only() -> None:
    profiles.store(profiles.DEFAULT, STORED)
    assert settings.load(None, {"DOPQ_HOST": "gpu2"}) == Account("gpu2", 9090)
    assert settings.load(None, {"DOPQ_HOST": "gpu1"}) == STORED


def test_a_profile_that_is_asked_for_counts_whatever_the_environment_says() -> None:
    profiles.store("lab2", STORED)
    crowded = {"DOPQ_HOST": "gpu9", "DOPQ_TOKEN": "other", "DOPQ_SOCKET": "/x/y", "DOPQ_PROFILE": "lab3"}
    assert settings.load("lab2", crowded) == STORED
    with pytest.raises(NotLoggedIn, match="no profile lab3") as refused:
        settings.load(None, {"DOPQ_PROFILE": "lab3"})
    assert "--profile lab3" in refused.value.hint


def test_without_any_of_these_it_is_the_service_of_this_machine(tmp_path: Path) -> None:
    own = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(NotLoggedIn, match="dopq-client login HOST:PORT") as refused:
        settings.load(None, own)
    for looked_at in (settings.SYSTEM_SOCKET, tmp_path / "dopq" / "dopq.sock"):
        assert str(looked_at) in refused.value.message
    (tmp_path / "dopq").mkdir()
    (tmp_path / "dopq" / "dopq.sock").touch()
    assert settings.load(None, own) == LocalService(tmp_path / "dopq" / "dopq.sock")
    settings.SYSTEM_SOCKET.touch()
    assert settings.load(None, own) == LocalService(settings.SYSTEM_SOCKET)
    profiles.store(profiles.DEFAULT, STORED)
    assert settings.load(None, own) == STORED


def test_who_has_logged_out_is_told_of_which_service() -> None:
    profiles.store(profiles.DEFAULT, STORED)
    profiles.forget_token(profiles.DEFAULT)
    with pytest.raises(NotLoggedIn, match="logged out of gpu1:9090"):
        settings.load(None, {})


def test_an_address_is_known_by_what_a_login_confirmed_unless_something_else_is_given() -> None:
    profiles.store(profiles.DEFAULT, STORED)
    assert settings.at("gpu1", "t", None, None) == Account("gpu1", 9090, "t", PIN, user="anna")
    assert settings.at("gpu1", "t", OTHER_PIN, None) == Account("gpu1", 9090, "t", OTHER_PIN)
    assert settings.at("gpu2", "t", None, None) == Account("gpu2", 9090, "t")


# --- by which way ---


def test_the_account_says_by_which_way_its_service_is_reached() -> None:
    ca = Path("ca.pem")
    assert way_to(LocalService(Path("/x"))) == UnixWay(Path("/x"))
    assert way_to(STORED) == TlsWay("gpu1", 9090, PIN, None)
    assert way_to(Account("gpu1", 9090, ca=ca)) == TlsWay("gpu1", 9090, None, ca)
    assert way_to(Account("localhost", 9090)) == TcpWay("localhost", 9090)


# --- what people type ---


@pytest.mark.parametrize("text", [PIN, PIN.lower(), PIN.replace(":", ""), f" {PIN}\n"])
def test_a_fingerprint_may_be_written_otherwise(text: str) -> None:
    assert check_fingerprint(text) == PIN


@pytest.mark.parametrize("text", ["", "AB", PIN[:-1], PIN + ":AB", PIN.replace("A", "G")])
def test_anything_else_is_no_fingerprint(text: str) -> None:
    with pytest.raises(UserError, match="no fingerprint"):
        check_fingerprint(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("gpu1", "gpu1", 9090),
        ("gpu1:80", "gpu1", 80),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:7", "::1", 7),
        ("[::1]", "::1", 9090),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert parse_address(Account(host, port).address) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "gpu1:", "gpu1:0", "gpu1:65536", "http://gpu1", "a b", "::1", "gpu1:9090/x", 'x"y']
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("text", ["", "a b", 'a"b', "a\nb", "a\\b", "ü"])
def test_a_malformed_token_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no token"):
        check_token(text)
