"""The inside of a private engine: the first process of its own PID and mount namespace (see `private_engine.py`).

Everything the engine starts lives in these namespaces, so the kernel ends all of it with this process: dockerd,
containerd, shims, containers, mounts, the bridge and its firewall rules. Only the standard library is needed.

    unshare --pid --fork --mount ... private_engine_inside.py FOLDER OWNER CGROUP
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

KEPT = "kept"  # stands for the starter's pid where the engine outlives its starter
LOCK_HELD = 3  # exit code: another process serves this folder
GRACE_S = 3  # from SIGTERM to SIGKILL of dockerd, which stops its containers meanwhile

CONTAINERD_CONFIG = """
version = 2
root = "{data}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/containerd.sock"
"""  # cri is for Kubernetes; opt would make /opt/containerd on the machine
SLIRP_DNS = "10.0.2.3"  # slirp4netns(1): the built-in forwarder to the machine's own name server


def main(folder: Path, owner: str, cgroup: str) -> int:
    """Serve `folder` until SIGTERM
    (unless `owner` is KEPT) the end of standard input, or dockerd's own end."""
    lock = take_lock(folder / "lock", owner)
    if lock is None:
        return LOCK_HELD
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by default the first process of a namespace ignores it
    remove_cgroups(cgroup)
    data, network = folder / "data", folder / "net"
    data.mkdir(mode=0o710, exist_ok=True)
    slirp = make_network(network)
    make_view(SLIRP_DNS if slirp else "")
    Path("/run/containerd.toml").write_text(CONTAINERD_CONFIG.format(data=data))
    containerd = ["containerd", "--config=/run/containerd.toml", "--log-level=warn"]
    dockerd = [
        *("dockerd", f"--host=unix://{folder / 'docker.sock'}", f"--data-root={data}", f"--cgroup-parent=/{cgroup}"),
        *("--containerd=/run/containerd/containerd.sock", "--exec-opt=native.cgroupdriver=cgroupfs"),
        *storage_driver(data),
    ]
    parts = [subprocess.Popen(["nsenter", f"--net={network}", *part]) for part in (dockerd, containerd)]
    code = wait_for([part.pid for part in (*parts, slirp) if part], lifeline=owner != KEPT)
    end_all_others()
    remove_cgroups(cgroup)
    (folder / "docker.sock").unlink(missing_ok=True)
    return code


def take_lock(path: Path, owner: str) -> int | None:
    """Lock the file for the rest of this process's life; None when another process has it.

    A POSIX record lock on purpose: the kernel itself names its living holder (fcntl(2), F_GETLK), so that nobody
    ever has to trust a pid that was written down.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    os.ftruncate(lock, 0)
    os.write(lock, owner.encode())
    return lock


def make_network(network: Path) -> subprocess.Popen[bytes] | None:
    """Make a network namespace, held by the file `network`, and connect it to the outside through slirp4netns.

    That forwards in user space, without a change to the machine's own network. None when it cannot be had.
    """
    network.touch()
    subprocess.run(["unshare", f"--net={network}", "true"], check=True)
    ready, tell = os.pipe()
    # A mount namespace of its own: it needs the machine's resolv.conf, not the one that we make for dockerd.
    command = ["unshare", "--mount", "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback"]
    command += [f"--ready-fd={tell}", "--netns-type=path", str(network), "tap0"]
    slirp = subprocess.Popen(command, pass_fds=[tell])
    os.close(tell)
    if os.read(ready, 1) == b"1":
        return slirp
    print("private engine: without slirp4netns containers have no outside network", file=sys.stderr)
    return None


def make_view(name_server: str) -> None:
    """Give the daemons a /run of their own, and an /etc that takes writes in memory.

    They write sockets, shims and a firewall lock below /run, and /etc/docker/key.json; the system engine's
    /etc/docker/daemon.json is not for us.
    """
    resolv_conf = Path("/etc/resolv.conf")
    resolved = f"nameserver {name_server}\n" if name_server or not resolv_conf.exists() else resolv_conf.read_text()
    mount("tmpfs", "/run", "mode=755")
    for part in ("upper", "work"):
        Path("/run/etc", part).mkdir(parents=True)
    mount("overlay", "/etc", "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work")
    Path("/etc/docker").mkdir(exist_ok=True)
    mount("tmpfs", "/etc/docker", "mode=755")
    resolv_conf.unlink(missing_ok=True)  # often a link into /run
    resolv_conf.write_text(resolved)


def mount(kind: str, target: str, options: str) -> None:
    """Mount a file system that has no device."""
    subprocess.run(["mount", "-t", kind, "-o", options, f"dopq-{kind}", target], check=True)


def storage_driver(data: Path) -> list[str]:
    """Ask for overlay2 where the data folder's file system can carry it; else leave the choice to dockerd."""
    with tempfile.TemporaryDirectory(dir=data, prefix="overlay-probe-") as probe:
        for part in ("lower", "upper", "work", "merged"):
            Path(probe, part).mkdir()
        try:
            mount("overlay", f"{probe}/merged", f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work")
        except subprocess.CalledProcessError:
            return []
        subprocess.run(["umount", f"{probe}/merged"], check=True)
    return ["--storage-driver=overlay2"]


def wait_for(parts: list[int], *, lifeline: bool) -> int:
    """Reap every child until the first of the engine's parts has ended, and return its exit code.

    The first in the list is dockerd: a request to stop is passed on to it, since it needs the others to stop well.
    """
    dockerd = parts[0]

    def stop(*_: object) -> None:
        os.kill(dockerd, signal.SIGTERM)
        signal.alarm(GRACE_S)

    signal.signal(signal.SIGALRM, lambda *_: os.kill(dockerd, signal.SIGKILL))
    signal.signal(signal.SIGTERM, stop)
    if lifeline:
        # Not PR_SET_PDEATHSIG: that one follows the thread which started us, not its process.
        threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid in parts:
            return os.waitstatus_to_exitcode(status)


def stop_at_end_of_input() -> None:
    """Standard input is a pipe from the starter: it ends when the starter does, by kill -9 as well."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def end_all_others() -> None:
    """Kill and reap whatever else runs in this PID namespace."""
    signal.alarm(0)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def remove_cgroups(name: str) -> None:
    """Remove the empty control groups below `name` in every hierarchy (cgroup v1 and v2)."""
    root = Path("/sys/fs/cgroup")
    for top in {*root.glob(name), *root.glob(f"*/{name}")}:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # gone already (v1: cpu and cpuacct may be one), or still in use
                Path(folder).rmdir()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
