"""What only a real Docker engine shows: the limits that hold inside, what builds leave, and an engine that is gone."""

from __future__ import annotations

import io
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from dopq.container_handler import docker_connection
from dopq.container_handler import docker_engine as docker_engine_module
from dopq.container_handler.docker_engine import DockerEngine, find_engine
from dopq.container_handler.engine import ContainerEngine, ContainerName, ContainerRequest, Exited
from dopq.errors import BuildFailed, DopqError, EngineRefused, EngineUnavailable
from dopq.job import ImageId, Mount
from tests.integration.test_engine_contract import LONG_S, SLEEPER, Bench, dockerfile

engine_needed = pytest.mark.engine
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def bench(docker_engine: DockerEngine, busybox_image: str, unique: str) -> Iterator[Bench]:
    bench = Bench(docker_engine, busybox_image, f"{unique}-docker")
    yield bench
    bench.tidy()


@pytest.fixture
def client(engine_url: str) -> Iterator[docker.APIClient]:
    """Docker seen past our own adapter."""
    client = docker.APIClient(base_url=engine_url)
    yield client
    client.close()


def shell(bench: Bench, script: str, **settings: object) -> tuple[int, str]:
    """Exit code and output of a script in a container."""
    request = ContainerRequest(bench.name(), bench.image, command=("/bin/sh", "-c", script), labels={}, **settings)  # type: ignore[arg-type]
    bench.engine.create(request)
    bench.engine.start(request.name)
    end = bench.engine.wait(request.name, LONG_S)
    assert isinstance(end, Exited)
    return end.exit_code, b"".join(piece.data for piece in bench.engine.log(request.name)).decode()


def wait_until(condition: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# --- inside a container ------------------------------------------------------------------------------------------------


@engine_needed
def test_a_process_can_gain_no_privileges(bench: Bench) -> None:
    _, status = shell(bench, "cat /proc/self/status")
    assert "NoNewPrivs:\t1" in status


@engine_needed
def test_not_even_root_has_a_capability(bench: Bench) -> None:
    _, status = shell(bench, "cat /proc/self/status", user="0:0")
    assert [line for line in status.splitlines() if line.startswith("Cap")] == [
        f"Cap{name}:\t0000000000000000" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    ]


@engine_needed
def test_memory_and_swap_have_one_limit_and_cores_are_shared_by_what_was_asked(
    bench: Bench, client: docker.APIClient
) -> None:
    name = bench.started(SLEEPER, memory_bytes=64 << 20, cpus=2.0)
    host = client.inspect_container(name)["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 64 << 20
    assert (host["CpuShares"], host["NanoCpus"]) == (2048, 2_000_000_000)
    assert (host["IpcMode"], host["CgroupnsMode"], host["Runtime"]) == ("private", "private", "runc")
    assert not host["Privileged"]
    assert host["RestartPolicy"]["Name"] == "no"


@engine_needed
def test_a_process_that_forks_without_end_meets_its_limit(bench: Bench) -> None:
    script = "i=0; while test $i -lt 40; do sleep 5 & i=$((i+1)); done; echo forked all"
    code, text = shell(bench, script, pids_limit=20)
    assert code != 0
    assert "forked all" not in text


@engine_needed
def test_a_job_without_network_has_only_itself(bench: Bench) -> None:
    _, text = shell(bench, "cat /proc/net/dev")
    assert [line.split(":")[0].strip() for line in text.splitlines()[2:]] == ["lo"]


@engine_needed
def test_containers_of_the_network_of_jobs_do_not_reach_each_other(
    bench: Bench, client: docker.APIClient, unique: str
) -> None:
    network = f"{unique}-net"
    assert [bench.engine.provide_network(network) for _ in range(2)] == [True, False]
    try:
        listens = "busybox nc -l -p 7000 -e busybox echo reached"
        name = bench.name()
        command = ("/bin/sh", "-c", f"{listens} & wait")
        bench.engine.create(ContainerRequest(name, bench.image, labels={}, command=command, network=network))
        bench.engine.start(name)
        address = client.inspect_container(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
        itself = f"until busybox nc -w 1 127.0.0.1 7000; do sleep 0.1; done & {listens}; wait"
        assert "reached" in shell(bench, itself, network=network)[1], "the test's tools work"
        code, text = shell(bench, f"busybox nc -w 2 {address} 7000", network=network)
        assert code != 0
        assert "reached" not in text
    finally:
        bench.tidy()
        client.remove_network(network)


@engine_needed
@pytest.mark.parametrize("pruned", ["before it is created", "before it is started"])
def test_a_container_whose_network_somebody_pruned_starts_once_both_are_made_anew(
    bench: Bench, client: docker.APIClient, unique: str, pruned: str
) -> None:
    network = f"{unique}-pruned"
    bench.engine.provide_network(network)
    request = ContainerRequest(bench.name(), bench.image, labels={}, command=("/bin/true",), network=network)

    def begin() -> None:
        bench.engine.create(request)
        bench.engine.start(request.name)

    try:
        if pruned == "before it is started":
            bench.engine.create(request)
        client.remove_network(network)
        with pytest.raises(EngineRefused, match=network):
            begin()
        assert bench.engine.provide_network(network)
        bench.engine.remove(request.name)
        begin()
    finally:
        bench.tidy()
        client.remove_network(network)


@engine_needed
def test_a_network_that_lets_containers_reach_each_other_is_not_taken_for_one(
    bench: Bench, client: docker.APIClient, unique: str
) -> None:
    network = f"{unique}-open"
    client.create_network(network)
    try:
        with pytest.raises(EngineRefused, match="reach each other"):
            bench.engine.provide_network(network)
    finally:
        client.remove_network(network)


@engine_needed
def test_shared_memory_has_the_size_that_was_asked(bench: Bench) -> None:
    _, text = shell(bench, "cat /proc/mounts", shm_bytes=8 << 20)
    (mount,) = [line for line in text.splitlines() if " /dev/shm " in line]
    assert "size=8192k" in mount


@engine_needed
def test_inputs_cannot_be_written_and_outputs_come_back(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "data").write_text("42")
    mounts = (Mount(str(tmp_path / "in"), "/input"), Mount(str(tmp_path / "out"), "/output", read_only=False))
    code, text = shell(bench, "cat /input/data > /output/data && echo spoiled > /input/data", mounts=mounts)
    assert code != 0
    assert "Read-only file system" in text
    assert (tmp_path / "out" / "data").read_text() == "42"
    assert (tmp_path / "in" / "data").read_text() == "42"


@engine_needed
def test_a_folder_that_is_not_there_is_refused_and_not_made(bench: Bench, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(EngineRefused, match="bind source path does not exist"):
        shell(bench, "true", mounts=(Mount(str(missing), "/input"),))
    assert not missing.exists()


@engine_needed
def test_settings_reach_the_process(bench: Bench) -> None:
    settings = {"environment": {"SEED": "a b=c"}, "working_dir": "/tmp", "hostname": "here"}
    _, text = shell(bench, 'echo "$SEED $(pwd) $(cat /proc/sys/kernel/hostname) $NVIDIA_VISIBLE_DEVICES"', **settings)
    assert text == "a b=c /tmp here void\n"


@engine_needed
def test_a_stop_signal_of_ones_own_is_sent(bench: Bench) -> None:
    script = "trap 'echo told; exit 5' USR1; echo begun; while true; do sleep 0.05; done"
    name = bench.name()
    command = ("/bin/sh", "-c", script)
    bench.engine.create(ContainerRequest(name, bench.image, labels={}, command=command, stop_signal="SIGUSR1"))
    bench.engine.start(name)
    log = bench.engine.log(name)
    next(log)
    bench.engine.stop(name, grace_s=20)
    assert b"".join(piece.data for piece in log) == b"told\n"
    end = bench.engine.observe(name)
    assert isinstance(end, Exited)
    assert end.exit_code == 5


# --- what an image says of itself -----------------------------------------------------------------------------------------

SAYING = (
    "ENV NVIDIA_VISIBLE_DEVICES=all CUDA_VISIBLE_DEVICES=7 LD_PRELOAD=/evil.so LD_AUDIT=/evil.so KEPT=1 HOME=/root",
    "LABEL dopq.test.job=99 dopq.test.node=theirs",
    "VOLUME /output /output/deep /elsewhere",
    "STOPSIGNAL SIGKILL",
    "HEALTHCHECK --interval=1s CMD touch /output/checked",
    "USER root",
)


@engine_needed
def test_what_an_image_says_of_itself_does_not_count_in_a_container(
    builder: Bench, client: docker.APIClient, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    _, image = builder.build(f"FROM {builder.base}", *SAYING)
    script = "env; busybox id -u; busybox id -g; echo out > /output/file; echo begun; exec sleep 600"
    request = ContainerRequest(
        builder.name(),
        image,
        labels={"dopq.test.job": "1"},
        command=("/bin/sh", "-c", script),
        environment={"HOME": "/tmp"},
        user="65534:65533",
        mounts=(Mount(str(tmp_path), "/output", read_only=False),),
    )
    builder.engine.create(request)
    builder.engine.start(request.name)
    wait_until((tmp_path / "file").exists)
    assert builder.engine.containers({"dopq.test.job": "99"}) == {}
    assert set(builder.engine.containers({"dopq.test.job": "1"})) >= {request.name}
    seen = client.inspect_container(request.name)
    assert "Health" not in seen["State"]
    anonymous = {mount["Name"] for mount in seen["Mounts"] if mount["Type"] == "volume"}
    assert anonymous, "the image asks for some"
    builder.engine.stop(request.name, grace_s=20)
    end = builder.engine.observe(request.name)
    assert isinstance(end, Exited)
    assert end.exit_code == 128 + signal.SIGTERM
    said = set(b"".join(piece.data for piece in builder.engine.log(request.name)).decode().splitlines())
    assert {"NVIDIA_VISIBLE_DEVICES=void", "HOME=/tmp", "KEPT=1", "65534", "65533"} <= said
    assert not [line for line in said if line.startswith(("CUDA_VISIBLE_DEVICES", "LD_"))]
    assert (tmp_path / "file").stat().st_uid == 65534
    builder.engine.remove(request.name)
    assert anonymous.isdisjoint(volume["Name"] for volume in client.volumes()["Volumes"] or [])


# --- builds ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["buildkit", "classic"])
def builder(request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    if request.param == "classic":
        monkeypatch.setattr(docker_engine_module, "_has_buildkit", lambda _: False)
    return bench


@engine_needed
def test_a_built_image_carries_its_labels(builder: Bench, client: docker.APIClient) -> None:
    tag, _ = builder.build(f"FROM {builder.base}", f"RUN echo {builder.prefix}")
    assert client.inspect_image(tag)["Config"]["Labels"]["dopq.test"] == builder.prefix


@engine_needed
def test_a_build_that_was_broken_off_leaves_no_container(builder: Bench, client: docker.APIClient) -> None:
    def left() -> list[object]:
        return [c for c in client.containers(all=True) if marker in c["Command"]]

    marker = f"mark-{builder.prefix}"
    said, cancelled = list[bytes](), threading.Event()

    def cancel_once_it_runs(text: bytes) -> None:
        said.append(text)
        if b"begun\n" in text:
            cancelled.set()

    step = f"RUN echo {marker} > /dev/null; echo begun; sleep 600"
    with pytest.raises(BuildFailed, match="cancelled"):
        builder.build(f"FROM {builder.base}", step, log=cancel_once_it_runs, cancelled=cancelled)
    assert any(b"begun\n" in text for text in said)
    wait_until(lambda: not left())


@engine_needed
def test_a_build_with_a_memory_limit_is_held_to_it(bench: Bench, client: docker.APIClient) -> None:
    """So it is not left to BuildKit, which takes no limit. The step's shell outlives what the kernel kills."""
    marker = f"mark-{bench.prefix}"
    hungry = f"RUN echo {marker}; busybox head -c 100000000 /dev/zero | busybox tail > /dev/null || exit 9"
    bench.build(f"FROM {bench.base}", hungry)
    with pytest.raises(BuildFailed, match="exit code"):
        bench.build(f"FROM {bench.base}", hungry, memory_bytes=32 << 20)
    wait_until(lambda: not [c for c in client.containers(all=True) if marker in c["Command"]])


@engine_needed
def test_what_build_steps_cache_is_for_later_builds_of_the_same_user_alone(bench: Bench) -> None:
    def finds(tag: str) -> str:
        said = list[bytes]()
        bench.tags.append(tag)
        step = f"RUN --mount=type=cache,target=/cache echo {tag}; cat /cache/left; echo left by {tag} > /cache/left"
        bench.engine.build(
            dockerfile(f"FROM {bench.base}", step),
            tag=tag,
            labels={},
            log=said.append,
            cancelled=threading.Event(),
            timeout_s=LONG_S,
        )
        return b"".join(said).decode()

    alice, bob = f"{bench.prefix}/alice", f"{bench.prefix}/bob"
    assert f"left by {alice}/1\n" not in finds(f"{alice}/1").replace("echo left by", "")
    assert f"\nleft by {alice}/1\n" in finds(f"{alice}/2")
    assert f"\nleft by {alice}" not in finds(f"{bob}/1")


@engine_needed
def test_a_broken_tar_fails_the_build(builder: Bench) -> None:
    context = io.BytesIO(dockerfile(f"FROM {builder.base}").read()[:500])
    with pytest.raises((BuildFailed, EngineUnavailable)):  # the classic builder calls it a fault of its own (500)
        builder.engine.build(
            context, tag=builder.tag(), labels={}, log=lambda _: None, cancelled=threading.Event(), timeout_s=LONG_S
        )


# --- an engine that is not there ---------------------------------------------------------------------------------------

NAME = ContainerName("dopq-test-none")
VERBS: dict[str, Callable[[ContainerEngine], object]] = {
    "capacity": lambda e: e.capacity(),
    "image": lambda e: e.image("busybox"),
    "image_bytes": lambda e: e.image_bytes(ImageId("busybox")),
    "tag": lambda e: e.tag(ImageId("a"), "b:1"),
    "import_image": lambda e: e.import_image(io.BytesIO(b"x"), reference="a:1"),
    "remove_image": lambda e: e.remove_image("a:1"),
    "build": lambda e: e.build(
        dockerfile("FROM a"), tag="a:1", labels={}, log=lambda _: None, cancelled=threading.Event(), timeout_s=5
    ),
    "provide_network": lambda e: e.provide_network("dopq-test-none"),
    "create": lambda e: e.create(ContainerRequest(NAME, ImageId("a"), labels={})),
    "start": lambda e: e.start(NAME),
    "observe": lambda e: e.observe(NAME),
    "origin": lambda e: e.origin(NAME),
    "wait": lambda e: e.wait(NAME, 1),
    "log": lambda e: next(e.log(NAME)),
    "use": lambda e: e.use(NAME),
    "stop": lambda e: e.stop(NAME, 1),
    "remove": lambda e: e.remove(NAME),
    "containers": lambda e: e.containers({}),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_engine_that_is_not_there_is_unavailable_in_our_own_words(verb: str) -> None:
    with pytest.raises(EngineUnavailable, match="there is no such socket") as unavailable:
        VERBS[verb](DockerEngine(NOWHERE))
    assert unavailable.value.hint


def test_an_engine_that_breaks_off_is_unavailable(half_open_engine: str) -> None:
    for verb, call in VERBS.items():
        with pytest.raises(DopqError) as broken:
            call(DockerEngine(half_open_engine))
        assert isinstance(broken.value, EngineUnavailable), verb


def test_an_engine_that_never_answers_is_unavailable_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_connection, "CALL_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(EngineUnavailable, match="no answer in time"):
            DockerEngine(f"unix://{tmp_path / 's'}").capacity()


@pytest.fixture
def half_open_engine(tmp_path: Path) -> Iterator[str]:
    """A socket that takes every call, reads a little and hangs up."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(16)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"unix://{tmp_path / 's'}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


# --- finding an engine -------------------------------------------------------------------------------------------------


@engine_needed
def test_docker_host_names_the_engine(engine_url: str) -> None:
    assert find_engine({"DOCKER_HOST": engine_url}) == engine_url


@engine_needed
def test_a_rootless_engine_is_found(engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine_module, "STANDARD_SOCKET", NOWHERE)
    (tmp_path / "docker.sock").symlink_to(engine_url.removeprefix("unix://"))
    assert find_engine({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix://{tmp_path}/docker.sock"


def test_an_engine_that_does_not_answer_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine_module, "STANDARD_SOCKET", NOWHERE)
    assert find_engine({}) is None
    assert find_engine({"DOCKER_HOST": NOWHERE}) is None
