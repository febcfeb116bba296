"""Passwords: which ones will do, what is stored of them, and that few are worked out at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import argon2
import pytest
from argon2 import PasswordHasher

from dopq.errors import SlowDown, UserError
from dopq.passwords import AT_ONCE, Passwords, checked_password, known_of
from tests.waiting import wait_until

PASSWORD = "correct horse battery"


def test_a_password_is_right_against_its_own_hash_and_no_other() -> None:
    passwords = Passwords()
    stored = passwords.hash(PASSWORD)
    assert passwords.is_right(stored, PASSWORD)
    assert not passwords.is_right(stored, PASSWORD + "!")
    assert not passwords.is_right(passwords.hash("something else"), PASSWORD)
    assert not passwords.is_right(None, PASSWORD)


def test_the_hash_is_argon2id_with_what_owasp_asks_for_and_salted() -> None:
    first, second = Passwords().hash(PASSWORD), Passwords().hash(PASSWORD)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert PASSWORD not in first


def test_nobodys_hash_costs_what_a_users_does() -> None:
    """What is verified for an unknown user has the parameters of what is stored for a known one."""
    verified = list[str]()

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - argon2's name
            verified.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords()
    passwords._hasher = Watched(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    passwords.is_right(passwords.hash(PASSWORD), "wrong" * 3)
    passwords.is_right(None, "wrong" * 3)
    known, nobodys = (argon2.extract_parameters(each) for each in verified)
    assert known == nobodys


def test_what_looks_the_same_is_the_same_password() -> None:
    passwords = Passwords()
    assert passwords.is_right(passwords.hash("Frühstücksei 1"), "Fru\u0308hstu\u0308cksei 1")


def test_text_without_utf_8_is_a_password_like_any_other() -> None:
    passwords = Passwords()
    assert passwords.is_right(passwords.hash("\udcff" * 12), "\udcff" * 12)


def test_never_more_than_two_are_worked_out_at_once() -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    class Counted(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - argon2's name
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            try:
                return super().verify(hash, password)
            finally:
                with lock:
                    at_once -= 1

    passwords = Passwords(patience_s=60)
    stored = passwords.hash(PASSWORD)
    passwords._hasher = Counted(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda _: passwords.is_right(stored, PASSWORD), range(32)))
    assert most == AT_ONCE == 2


def test_who_waits_too_long_is_told_to_slow_down_and_the_turns_come_back() -> None:
    going, go_on = threading.Semaphore(0), threading.Event()

    class Stuck(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - argon2's name
            going.release()
            assert go_on.wait(30)
            return super().verify(hash, password)

    passwords = Passwords(patience_s=0.05)
    real, passwords._hasher = passwords._hasher, Stuck()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [pool.submit(passwords.is_right, None, PASSWORD) for _ in range(AT_ONCE)]
        for _ in answers:
            assert going.acquire(timeout=10)
        with pytest.raises(SlowDown, match="at once") as shown:
            passwords.is_right(None, PASSWORD)
        assert shown.value.details["wait_s"] > 0  # type: ignore[operator]
        go_on.set()
        wait_until(lambda: all(answer.done() for answer in answers), 10.0)
    passwords._hasher = real
    assert not passwords.is_right(None, PASSWORD)


ANNA = known_of("anna", "anna.b@lab.example")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "123456789",
        "x" * 201,
        "a" * 50,
        "abababababab",
        "anna" * 5,
        "Anna.B@LAB.example",
        "anna123456789",
        "lab-ANNA-1234",
    ],
)
def test_a_password_that_is_easy_to_guess_will_not_do(password: str) -> None:
    with pytest.raises(UserError, match="will not do") as shown:
        checked_password(password, *ANNA)
    told = f"{shown.value} {shown.value.details}"
    assert not password or password not in told


@pytest.mark.parametrize(
    "password", ["0123456789", "correct horse battery", "anna has 3 cats", "ü" * 3 + "abcdefg", "Aa1!" * 3 + "xy"]
)
def test_a_password_of_enough_different_characters_will_do(password: str) -> None:
    assert checked_password(password, *ANNA) == password
