"""Our values in the Docker Engine API's JSON (1.41, that is 20.10, and later), and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dopq.container_handler.docker_words import plain_words
from dopq.container_handler.engine import Absent, Alive, ContainerRequest, Created, Exited, Observation, Sample
from dopq.job import Mount
from dopq.utils.gpu import is_simulated

GPUS_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
NO_GPUS = "void"
"""Hides every GPU from the NVIDIA runtime, whatever the image's own ENV says.

https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
"""

_SHARES_OF_A_CORE = 1024
"""Docker's own default for a container: where cores are short, each gets by what it asked for, 1 where it did not."""

_REMOVED = ("CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "LD_AUDIT")
"""Variables of the image that do not reach a container: a name without `=` takes them away (Engine API, `Env`).

The two of the dynamic linker are heard by the NVIDIA toolkit's hooks too, which run as root on the host
(CVE-2025-23266); which GPUs a job sees is the lease's to say.
"""

_WHOLE_LOG = {"max-size": "1000p", "max-file": "1", "compress": "false", "mode": "blocking"}
"""Unrotated, nothing dropped: `log` promises every byte from the first one, each time it is asked.

All four are said, since what is left out comes from the operator's own `log-opts` in daemon.json; no limit at all
cannot be said (https://docs.docker.com/engine/logging/drivers/json-file/).
"""


_NO_TRAFFIC_AMONG = {"com.docker.network.bridge.enable_icc": "false"}


def network_body(name: str) -> dict[str, Any]:
    """Body of `POST /networks/create`: a bridge that lets containers reach out, but not each other."""
    return {"Name": name, "CheckDuplicate": True, "Driver": "bridge", "Options": _NO_TRAFFIC_AMONG}


def keeps_apart(network: Mapping[str, Any]) -> bool:
    """Whether the network of `GET /networks/{name}` is one of `network_body`."""
    return network["Driver"] == "bridge" and _NO_TRAFFIC_AMONG.items() <= (network["Options"] or {}).items()


def container_body(request: ContainerRequest) -> dict[str, Any]:
    """Body of `POST /containers/create`."""
    return {
        "Image": request.image,
        "Labels": dict(request.labels),
        "Cmd": _listed(request.command),
        "Entrypoint": _listed(request.entrypoint),
        "Env": [*(f"{key}={value}" for key, value in _environment(request).items()), *_REMOVED],
        "WorkingDir": request.working_dir or "",
        "User": request.user or "",
        "StopSignal": request.stop_signal or "SIGTERM",
        "Hostname": "" if request.namespace else request.hostname,  # the engine refuses one beside a namespace
        "Healthcheck": {"Test": ["NONE"]},  # a job is judged by its exit code; a check would use its CPU for nothing
        "HostConfig": _host_config(request),
    }


def _host_config(request: ContainerRequest) -> dict[str, Any]:
    return {
        "Init": request.init,  # PID 1 ignores signals that it does not handle, and reaps nobody: both break stopping
        "ReadonlyRootfs": request.read_only,
        "RestartPolicy": {"Name": "no"},  # an attempt runs once; what comes after is the scheduler's to decide
        "CapDrop": ["ALL"],  # what an image does as root it does without root's rights over others' files
        "SecurityOpt": ["no-new-privileges"],
        "CgroupnsMode": "private",
        "NetworkMode": f"container:{request.namespace}" if request.namespace else request.network,
        "Mounts": [_mount(mount) for mount in request.mounts],
        "DeviceRequests": _device_requests(request),
        "Memory": request.memory_bytes or 0,
        "MemorySwap": request.memory_bytes or 0,  # memory and swap together, so equal means no swap
        "ShmSize": request.shm_bytes or 0,
        "NanoCpus": round((request.cpus or 0) * 1e9),
        "CpuShares": round((request.cpus or 1) * _SHARES_OF_A_CORE),
        "PidsLimit": request.pids_limit or 0,
        **_runtime(request),
        "LogConfig": {"Type": "json-file", "Config": _WHOLE_LOG},
    }


def _listed(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _environment(request: ContainerRequest) -> dict[str, str]:
    visible = ",".join(sorted(request.gpus)) or NO_GPUS
    return {**request.environment, GPUS_VARIABLE: visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as NVML counts


def _runtime(request: ContainerRequest) -> dict[str, str]:
    """A job without GPUs never meets the NVIDIA runtime, though that may be the engine's default one."""
    return {} if _device_requests(request) else {"Runtime": "runc"}


def _device_requests(request: ContainerRequest) -> list[dict[str, Any]]:
    """What `docker run --gpus device=UUID,...` sends; the engine picks the driver by the capability."""
    real = sorted(gpu for gpu in request.gpus if not is_simulated(gpu))
    return [{"DeviceIDs": real, "Capabilities": [["gpu"]]}] if real else []


def _mount(mount: Mount) -> dict[str, Any]:
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def observation(container: Mapping[str, Any]) -> Observation:
    """Answer of `GET /containers/{id}/json`.

    Docker keeps a container whose process could not be started as `created`, with an `Error`. We call it `Exited`,
    since it is over; its two times are when the container was made.
    """
    state = container["State"]
    made = instant(container["Created"]) or datetime.min.replace(tzinfo=UTC)
    began = instant(state["StartedAt"])
    started = began or made
    match state["Status"]:
        case "created" if not state["Error"]:
            return Created()
        case "running" | "paused" | "restarting":
            return Alive(started)
        case "removing" if began is None:
            return Absent()
    return Exited(
        exit_code=state["ExitCode"],
        started_at=started,
        # Docker takes the begin from its own clock later than the end of a very short process from the kernel's news.
        finished_at=max(instant(state["FinishedAt"]) or started, started),
        out_of_memory=state["OOMKilled"],
        error=plain_words(state["Error"]),
    )


def may_have_gone_down_with_the_engine(seen: Observation) -> bool:
    """Whether it ended as processes do that an engine ends which stops (143, 137), or finds dead as it starts (255)."""
    return isinstance(seen, Exited) and not seen.out_of_memory and not seen.error and seen.exit_code in {137, 143, 255}


def instant(text: str) -> datetime | None:
    """A time of the engine's (RFC 3339, nanoseconds are cut to microseconds) in UTC; None for Go's zero time."""
    when = datetime.fromisoformat(text)
    return None if when.year == 1 else when.astimezone(UTC)


def sample(answer: Mapping[str, Any] | None) -> Sample:
    """Answer of `GET /containers/{id}/stats`; all zero or missing when no process runs, empty when it ends just then.

    What is in use is without the inactive files in the page cache, as `docker stats` counts (Engine API,
    `/containers/{id}/stats`: `total_inactive_file` of cgroup v1, `inactive_file` of v2).

    The peak counts the page cache, as the kernel's own figure does. cgroup v2 tells Docker no peak: there it is what
    is in use now, and the caller keeps the largest of its samples.
    """
    stats = answer or {}
    cpu_ns = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0)
    memory = stats.get("memory_stats", {})
    peak_bytes = memory.get("max_usage") or memory.get("usage")
    held, details = memory.get("usage") or 0, memory.get("stats") or {}
    cached = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Sample(
        cpu_s=cpu_ns / 1e9 if cpu_ns else None,
        memory_bytes=held - min(cached, held) if held else None,
        memory_peak_bytes=peak_bytes or None,
    )
