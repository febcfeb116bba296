"""Two hundred people log in at once, and the node's memory does not notice."""

from __future__ import annotations

import json
import subprocess
import sys

LIMIT_BYTES = 128 * 2**20

# In a process of its own: the peak of a process's memory never falls again (getrusage(2), ru_maxrss, in KiB).
NODE = """
import json, resource, sys, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from dopq.accounts import Accounts
from dopq.caller import Caller
from dopq.errors import LoginRefused, SlowDown
from dopq.passwords import Passwords
from dopq.database import Database
from dopq.tokens import Tokens
from dopq.users import Role, Users
from dopq.utils.clock import SystemClock

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

with tempfile.TemporaryDirectory() as folder:
    database, clock = Database(Path(folder) / "journal.sqlite3"), SystemClock()
    users = Users(database)
    hashed = Passwords().hash("correct horse battery")
    for number in range(0, 200, 2):
        users.add(
            f"user{number}", role=Role.USER, weight=1.0, uid=None, now=clock.now(), password_hash=hashed
        )
    door = Accounts(database, Tokens(database, clock, 90), clock, lambda user: None)
    ready = threading.Barrier(200)

    def login(number):
        ready.wait(60)
        # Half of them are users. An address each: what holds the memory here is not the throttle.
        try:
            door.login(Caller(None, f"10.0.0.{number}"), f"user{number}", "correct horse battery")
            return "in"
        except LoginRefused:
            return "refused"
        except SlowDown:
            return "later"

    with ThreadPoolExecutor(200) as pool:
        idle = list(pool.map(lambda _: ready.wait(60) is None, range(200)))  # all threads stand
        before = peak_bytes()
        answers = list(pool.map(login, range(200)))
    counts = {answer: answers.count(answer) for answer in ("in", "refused", "later")}
    print(json.dumps({"above_idle_bytes": peak_bytes() - before, **counts}))
    database.close()
"""


def test_200_parallel_logins_take_less_than_128_mib() -> None:
    done = subprocess.run([sys.executable, "-c", NODE], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["above_idle_bytes"] < LIMIT_BYTES, told
    assert told["in"] > 0, told
    assert told["refused"] > 0, told
    assert told["in"] + told["refused"] + told["later"] == 200
