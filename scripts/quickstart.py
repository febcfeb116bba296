"""The main job from a bundle to its results, told as it goes (called by quickstart.sh, in the virtual environment).

Everything is done as an operator and a user would do it: the node through `dopq`, the job through the share alone.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dopq.container_handler.docker_engine import DockerEngine
from dopq.errors import DopqError
from dopq.job import StateName
from environment import CHECKOUT, VENV, SetupError
from private_engine import PrivateEngine, PrivateEngineError
from quickstart_engine import FOLDER, an_engine, provide_base_image
from quickstart_node import HOME, KEPT, User, a_node, address, stop_node
from telling import Telling
from watched_job import WatchedJob

EXAMPLE = CHECKOUT / "examples" / "iris"


def main(arguments: list[str]) -> int:
    """Run it all; 0 when the job succeeded, 1 when not, 2 when the machine lacks something."""
    options = _options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    began = float(os.environ.get("DOPQ_QUICKSTART_BEGAN", time.time()))
    telling = Telling(sys.stderr if options.json else sys.stdout, began)
    try:
        with _alone():
            if options.stop:
                return _stop(telling)
            summary = run(telling, keep=options.keep)
    except KeyboardInterrupt:
        return 130
    except (SetupError, PrivateEngineError, DopqError) as problem:
        print(f"quickstart: {problem}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(summary, indent=2))
    return 0 if summary["state"] == StateName.SUCCEEDED else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/quickstart.sh", description="Run the main job, from nothing.")
    parser.add_argument("--keep", action="store_true", help="leave the node running, and say how to go on")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON, and nothing else, on stdout")
    parser.add_argument("--stop", action="store_true", help="stop what --keep left running")
    return parser.parse_args(arguments)


@contextmanager
def _alone() -> Iterator[None]:
    """Refuse to run beside another one in the same checkout. The kernel ends the lock with us, however we end."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError("Another quickstart runs in this checkout. Wait for its end.") from None
        yield


def run(telling: Telling, *, keep: bool) -> dict[str, Any]:
    """Set up, run the example, take down; the summary for programs."""
    telling.phase("environment", f"{VENV.name} is ready")
    with an_engine(telling, keep=keep) as engine_url:
        provide_base_image(telling, DockerEngine(engine_url), EXAMPLE / "Dockerfile")
        with a_node(telling, engine_url, keep=keep) as user:
            summary = _job(telling)
            if keep:
                _say_how_to_go_on(telling, user)
    telling.phase("take_down", "the node goes on" if KEPT.exists() else "all has stopped; images and results stay")
    return {**summary, "seconds": telling.seconds}


def _job(telling: Telling) -> dict[str, Any]:
    """Drop the example into the inbox, follow the job through its folder in the share, and sum it up."""
    known = set(User.outbox.glob("*"))
    _drop(EXAMPLE)
    telling.aside(f"dropped {EXAMPLE.relative_to(CHECKOUT)} as {User.inbox / EXAMPLE.name}.zip")
    job = WatchedJob(User.outbox, known, telling.aside)
    status = job.follow()
    telling.phase("job", f"{status['state']}: {status['reason']['sentence']}")
    telling.seconds |= job.seconds(status)
    files = [str(path.relative_to(job.folder)) for path in job.output_files()]
    telling.aside(f"its folder is {job.folder}, with job.log, report.txt" + "".join(f", {file}" for file in files))
    return {
        "schema_version": 1,
        "job": status["id"],
        "state": status["state"],
        "exit_code": status["exit_code"],
        "reason": status["reason"],
        "folder": str(job.folder),
        "output_files": files,
    }


def _drop(bundle: Path) -> None:
    """Zip a folder into the inbox. It appears there whole, though the node would also wait for one that grows."""
    unfinished = HOME / "bundle.zip"
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(bundle.rglob("*")):
            archive.write(path, path.relative_to(bundle))
    unfinished.replace(User.inbox / f"{bundle.name}.zip")


def _say_how_to_go_on(telling: Telling, user: User) -> None:
    telling.aside(f"The node goes on. Drop bundles into {user.inbox}, or:")
    telling.aside(f"  export DOPQ_HOST={address()} DOPQ_TOKEN={user.token}")
    telling.aside("  .venv/bin/dopq-client submit examples/iris")
    telling.aside("  .venv/bin/dopq-client status")
    telling.aside("  scripts/quickstart.sh --stop")


def _stop(telling: Telling) -> int:
    """Stop what `--keep` left running."""
    stop_node()
    if os.geteuid() == 0:
        PrivateEngine(FOLDER).stop()
    telling.phase("stop", "all has stopped. Images and results stay in .dopq/; remove that folder to be rid of them")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
