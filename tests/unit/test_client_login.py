"""Getting in, and out: login, register, logout, passwd and whoami against a real boundary with real TLS."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dopq.boundary.doors import Tls
from dopq.certificate_folder import begin, shown
from dopq.config import NodeSettings, Paths
from dopq.invites import Invites
from dopq.passwords import Passwords
from dopq.registrations import Registrations
from dopq.tls import peer_name, server_context
from dopq.users import Role
from dopq.utils.clock import SystemClock
from dopq_client import cli
from dopq_client.client import DopqClient
from dopq_client.session import Session
from tests.boundary_alone import Alone, boundary_alone
from tests.platforms import ANNA
from tests.terminal import Terminal

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple staple staple"
SCREENS = Path(__file__).parent / "screens"


class Desk:
    """A person's own machine: their settings, and `dopq-client`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.environment: dict[str, str | None] = {
            "XDG_CONFIG_HOME": str(folder),
            "NO_COLOR": "1",
            "COLUMNS": "120",
            **dict.fromkeys(("DOPQ_HOST", "DOPQ_TOKEN", "DOPQ_SOCKET", "DOPQ_PROFILE")),
        }
        self.file = folder / "dopq" / "client.toml"

    def __call__(self, *words: str, stdin: str | None = None, **environment: str) -> Result:
        runner = CliRunner(env={**self.environment, **environment})
        return runner.invoke(cli.main, list(words), obj=Session(), input=stdin)

    def at_terminal(self, *words: str) -> Terminal:
        set_here = {name: value for name, value in self.environment.items() if value is not None}
        return Terminal(*words, environment=set_here)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


def certificates(folder: Path) -> Paths:
    paths = Paths(folder, NodeSettings())
    begin(paths, "lab1", [], SystemClock().now())
    return paths


@pytest.fixture
def lab(tmp_path: Path) -> Paths:
    return certificates(tmp_path / "lab")


@pytest.fixture
def pin(lab: Paths) -> str:
    return shown(lab)[0].fingerprint


@pytest.fixture
def node(lab: Paths, tmp_path: Path) -> Iterator[Alone]:
    """A node with TLS on which anna has a password."""
    with boundary_alone(tmp_path / "home", tls=Tls(server_context(lab), peer_name)) as alone:
        alone.home.users.set_password_hash(ANNA, Passwords().hash(PASSWORD))
        yield alone


@pytest.fixture
def plain_node(tmp_path: Path) -> Iterator[Alone]:
    """A node without TLS, with a socket."""
    with boundary_alone(tmp_path / "home", socket=tmp_path / "dopq.sock") as alone:
        alone.home.users.set_password_hash(ANNA, Passwords().hash(PASSWORD))
        yield alone


def logged_in(desk: Desk, node: Alone, pin: str) -> None:
    words = ("login", node.address, "--user", "anna", "--password-stdin", "--fingerprint", pin)
    assert desk(*words, stdin=PASSWORD + "\n").exit_code == 0


# --- the first time ---


def test_at_a_terminal_the_fingerprint_is_shown_for_a_yes_and_the_password_is_not_shown(
    desk: Desk, node: Alone, pin: str
) -> None:
    with desk.at_terminal("login", node.address, "--user", "anna") as terminal:
        terminal.expect("Is it the same? [y/N]:")
        assert pin in terminal.shown
        terminal.type("y")
        terminal.expect(f"Password of anna at {node.address}:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0, terminal.shown
        assert f"Logged in as anna at {node.address}" in terminal.shown
        assert PASSWORD not in terminal.shown
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
    assert PASSWORD not in desk.file.read_text()
    assert desk("whoami").stdout.startswith(
        f"anna (user, weight 1) at {node.address}, over TLS; your token holds until"
    )
    with desk.at_terminal("login") as terminal:  # known by now: nothing but the password is asked
        terminal.expect("Password of anna")
        assert "Is it the same?" not in terminal.shown


@pytest.mark.parametrize("answer", ["n", ""])
def test_without_a_yes_nothing_is_sent_or_kept(desk: Desk, node: Alone, answer: str) -> None:
    with desk.at_terminal("login", node.address, "--user", "anna") as terminal:
        terminal.expect("Is it the same? [y/N]:")
        terminal.type(answer)
        assert terminal.end() == 2
        assert "Nothing was sent to it" in terminal.shown
        assert "Password" not in terminal.shown
    assert not desk.file.exists()


def test_without_a_terminal_the_certificate_has_to_be_known_from_elsewhere(desk: Desk, node: Alone, pin: str) -> None:
    refused = desk("login", node.address, "--user", "anna", "--password-stdin", stdin=PASSWORD)
    assert refused.exit_code == 2
    assert pin in refused.stderr
    assert "--fingerprint" in refused.stderr
    assert not desk.file.exists()


def test_the_labs_ca_vouches_for_the_service(desk: Desk, node: Alone, lab: Paths) -> None:
    ca = str(lab.certificates / "ca.pem")
    done = desk("login", node.address, "--user", "anna", "--password-stdin", "--ca", ca, stdin=PASSWORD)
    assert done.exit_code == 0, done.output
    assert "over TLS" in desk("whoami").stdout


def test_a_token_that_was_handed_out_serves_as_well(desk: Desk, node: Alone, pin: str) -> None:
    words = ("login", node.address, "--token-stdin", "--fingerprint", pin)
    assert desk(*words, stdin=node.tokens["bert"] + "\n").exit_code == 0
    assert desk("whoami").stdout.startswith("bert ")
    refused = desk(*words, stdin="wrong\n")
    assert refused.exit_code == 4
    assert "does not know this token" in refused.stderr
    assert desk("whoami").stdout.startswith("bert "), "a login that fails changes nothing"


def test_a_wrong_password_keeps_nothing(desk: Desk, node: Alone, pin: str) -> None:
    words = ("login", node.address, "--user", "anna", "--password-stdin", "--fingerprint", pin)
    refused = desk(*words, stdin="wrong password")
    assert refused.exit_code == 4
    assert "wrong" in refused.stderr
    assert "wrong password" not in refused.stderr
    assert not desk.file.exists()


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (["--user", "anna"], None),
        (["--password-stdin"], PASSWORD),
        (["--user", "anna", "--password-stdin"], ""),
        (["--password-stdin", "--token-stdin"], ""),
        (["--user", "anna", "--password-stdin", "--fingerprint", "AB"], PASSWORD),
    ],
)
def test_what_cannot_be_asked_has_to_be_said(
    desk: Desk, node: Alone, pin: str, words: list[str], stdin: str | None
) -> None:
    fingerprint = [] if "--fingerprint" in words else ["--fingerprint", pin]
    assert desk("login", node.address, *words, *fingerprint, stdin=stdin).exit_code == 2
    assert not desk.file.exists()


def test_login_to_nowhere_asks_where(desk: Desk) -> None:
    refused = desk("login", "--password-stdin")
    assert refused.exit_code == 2
    assert "dopq-client login HOST:PORT" in refused.stderr


# --- another certificate than before ---


def test_another_certificate_is_refused_with_both_fingerprints_until_it_is_confirmed(
    desk: Desk, node: Alone, lab: Paths, pin: str, tmp_path: Path
) -> None:
    logged_in(desk, node, pin)
    other = certificates(tmp_path / "other")
    new = shown(other)[0].fingerprint
    with boundary_alone(tmp_path / "home2", tls=Tls(server_context(other), peer_name)) as renewed:
        desk.file.write_text(desk.file.read_text().replace(node.address, renewed.address))
        for words in (["whoami"], ["login", "--password-stdin"], ["login", renewed.address, "--password-stdin"]):
            refused = desk(*words, stdin=PASSWORD)
            assert refused.exit_code == 2
            assert {pin, new} <= set(refused.stderr.split()) | {word.rstrip(",.") for word in refused.stderr.split()}
            assert "--fingerprint" in refused.stderr
        renewed.home.users.set_password_hash(ANNA, Passwords().hash(PASSWORD))
        again = desk("login", "--password-stdin", "--fingerprint", new, stdin=PASSWORD)
        assert again.exit_code == 0, again.output
        assert desk("whoami").exit_code == 0


def test_a_service_that_spoke_tls_before_is_not_spoken_to_without(
    desk: Desk, node: Alone, pin: str, tmp_path: Path
) -> None:
    logged_in(desk, node, pin)
    with boundary_alone(tmp_path / "home2") as plain:
        desk.file.write_text(desk.file.read_text().replace(node.address, plain.address))
        for words in (["whoami"], ["login", "--password-stdin"]):
            refused = desk(*words, stdin=PASSWORD)
            assert refused.exit_code == 5
            assert "does not speak TLS" in refused.stderr


# --- this machine ---


def test_on_this_machine_a_login_may_do_without_tls(desk: Desk, plain_node: Alone) -> None:
    done = desk("login", plain_node.address, "--user", "anna", "--password-stdin", stdin=PASSWORD)
    assert done.exit_code == 0, done.output
    assert f"at {plain_node.address}, in the clear, on this machine;" in desk("whoami").stdout


def test_on_this_machine_nobody_has_to_log_in(desk: Desk, plain_node: Alone, tmp_path: Path) -> None:
    path = str(tmp_path / "dopq.sock")
    stranger = desk("whoami", DOPQ_SOCKET=path)
    assert stranger.exit_code == 4
    assert "dopq user uid" in stranger.stderr
    plain_node.home.users.set_uid(ANNA, os.getuid())
    assert desk("whoami", DOPQ_SOCKET=path).stdout == f"anna (user, weight 1) at {path}, on this machine\n"
    told = json.loads(desk("whoami", "--json", DOPQ_SOCKET=path).stdout)
    assert (told["way"], told["address"], told["expires_at"]) == ("socket", path, None)


# --- several services ---


def test_several_services_are_kept_by_name(desk: Desk, node: Alone, pin: str) -> None:
    for profile, who in (("lab1", "olga"), ("lab2", "bert")):
        words = ("login", node.address, "--token-stdin", "--fingerprint", pin, "--profile", profile)
        assert desk(*words, stdin=node.tokens[who]).exit_code == 0
    assert desk("whoami", "--profile", "lab1").stdout.startswith("olga ")
    assert desk("--profile", "lab2", "whoami").stdout.startswith("bert ")
    assert desk("whoami", DOPQ_PROFILE="lab2").stdout.startswith("bert ")
    assert desk("whoami", "--profile", "lab1", DOPQ_PROFILE="lab2").stdout.startswith("olga ")
    assert desk("logout", "--profile", "lab2").stdout == "Logged out.\n"
    assert desk("whoami", "--profile", "lab1").exit_code == 0
    assert desk("whoami", "--profile", "lab2").exit_code == 4


def test_the_class_goes_the_same_ways(
    desk: Desk, node: Alone, pin: str, lab: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = lab.certificates / "ca.pem"
    for known_by in ({"fingerprint": pin}, {"ca": ca}):
        with DopqClient.connect(node.address, node.tokens["olga"], **known_by) as client:  # type: ignore[arg-type]
            assert client.whoami()["user"] == "olga"
    logged_in(desk, node, pin)
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: desk.file.parent)
    for name in ("DOPQ_HOST", "DOPQ_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with DopqClient.connect() as client, DopqClient.connect(node.address, node.tokens["bert"]) as other:
        assert client.whoami()["user"] == "anna"
        assert other.whoami()["user"] == "bert"


# --- getting in ---


def registering(node: Alone, pin: str) -> list[str]:
    return ["register", node.address, "--fingerprint", pin, "--user", "carla", "--email", "carla@example.org"]


def test_who_registers_waits_for_an_admin_and_is_told_what_comes_next(desk: Desk, node: Alone, pin: str) -> None:
    done = desk(*registering(node, pin), "--password-stdin", stdin=PASSWORD)
    assert done.exit_code == 0, done.output
    assert "dopq user approve carla" in done.stdout
    login = f"login {node.address} --user carla".split()
    assert " ".join(login) in done.stdout
    assert desk(*login, "--password-stdin", stdin=PASSWORD).exit_code == 4
    home = node.home
    Registrations(home.database).approve("carla", role=Role.USER, weight=1.0, uid=None, now=home.clock.now())
    assert desk(*login, "--password-stdin", stdin=PASSWORD).exit_code == 0, "its certificate is known by now"


def test_who_has_an_invite_is_in_at_once_with_their_key(desk: Desk, node: Alone, pin: str, tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f carla@desk\n")
    home = node.home
    invite = Invites(home.database).make(role=Role.USER, weight=1.0, days=1, now=home.clock.now())
    words = registering(node, pin)
    done = desk(*words, "--password-stdin", "--invite", invite.code, "--ssh-key", str(key), stdin=PASSWORD)
    assert done.exit_code == 0, done.output
    assert "You are registered as carla" in done.stdout
    carla = home.users.by_name("carla")
    assert carla is not None
    assert carla.ssh_key == key.read_text().strip()


def test_a_private_key_never_leaves(desk: Desk, node: Alone, pin: str, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n")
    refused = desk(*registering(node, pin), "--password-stdin", "--ssh-key", str(key), stdin=PASSWORD)
    assert refused.exit_code == 2
    assert f"{key}.pub" in refused.stderr


def test_at_a_terminal_registering_asks_for_everything_and_the_password_twice(
    desk: Desk, node: Alone, pin: str
) -> None:
    with desk.at_terminal("register", node.address, "--fingerprint", pin) as terminal:
        terminal.expect("Name")
        terminal.type("carla")
        terminal.expect("E-mail:")
        terminal.type("carla@example.org")
        terminal.expect("Password:")
        terminal.type(PASSWORD)
        terminal.expect("Once more:")
        terminal.type(PASSWORD)
        assert terminal.end() == 0, terminal.shown
        assert "dopq user approve carla" in terminal.shown
        assert PASSWORD not in terminal.shown
    assert [waiting.request.name for waiting in Registrations(node.home.database).all()] == ["carla"]


def test_registering_does_not_end_a_login(desk: Desk, node: Alone, pin: str) -> None:
    logged_in(desk, node, pin)
    assert desk(*registering(node, pin), "--password-stdin", stdin=PASSWORD).exit_code == 0
    assert desk("whoami").stdout.startswith("anna ")


# --- and out ---


def test_a_logout_ends_the_token_everywhere(desk: Desk, node: Alone, pin: str) -> None:
    logged_in(desk, node, pin)
    stolen = Desk(desk.file.parents[2] / "stolen")
    stolen.file.parent.mkdir()
    stolen.file.write_bytes(desk.file.read_bytes())
    stolen.file.chmod(0o600)
    assert stolen("whoami").exit_code == 0
    assert desk("logout").stdout == "Logged out.\n"
    assert desk("logout").stdout == "You were not logged in.\n"
    dead = stolen("whoami")
    assert dead.exit_code == 4
    assert "has expired, was ended" in dead.stderr
    assert "dopq-client login" in dead.stderr


def test_a_logout_while_the_service_is_away_says_that_the_token_lives_on(desk: Desk, node: Alone, pin: str) -> None:
    logged_in(desk, node, pin)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        desk.file.write_text(desk.file.read_text().replace(node.address, f"127.0.0.1:{free.getsockname()[1]}"))
    done = desk("logout")
    assert done.exit_code == 5
    assert "the service was not told" in done.stderr
    assert "token" not in desk.file.read_text()


def test_a_token_that_has_expired_says_so(desk: Desk, node: Alone, pin: str) -> None:
    logged_in(desk, node, pin)
    node.home.clock.advance(91 * 86400)
    refused = desk("status", "--json")
    assert refused.exit_code == 4
    assert json.loads(refused.stdout)["error"]["code"] == "not_logged_in"
    assert "has expired" in refused.stderr


def test_a_new_password_ends_all_tokens_but_this_login(desk: Desk, node: Alone, pin: str) -> None:
    logged_in(desk, node, pin)
    elsewhere = node.home.logins.issue(ANNA, "another machine").token
    done = desk("passwd", "--password-stdin", stdin=f"{PASSWORD}\n{OTHER_PASSWORD}\n")
    assert done.exit_code == 0, done.output
    assert desk("whoami").exit_code == 0
    words = ("login", node.address, "--user", "anna", "--fingerprint", pin)
    assert desk(*words, "--token-stdin", stdin=elsewhere).exit_code == 4
    assert desk(*words, "--password-stdin", stdin=OTHER_PASSWORD).exit_code == 0


# --- as people see it ---


@pytest.mark.parametrize("width", [80, 120])
def test_what_people_see(desk: Desk, node: Alone, pin: str, tmp_path: Path, width: int) -> None:
    """The words of a first login, a refused one and a logout, as one file."""
    other = certificates(tmp_path / "other")
    with boundary_alone(tmp_path / "home2", tls=Tls(server_context(other), peer_name)) as imposter:
        shown_there = [
            _screen(desk, width, "login", node.address, "--user", "anna", "--password-stdin"),
            _screen(desk, width, "login", node.address, "--user", "anna", "--password-stdin", "--fingerprint", pin),
            _screen(desk, width, "whoami"),
        ]
        kept = desk.file.read_text()
        desk.file.write_text(kept.replace(node.address, imposter.address))
        shown_there.append(_screen(desk, width, "whoami"))
        desk.file.write_text(kept)
        shown_there += [_screen(desk, width, "logout"), _screen(desk, width, "whoami")]
        known = {
            pin: ":".join(["AB"] * 32),
            shown(other)[0].fingerprint: ":".join(["CD"] * 32),
            node.address.rpartition(":")[2]: "12345",
            imposter.address.rpartition(":")[2]: "12345",
            str(desk.file.parent.parent): "~/.config",
        }
    text = _replaced("".join(shown_there), known)
    file = SCREENS / f"login_{width}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def _screen(desk: Desk, width: int, *words: str) -> str:
    result = desk(*words, stdin=PASSWORD, COLUMNS=str(width))
    return f"$ dopq-client {' '.join(words)}\n{result.output}"


def _replaced(text: str, known: Mapping[str, str]) -> str:
    for found, name in known.items():
        text = text.replace(found, name)
    return text
