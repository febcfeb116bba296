"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dopq.utils.files import TEMPORARY_PREFIX, append_rest, fsync_folder, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_text_is_written_as_utf_8_and_bytes_as_they_are(tmp_path: Path) -> None:
    write_atomic(tmp_path / "text", "Grüße\n")
    write_atomic(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == b"Gr\xc3\xbc\xc3\x9fe\n"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["bytes", "text"]


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    target = tmp_path / "state"
    write_atomic(target, "a long first version")
    write_atomic(target, "second")
    assert target.read_text() == "second"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_the_mode_is_as_asked_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "state", "x", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == mode


def test_a_link_at_the_target_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "status.json"
    link.symlink_to(victim)
    write_atomic(link, "new")
    assert victim.read_text() == "precious"
    assert not link.is_symlink()
    assert link.read_text() == "new"


def test_whoever_had_the_old_file_open_still_reads_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "state"
    write_atomic(target, "old")
    with target.open() as reader:
        write_atomic(target, "new")
        assert reader.read() == "old"


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "inside").touch()
    with pytest.raises(OSError, match="taken"):
        write_atomic(folder, "x")
    assert names(tmp_path) == ["taken"]


def test_a_full_disk_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path; from dopq.utils.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"  # the kernel then refuses as for a full disk
        "write_atomic(Path(sys.argv[1]), b'x' * 5000)\n"
    )
    target = tmp_path / "state"
    write_atomic(target, "old")
    done = run_python(script, target)
    assert done.returncode == 1
    assert b"OSError" in done.stderr
    assert target.read_text() == "old"
    assert names(tmp_path) == ["state"]


def test_a_writer_killed_before_the_last_step_harms_neither_this_save_nor_the_next(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from dopq.utils.files import write_atomic\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "write_atomic(Path(sys.argv[1]), 'half-way')\n"
    )
    target = tmp_path / "state"
    write_atomic(target, "old")
    assert run_python(script, target).returncode == -signal.SIGKILL
    left_over = [name for name in names(tmp_path) if name != "state"]
    assert len(left_over) == 1
    assert left_over[0].startswith(TEMPORARY_PREFIX)
    assert target.read_text() == "old"
    write_atomic(target, "new")
    assert target.read_text() == "new"


def test_writers_at_the_same_time_leave_one_whole_version(tmp_path: Path) -> None:
    target = tmp_path / "state"
    versions = [str(digit) * 50_000 for digit in range(4)]
    seen: list[str] = []

    def write_often(version: str) -> None:
        for _ in range(10):
            write_atomic(target, version)
            seen.append(target.read_text())

    threads = [threading.Thread(target=write_often, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 40
    assert set(seen) <= set(versions)
    assert names(tmp_path) == ["state"]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "state", "x")
    with pytest.raises(FileNotFoundError):
        fsync_folder(tmp_path / "nowhere")


def test_a_file_system_that_syncs_no_folders_is_fine(tmp_path: Path) -> None:
    fsync_folder(Path("/proc"))  # refuses with EINVAL, as network shares do


def run_python(script: str, *arguments: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, check=False, capture_output=True, timeout=30)


# --- going on with a stream ---


class BrokenOffError(Exception):
    """What a test throws where a stream ends early."""


@given(st.lists(st.binary(max_size=20), max_size=10), st.lists(st.integers(0, 10), max_size=4))
def test_a_stream_that_begins_anew_is_there_once_however_often_it_was_broken_off(
    chunks: list[bytes], ends: list[int]
) -> None:
    def stream(end: int) -> Iterator[bytes]:
        yield from chunks[:end]
        raise BrokenOffError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        for end in ends:
            with suppress(BrokenOffError):
                append_rest(path, stream(end))
        append_rest(path, chunks)
        assert path.read_bytes() == b"".join(chunks)


def test_a_stream_goes_on_in_the_midst_of_a_chunk(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"epo")
    append_rest(tmp_path / "log", [b"epoch 1\n", b"epoch 2\n"])
    assert (tmp_path / "log").read_bytes() == b"epoch 1\nepoch 2\n"
