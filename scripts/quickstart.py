"""The main job from a bundle to its results, told as it goes (called by quickstart.sh, in the virtual environment).

Everything is done as a user and an operator would do it: the node through `dopq`, the job through the share alone.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dopq.container_handler.base_image import bootstrap
from dopq.container_handler.docker_engine import DockerEngine, find_engine
from dopq.errors import BuildFailed, DopqError
from dopq.job import StateName
from environment import BASE_IMAGE, CHECKOUT, ENGINE, STATE, VENV, SetupError, install
from private_engine import PrivateEngine, PrivateEngineError
from watched_job import WatchedJob

HOME = STATE / "quickstart"
CONFIG = HOME / "config.toml"
NODE_LOG = HOME / "node.log"
NODE_FILE = HOME / "state" / "node.json"
KEPT = HOME / "kept"  # process id of a node that is to go on
SHARE = HOME / "share"
EXAMPLE = CHECKOUT / "examples" / "iris"
USER = "demo"

PULL_LIMIT_S = 120.0
NODE_LIMIT_S = 30.0
LOOK_EVERY_S = 0.05


class Told:
    """Says each phase with its seconds; people read standard output, or standard error when that is for JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._out = sys.stderr if as_json else sys.stdout
        self.began = float(os.environ.get("DOPQ_QUICKSTART_BEGAN", time.time()))
        self._phase_began = self.began
        self.seconds: dict[str, float] = {}

    def phase(self, name: str, outcome: str) -> None:
        """A phase has ended."""
        now = time.time()
        self.seconds[name] = round(now - self._phase_began, 2)
        self._phase_began = now
        self.line(f"{self.seconds[name]:6.1f} s  {name.replace('_', ' '):<12} {outcome}")

    def line(self, text: str) -> None:
        """Say one line."""
        print(text, file=self._out, flush=True)

    def aside(self, text: str) -> None:
        """Say what goes on within a phase."""
        self.line(f"{'':10}{text}")


def main(arguments: list[str]) -> int:
    """Run it all; 0 when the job succeeded, 1 when not, 2 when the machine lacks something."""
    options = _options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    HOME.mkdir(parents=True, exist_ok=True)
    told = Told(as_json=options.json)
    try:
        if options.stop:
            return _stop(told)
        summary = run(told, keep=options.keep)
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


def run(told: Told, *, keep: bool) -> dict[str, Any]:
    """Set up, run the example, take down; the summary for programs."""
    told.phase("environment", f"{VENV.name} is ready")
    with ExitStack() as stack:
        url = _engine(told, stack, keep=keep)
        _base_image(told, DockerEngine(url))
        user = _node(told, stack, url, keep=keep)
        summary = _job(told, Path(user["inbox"]))
        if keep:
            _say_how_to_go_on(told, user)
    told.phase("take_down", "the node goes on" if KEPT.exists() else "the node has stopped; images and results stay")
    return {**summary, "seconds": {**told.seconds, "total": round(time.time() - told.began, 2)}}


# --- engine -----------------------------------------------------------------------------------------------------------


def _engine(told: Told, stack: ExitStack, *, keep: bool) -> str:
    """Address of the machine's own Docker engine, or of a private one that lives as long as `stack`."""
    if url := find_engine(os.environ):
        told.phase("engine", f"the one at {url}")
        return url
    if os.geteuid() == 0:
        install(ENGINE)
    engine = stack.enter_context(PrivateEngine(HOME / "engine", keep=keep))
    told.phase("engine", f"a private one at {engine.url}")
    return engine.url


def _base_image(told: Told, engine: DockerEngine) -> None:
    """See to it that the image which the example starts from can be had."""
    reference = _from_line(EXAMPLE / "Dockerfile")
    if engine.image(reference):
        told.phase("base_image", f"{reference} is there")
    elif _registry_has(engine, reference):
        told.phase("base_image", f"{reference} comes from its registry")
    else:
        told.aside(f"no registry hands out {reference}: making it from this machine's package mirror (a minute)")
        install(BASE_IMAGE)
        bootstrap(engine, reference, STATE / "cache", told.aside)
        told.phase("base_image", f"{reference} made here")


def _from_line(dockerfile: Path) -> str:
    return next(line.split()[1] for line in dockerfile.read_text().splitlines() if line.upper().startswith("FROM "))


def _registry_has(engine: DockerEngine, reference: str) -> bool:
    """Fetch the image the way that a job's own build will."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        text = f"FROM {reference}\nLABEL dopq.quickstart=probe\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    context.seek(0)
    probe = "dopq-quickstart/probe:1"
    try:
        engine.build(
            context, tag=probe, labels={}, log=lambda _: None, cancelled=threading.Event(), timeout_s=PULL_LIMIT_S
        )
    except BuildFailed:
        return False
    engine.remove_image(probe)
    return True


# --- node -------------------------------------------------------------------------------------------------------------


def _node(told: Told, stack: ExitStack, engine_url: str, *, keep: bool) -> dict[str, Any]:
    """Name, inbox and token of a user of a running node: of one that `--keep` left, or of a new one."""
    if kept := _kept_node():
        told.phase("node", f"the one that was kept, process {kept}")
        return _user()
    _dopq(
        "shutdown_queue", f"--config={CONFIG}", check=False
    )  # one whose starter was killed is stopping by itself: wait for its end
    settings = {
        "node.state": HOME / "state",
        "node.share": SHARE,
        "remote.nameserver_port": _free_port(),
        "engine.url": engine_url,
    }
    _dopq("config", "write", str(CONFIG), "--force", *(f"--set={key}={value}" for key, value in settings.items()))
    user = _user()
    process = stack.enter_context(_serving(keep=keep))
    deadline = time.monotonic() + NODE_LIMIT_S
    while not NODE_FILE.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
    if not NODE_FILE.exists():
        last = "\n".join(NODE_LOG.read_text(errors="replace").splitlines()[-12:])
        raise SetupError(f"The node does not start; {NODE_LOG} ends with:\n{last}")
    told.phase("node", f"process {process.pid}, its share is {SHARE}")
    return user


def _kept_node() -> int | None:
    """Process id of the node that an earlier `--keep` left running; None when there is none."""
    try:
        kept, facts = KEPT.read_text(), json.loads(NODE_FILE.read_text())
        command = Path(f"/proc/{kept}/cmdline").read_bytes()
    except FileNotFoundError:
        return None
    return int(kept) if str(facts["pid"]) == kept and bytes(CONFIG) in command else None


@contextmanager
def _serving(*, keep: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A node for the time of the body, or longer with `keep`; without, it stops when we are killed, too."""
    NODE_FILE.unlink(missing_ok=True)
    KEPT.unlink(missing_ok=True)
    with_us = [] if keep else ["setpriv", "--pdeathsig=TERM"]
    with NODE_LOG.open("wb") as log:
        process = subprocess.Popen(
            [*with_us, str(VENV / "bin" / "dopq"), "serve", "--config", str(CONFIG)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: we stop the node, then the engine
        )
    try:
        yield process
    except BaseException:
        _end(process)
        raise
    if keep:
        KEPT.write_text(str(process.pid))
    else:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(NODE_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _user() -> dict[str, Any]:
    """Register the user, or give the one from an earlier run a new token."""
    added = _dopq("user", "add", USER, f"--config={CONFIG}", "--json", check=False)
    if added.returncode != 0:
        added = _dopq("user", "passwd", USER, f"--config={CONFIG}", "--json")
    return {"inbox": str(SHARE / "inbox" / USER), **json.loads(added.stdout)}


def _dopq(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `dopq` with these arguments."""
    command = [str(VENV / "bin" / "dopq"), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
    if check and done.returncode != 0:
        raise SetupError(f"dopq {arguments[0]} failed with exit code {done.returncode}: {done.stderr.strip()}")
    return done


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(told: Told) -> int:
    """Stop what `--keep` left running."""
    _dopq("shutdown_queue", f"--config={CONFIG}", check=False)
    KEPT.unlink(missing_ok=True)
    if os.geteuid() == 0:
        PrivateEngine(HOME / "engine").stop()
    told.line("Stopped. Images and results stay in .dopq/; remove that folder to be rid of them.")
    return 0


# --- job --------------------------------------------------------------------------------------------------------------


def _job(told: Told, inbox: Path) -> dict[str, Any]:
    """Drop the example into the inbox, follow the job through its folder in the share, and sum it up."""
    outbox = SHARE / "outbox" / USER
    known = set(outbox.glob("*"))
    _drop(EXAMPLE, inbox)
    told.line(f"{'':10}dropped {EXAMPLE.relative_to(CHECKOUT)} as {inbox / EXAMPLE.name}.zip")
    job = WatchedJob(outbox, known, told.aside)
    status = job.follow()
    told.phase("job", f"{status['state']}: {(status['reason'] or {}).get('sentence', '')}")
    files = job.output_files()
    told.line(f"{'':10}outputs in {job.folder / 'output'}:")
    for file in files:
        told.aside(f"  {file.relative_to(job.folder / 'output')} ({file.stat().st_size} bytes)")
    told.seconds |= job.seconds(status)
    return {
        "schema_version": 1,
        "job": status["id"],
        "state": status["state"],
        "exit_code": status["exit_code"],
        "reason": status["reason"],
        "folder": str(job.folder),
        "output_files": [str(file.relative_to(job.folder)) for file in files],
    }


def _drop(bundle: Path, inbox: Path) -> None:
    """Zip a folder into the inbox; it appears there whole, though the node would also wait for one that grows."""
    unfinished = HOME / "bundle.zip"
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(bundle.rglob("*")):
            archive.write(path, path.relative_to(bundle))
    unfinished.replace(inbox / f"{bundle.name}.zip")


def _say_how_to_go_on(told: Told, user: dict[str, Any]) -> None:
    address = json.loads(NODE_FILE.read_text())["nameserver"]
    told.line(f"""
The node goes on. Drop bundles into {user["inbox"]}, or:
  export DOPQ_HOST={address} DOPQ_TOKEN={user["token"]}
  .venv/bin/dopq-client submit examples/iris
  .venv/bin/dopq-client status
  scripts/quickstart.sh --stop
""")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
