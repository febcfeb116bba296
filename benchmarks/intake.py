"""How quick and how large the intake is: a real node, a real engine of its own, a real share.

    .venv/bin/python benchmarks/intake.py [--json] [--bundles 1000]

Needs root, Docker (dockerd), busybox-static and unzip; the machine's own Docker is left alone. What is timed is what a
user sees: from the rename into the inbox to the file in the share that tells the outcome, with `settle_s` at 0.2. It
takes about a minute and a half on two cores.
"""

# ruff: noqa: E402 - what of the checkout is not installed is found by the path that is set first

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "scripts")]

from benchmarks.bench_node import BASE, USER, BenchNode, bench_node, until
from benchmarks.table import Row, row_of, show, single
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.gate import Gate
from dopq.container_handler.rules import Rules
from tests.bundles import Content

GOOD: dict[str, Content] = {
    "Dockerfile": f'FROM {BASE}\nCOPY run.sh /run.sh\nCMD ["sh", "/run.sh"]\n',
    "run.sh": "echo fine\n",
}
BAD: dict[str, Content] = {**GOOD, "container_config.json": '{"num_gpus": true, "nmae": "x"}'}
TIMES = 20
PIECE_EVERY_S = 0.1
ARCHIVE_FILES, ARCHIVE_FILE_BYTES = 200, 2**20


def main(arguments: list[str]) -> int:
    """Measure everything, print a table or JSON; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description="How quick and how large the intake is.")
    parser.add_argument("--json", action="store_true", help="JSON alone on standard output")
    parser.add_argument("--bundles", type=int, default=1000, help="how many are dropped at once (1000)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="dopq-bench-") as folder:
        rows = list(gate_rows(Path(folder)))
        with bench_node(Path(folder), "intake.settle_s=0.2") as node:
            rows += [cached_row(node), *refusal_rows(node), *crowd_rows(node, options.bundles)]
    return show(rows, as_json=options.json)


def cached_row(node: BenchNode) -> Row:
    """One bundle at a time, whose content was built before."""
    drop_seconds(node, "first.zip", GOOD, node.queued)
    seconds = [drop_seconds(node, f"again{n:02}.zip", GOOD, node.queued) for n in range(TIMES)]
    return row_of("drop to queued, image cached", seconds, goal=1.0)


def refusal_rows(node: BenchNode) -> Iterator[Row]:
    """One bad bundle at a time."""
    renamed = [drop_seconds(node, f"bad{n:02}.zip", BAD, node.refused) for n in range(TIMES)]
    yield row_of("refusal after a rename into place", renamed, goal=0.5)
    copied = [slow_copy_seconds(node, f"slow{n:02}.zip") for n in range(TIMES // 2)]
    yield row_of("refusal after the last byte of a slow copy", copied, goal=2.0)


def drop_seconds(node: BenchNode, name: str, files: dict[str, Content], told: Callable[[str], bool]) -> float:
    """From the rename into the inbox until the share tells the outcome."""
    staged = node.stage(name, files)
    time.sleep(random.uniform(0.5, 1.0))  # so that the looks at the inbox do not keep step with the drops
    began = time.monotonic()
    staged.rename(node.inbox / name)
    until(lambda: told(name))
    return time.monotonic() - began


def slow_copy_seconds(node: BenchNode, name: str) -> float:
    """From the last byte written until the share tells the refusal."""
    content = node.stage(name, BAD).read_bytes()
    with (node.inbox / name).open("wb", buffering=0) as file:
        for at in range(0, len(content), 100):
            time.sleep(PIECE_EVERY_S)
            file.write(content[at : at + 100])
    began = time.monotonic()
    until(lambda: node.refused(name))
    return time.monotonic() - began


def crowd_rows(node: BenchNode, number: int) -> Iterator[Row]:
    """Bundles of one program with different inputs, so that one image serves them all."""
    staged = [node.stage(f"crowd{n:05}.zip", {**GOOD, "input/n.txt": str(n)}) for n in range(number)]
    before = node.number_queued()
    with node.provider_memory() as peak:
        began = time.monotonic()
        for path in staged:
            path.rename(node.inbox / path.name)
        until(lambda: node.number_queued() >= before + number, every_s=0.1)
        seconds = time.monotonic() - began
    yield single(f"{number} bundles at once, until all are queued", "s", seconds)
    yield single(f"{number} bundles at once", "bundles/s", number / seconds)
    yield single("memory of the Provider, highest", "MiB", peak["own"] / 2**20)
    yield single("... with all its children", "MiB", peak["all"] / 2**20, "shared pages counted for each")


def gate_rows(folder: Path) -> Iterator[Row]:
    """The archive gate against unzip on the same file, in turns; both are told the same number of unpacked bytes."""
    archive, size = large_archive(folder / "large.zip")
    gate, rules = Gate(), Rules(defaults=SpecDefaults(gpus=0, max_time_limit_s=3600))
    unzip_s, gate_s = [], []
    for _ in range(3):
        into, work = folder / "unzipped", folder / "work"
        began = time.monotonic()
        subprocess.run(["unzip", "-q", str(archive), "-d", str(into)], check=True)
        unzip_s.append(time.monotonic() - began)
        began = time.monotonic()
        gate.prepare(archive, work, bundle_name=archive.name, default_name="a", user=USER, rules=rules, labels={})
        gate_s.append(time.monotonic() - began)
        shutil.rmtree(into)
        shutil.rmtree(work)
    gate.close()
    archive.unlink()
    speeds = [[size / 1e6 / seconds for seconds in every] for every in (gate_s, unzip_s)]
    for what, speed in zip(("archive gate: check and write", "unzip of the same file"), speeds, strict=True):
        yield Row(what, "MB/s", statistics.median(speed), min(speed), note="unpacked bytes, 3 times")
    ratios = [ours / theirs for ours, theirs in zip(*speeds, strict=True)]
    yield Row("archive gate: times unzip's speed", "ratio", statistics.median(ratios), min(ratios))


def large_archive(path: Path) -> tuple[Path, int]:
    """Half of it text that packs well, half noise that does not; and the bytes that it unpacks to."""
    chance = random.Random(7)  # the same file on every machine
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(2000)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Dockerfile", GOOD["Dockerfile"])
        for n in range(ARCHIVE_FILES):
            text = b" ".join(chance.choices(words, k=ARCHIVE_FILE_BYTES // 9))
            archive.writestr(f"data/{n:03}", text if n % 2 else chance.randbytes(ARCHIVE_FILE_BYTES))
        return path, sum(info.file_size for info in archive.infolist())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
