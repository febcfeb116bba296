"""Which service, and as whom."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dopq.errors import BadConfig, NotLoggedIn, UserError
from dopq_client import settings
from dopq_client.settings import Account


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)


def test_a_stored_account_is_found_again_and_only_its_owner_can_read_it() -> None:
    path = settings.store(Account("gpu1", 9090, "secret"))
    assert settings.load({}) == Account("gpu1", 9090, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_token_is_not_in_the_accounts_words() -> None:
    assert "secret" not in repr(Account("gpu1", 9090, "secret"))


def test_the_environment_wins_over_the_file() -> None:
    settings.store(Account("gpu1", 9090, "stored"))
    assert settings.load({"DOPQ_TOKEN": "other"}) == Account("gpu1", 9090, "other")
    assert settings.load({"DOPQ_HOST": "gpu2:1234", "DOPQ_TOKEN": "other"}) == Account("gpu2", 1234, "other")


def test_a_stored_token_goes_to_its_own_service_only() -> None:
    settings.store(Account("gpu1", 9090, "stored"))
    assert settings.load({"DOPQ_HOST": "gpu2"}).token is None
    assert settings.load({"DOPQ_HOST": "gpu1"}).token == "stored"


def test_who_never_logged_in_is_told_how() -> None:
    with pytest.raises(NotLoggedIn, match="dopq-client login"):
        settings.load({})


def test_forgetting_tells_whether_there_was_something() -> None:
    settings.store(Account("gpu1", 9090, "secret"))
    assert settings.forget()
    assert not settings.forget()


@pytest.mark.parametrize("text", ["host = 3", "nonsense", 'host = "gpu1"\ntoken = "a b"', 'token = "x"'])
def test_a_broken_file_is_named(text: str) -> None:
    path = settings.store(Account("gpu1", 9090, "secret"))
    path.write_text(text.replace("host = 3", 'host = "a b"'))
    with pytest.raises(BadConfig, match=str(path)):
        settings.load({})


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
    assert settings.parse_address(text) == (host, port)
    assert settings.parse_address(Account(host, port).address) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "gpu1:", "gpu1:0", "gpu1:65536", "http://gpu1", "a b", "::1", "gpu1:9090/x", 'x"y']
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match="HOST:PORT"):
        settings.parse_address(text)


@pytest.mark.parametrize("text", ["", "a b", 'a"b', "a\nb", "a\\b", "ü"])
def test_a_malformed_token_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no token"):
        settings.check_token(text)
