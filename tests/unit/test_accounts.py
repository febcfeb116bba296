"""The front door: who gets in, what a stranger learns, and what trying costs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dopq.accounts import Accounts
from dopq.caller import LOCAL, Caller
from dopq.errors import DopqError, LoginRefused, NotAllowed, NotLoggedIn, SlowDown, UserError
from dopq.invites import Invites
from dopq.passwords import Passwords
from dopq.registrations import MOST, MOST_OF_ONE_ADDRESS, Registrations
from dopq.users import Role
from tests.platforms import ANNA, BERT, Home

PASSWORD, WRONG = "correct horse battery", "staple battery horse"
LAPTOP = Caller(None, "192.0.2.7")
ELSEWHERE = Caller(None, "198.51.100.9")


class Counted(Passwords):
    """Counts what it works out, and keeps the hashes that it verified against."""

    def __init__(self) -> None:
        super().__init__(patience_s=60.0)
        self.hashed = 0
        self.verified = list[str | None]()

    def hash(self, password: str) -> str:
        self.hashed += 1
        return super().hash(password)

    def is_right(self, stored: str | None, password: str) -> bool:
        self.verified.append(stored)
        return super().is_right(stored, password)


class House:
    """A node where anna has a password and bert has none."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.users, self.tokens, self.clock = self.home.users, self.home.logins, self.home.clock
        self.registrations, self.invites = Registrations(self.home.database), Invites(self.home.database)
        self.accounts: Accounts = self.home.accounts
        self.accounts._passwords = self.passwords = Counted()
        self.users.set_password_hash(ANNA, Passwords().hash(PASSWORD))

    def comes(self, token: str, address: str = LAPTOP.address) -> Caller:
        """A caller as the boundary makes one."""
        return Caller(self.tokens.by_token(token), address, token=token)

    def register(
        self, name: str = "cleo", caller: Caller = LAPTOP, uid: int | None = None, invite: str | None = None
    ) -> object:
        return self.accounts.register(caller, name, PASSWORD, f"{name}@lab.example", uid, None, invite)

    def invite(self, days: int = 7) -> str:
        return self.invites.make(role=Role.ADMIN, weight=2.0, days=days, now=self.clock.now()).code


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.home.close()


# --- logging in and out ---


def test_the_right_password_gives_a_token_that_logout_ends(house: House) -> None:
    issued = house.accounts.login(LAPTOP, "anna", PASSWORD)
    caller = house.comes(issued.token)
    assert caller.user == house.users.by_name(ANNA)
    house.accounts.logout(caller)
    assert house.tokens.by_token(issued.token) is None
    house.accounts.logout(caller)


def test_a_logout_without_a_token_is_refused_in_words(house: House) -> None:
    with pytest.raises(NotLoggedIn, match="without one"):
        house.accounts.logout(LAPTOP)


def refusal(house: House, name: str, password: str) -> tuple[object, ...]:
    with pytest.raises(LoginRefused) as shown:
        house.accounts.login(LAPTOP, name, password)
    return (shown.value.code, shown.value.message, shown.value.hint, str(shown.value.details))


def test_who_is_not_told_in_learns_nothing_and_costs_the_same(house: House) -> None:
    house.register("cleo", ELSEWHERE)
    asked = [("anna", WRONG), ("nemo", WRONG), ("bert", WRONG), ("cleo", PASSWORD), ("root' OR 1=1", WRONG), ("", "")]
    house.passwords.hashed = 0
    refusals = {refusal(house, name, password) for name, password in asked}
    assert len(refusals) == 1
    assert len(house.passwords.verified) == len(asked), "one hash each"
    assert house.passwords.hashed == 0


def test_no_password_and_no_unknown_name_is_ever_logged_or_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house.accounts.login(LAPTOP, "anna", PASSWORD)
    errors = [str(refusal(house, name, WRONG)) for name in ("anna", "my-password-by-mistake")]
    house.register("cleo")
    with pytest.raises(UserError) as shown:
        house.accounts.register(LAPTOP, "dora", "dora", "dora@lab", None, None, None)
    errors.append(str(shown.value))
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "logged_in" in logged
    assert "login_refused" in logged
    for secret in (PASSWORD, WRONG, "my-password-by-mistake", "$argon2id"):
        assert secret not in logged
        assert all(secret not in error for error in errors)


def test_a_password_that_changes_while_it_is_verified_gives_no_token(house: House) -> None:
    issued = list[str]()
    real = house.tokens.issue

    def slow_issue(name: object, source: str) -> object:
        house.users.set_password_hash(ANNA, Passwords().hash("another password"))
        made = real(name, source)  # type: ignore[arg-type]
        issued.append(made.token)
        return made

    house.tokens.issue = slow_issue  # type: ignore[method-assign, assignment]
    with pytest.raises(LoginRefused):
        house.accounts.login(LAPTOP, "anna", PASSWORD)
    assert [house.tokens.by_token(token) for token in issued] == [None]


# --- changing a password ---


def test_a_changed_password_ends_every_token_but_the_one_it_gives(house: House) -> None:
    laptop, desktop = (house.accounts.login(LAPTOP, "anna", PASSWORD).token for _ in range(2))
    new = house.accounts.change_password(house.comes(laptop), PASSWORD, "a new password").token
    assert [house.tokens.by_token(token) for token in (laptop, desktop)] == [None, None]
    assert house.tokens.by_token(new) is not None
    refusal(house, "anna", PASSWORD)
    house.accounts.login(LAPTOP, "anna", "a new password")


def test_a_password_changes_only_for_who_knows_the_old_one(house: House) -> None:
    token = house.accounts.login(LAPTOP, "anna", PASSWORD).token
    with pytest.raises(LoginRefused):
        house.accounts.change_password(house.comes(token), WRONG, "a new password")
    with pytest.raises(LoginRefused):  # bert has none yet: an admin sets the first
        house.accounts.change_password(house.comes(house.home.tokens[BERT]), "", "a new password")
    with pytest.raises(NotLoggedIn):
        house.accounts.change_password(LAPTOP, PASSWORD, "a new password")
    with pytest.raises(UserError, match="will not do"):
        house.accounts.change_password(house.comes(token), PASSWORD, "anna")
    assert house.comes(token).user is not None
    house.accounts.login(LAPTOP, "anna", PASSWORD)


# --- what trying costs ---


def attempts(house: House, count: int, caller: Caller, name: str = "anna", every_s: float = 0.6) -> list[SlowDown]:
    """Wrong passwords; those that were turned away unread."""
    turned_away = list[SlowDown]()
    for _ in range(count):
        try:
            house.accounts.login(caller, name, WRONG)
        except SlowDown as error:
            turned_away.append(error)
        except LoginRefused:
            pass
        house.clock.advance(every_s)
    return turned_away


def test_a_hundred_wrong_passwords_in_a_minute_cost_fifteen_hashes_at_most(house: House) -> None:
    turned_away = attempts(house, 100, LAPTOP)
    assert len(house.passwords.verified) <= 15
    assert len(turned_away) == 100 - len(house.passwords.verified)
    assert all(0 < error.details["wait_s"] <= 10 for error in turned_away)  # type: ignore[operator]
    house.accounts.login(ELSEWHERE, "anna", PASSWORD)


def test_many_names_from_one_address_cost_no_more_than_one(house: House) -> None:
    for number in range(100):
        attempts(house, 1, LAPTOP, f"user{number}")
    assert len(house.passwords.verified) <= 15


def test_who_waits_as_long_as_told_may_try_again(house: House) -> None:
    turned_away = attempts(house, 10, LAPTOP, every_s=0.0)
    house.clock.advance(float(turned_away[-1].details["wait_s"]))  # type: ignore[arg-type]
    house.accounts.login(LAPTOP, "anna", PASSWORD)


def test_right_passwords_of_one_address_shut_out_nobody_behind_it(house: House) -> None:
    """A lab behind one address: many people log in at nine o'clock."""
    names = [f"user{number}" for number in range(20)]
    for name in names:
        house.users.add(name, role=Role.USER, weight=1.0, uid=None, now=house.clock.now())
        house.users.set_password_hash(name, house.users.password_hash(ANNA) or "")
    assert all(house.accounts.login(LAPTOP, name, PASSWORD) for name in names)


def test_one_users_right_passwords_are_bounded_too(house: House) -> None:
    for _ in range(8):
        house.accounts.login(LAPTOP, "anna", PASSWORD)
    with pytest.raises(SlowDown):
        house.accounts.login(LAPTOP, "anna", PASSWORD)


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_an_ipv6_address_counts_as_its_64(house: House, one: str, other: str, are_one: bool) -> None:
    attempts(house, 8, Caller(None, one), every_s=0.0)
    assert bool(attempts(house, 1, Caller(None, other))) is are_one


def test_whom_the_kernel_knows_is_never_slowed_down_by_others_and_guesses_at_others_no_quicker(house: House) -> None:
    local, stranger = Caller(house.home.user(ANNA), LOCAL), Caller(None, LOCAL)
    assert len(attempts(house, 12, stranger, every_s=0.0)) == 4
    for _ in range(12):
        house.accounts.login(local, "anna", PASSWORD)
    assert attempts(house, 1, local, "bert"), "another's password is guessed at no quicker for being local"


def test_parallel_tries_win_nothing(house: House) -> None:
    def attempt(_number: int) -> type[DopqError]:
        try:
            house.accounts.login(LAPTOP, "anna", WRONG)
        except DopqError as error:
            return type(error)
        raise AssertionError("a wrong password was right")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(64)))
    assert answers.count(LoginRefused) == len(house.passwords.verified) == 8
    assert answers.count(SlowDown) == 56


# --- registering ---


def test_who_registers_is_nobody_until_an_admin_approves(house: House) -> None:
    assert house.register("cleo", uid=1234) is None
    assert (house.users.by_name("cleo"), house.users.by_uid(1234), house.home.welcomed) == (None, None, [])
    [asked] = house.registrations.all()
    assert (asked.request.name, asked.request.wished_uid, asked.request.address) == ("cleo", 1234, LAPTOP.address)
    refusal(house, "cleo", PASSWORD)
    house.registrations.approve("cleo", role=Role.USER, weight=1.0, uid=None, now=house.clock.now())
    token = house.accounts.login(LAPTOP, "cleo", PASSWORD).token
    cleo = house.comes(token).user
    assert cleo is not None
    assert (cleo.email, cleo.uid, cleo.role) == ("cleo@lab.example", None, Role.USER)


def test_an_invite_makes_a_user_at_once_as_the_admin_said_and_once_only(house: House) -> None:
    code = house.invite()
    house.register("cleo", uid=0, invite=code)
    cleo = house.home.user("cleo")  # type: ignore[arg-type]
    assert (cleo.role, cleo.weight, cleo.uid) == (Role.ADMIN, 2.0, None), "a uid is an admin's to say"
    assert house.home.welcomed == ["cleo"]
    house.accounts.login(LAPTOP, "cleo", PASSWORD)
    with pytest.raises(NotAllowed, match="invite"):
        house.register("dora", invite=code)
    assert house.users.by_name("dora") is None


def test_the_name_of_a_removed_user_whose_jobs_are_here_is_taken_over_on_purpose_only(house: House) -> None:
    house.home.platform.accept(BERT, "bert.zip", "key-of-bert", "train")
    house.users.remove(BERT)
    house.register("bert")
    code, now = house.invite(), house.clock.now()
    for enters in (
        lambda: house.users.add(BERT, role=Role.USER, weight=1.0, uid=None, now=now),
        lambda: house.registrations.approve("bert", role=Role.USER, weight=1.0, uid=None, now=now),
        lambda: house.register("bert", invite=code),
    ):
        with pytest.raises(UserError, match="There was a user 'bert'"):
            enters()
    assert house.users.by_name(BERT) is None
    house.register("cleo", invite=code)
    house.users.add(BERT, role=Role.USER, weight=1.0, uid=None, now=now, take_over=True)


def test_an_invite_ends(house: House) -> None:
    code = house.invite(days=1)
    house.clock.advance(86400)
    with pytest.raises(NotAllowed, match="over"):
        house.register(invite=code)
    with pytest.raises(NotAllowed):
        house.register(invite="x")
    assert house.users.by_name("cleo") is None
    assert house.registrations.all() == []


def test_an_invite_is_not_used_up_by_a_name_that_is_taken(house: House) -> None:
    code = house.invite()
    with pytest.raises(UserError, match="already"):
        house.register("anna", invite=code)
    house.register("cleo", invite=code)
    assert house.users.by_name("cleo") is not None


def test_a_taken_name_is_answered_like_a_free_one(house: House) -> None:
    answers = [house.register(name) for name in ("anna", "cleo", "cleo")]
    assert answers == [None, None, None]
    assert house.passwords.hashed == 3
    assert [each.request.name for each in house.registrations.all()] == ["anna", "cleo", "cleo"]
    house.accounts.login(ELSEWHERE, "anna", PASSWORD)
    with pytest.raises(UserError, match="already"):
        house.registrations.approve("anna", role=Role.ADMIN, weight=1.0, uid=None, now=house.clock.now())


@pytest.mark.parametrize(
    ("name", "password", "email", "uid", "ssh_key"),
    [
        ("Cleo", PASSWORD, "cleo@lab", None, None),
        ("root", PASSWORD, "cleo@lab", None, None),
        ("cleo", "cleo", "cleo@lab", None, None),
        ("cleo", PASSWORD, "cleo", None, None),
        ("cleo", PASSWORD, "cleo@lab", 65534, None),
        ("cleo", PASSWORD, "cleo@lab", -1, None),
        ("cleo", PASSWORD, "cleo@lab", None, "no key"),
    ],
)
def test_a_registration_that_makes_no_sense_costs_no_hash(
    house: House, name: str, password: str, email: str, uid: int | None, ssh_key: str | None
) -> None:
    with pytest.raises(UserError):
        house.accounts.register(LAPTOP, name, password, email, uid, ssh_key, None)
    assert (house.passwords.hashed, house.registrations.all()) == (0, [])


def test_registrations_are_bounded_per_time_per_address_and_altogether(house: House) -> None:
    for number in range(8):
        house.register(f"user{number}")
    with pytest.raises(SlowDown):
        house.register("user8")
    house.accounts._passwords = Unworked()
    for number in range(8, MOST_OF_ONE_ADDRESS):
        house.clock.advance(10)
        house.register(f"user{number}")
    house.clock.advance(10)
    with pytest.raises(NotAllowed, match="Too many registrations"):
        house.register("one-more")
    for number in range(MOST_OF_ONE_ADDRESS, MOST):
        house.register(f"user{number}", Caller(None, f"10.0.0.{number}"))
    with pytest.raises(NotAllowed, match="Too many registrations"):
        house.register("one-more", ELSEWHERE)
    assert len(house.registrations.all()) == MOST
    house.register("invited", ELSEWHERE, invite=house.invite())


def test_registrations_from_one_ipv6_network_are_counted_together(house: House) -> None:
    house.accounts._passwords = Unworked()
    for number in range(MOST_OF_ONE_ADDRESS):
        house.register(f"user{number}", Caller(None, f"2001:db8:1:2::{number:x}"))
        house.clock.advance(10)
    with pytest.raises(NotAllowed, match="Too many registrations"):
        house.register("one-more", Caller(None, "2001:db8:1:2:ffff::9"))
    house.register("one-more", Caller(None, "2001:db8:1:3::9"))


class Unworked(Passwords):
    """Spares a test of a hundred registrations a hundred hashes."""

    def hash(self, password: str) -> str:
        return "$none"
