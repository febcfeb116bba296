"""The same containers without DoPQ: create, start, wait and remove through the same SDK, and nothing else."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from dopq.container_handler.docker_json import container_body
from dopq.container_handler.engine import ContainerName, ContainerRequest
from dopq.job import ImageId, Mount

BEGAN, ENDED = "began", "ended"
"""Files that a job makes in /output; the time at which each was made is when that happened."""


def made_at(file: Path) -> float:
    """When a file was made, in seconds since the epoch; of the kernel's clock, which ticks every few milliseconds."""
    return file.stat().st_mtime


class RawDocker:
    """Runs a command in containers that are made like those of jobs."""

    def __init__(self, url: str, image: str, command: tuple[str, ...], network: str, folder: Path) -> None:
        self._url = url
        self._image = ImageId(image)
        self._command = command
        self._network = network
        self._folder = folder
        self._numbers = itertools.count()
        self._local = threading.local()

    def seconds_to_running(self) -> float:
        """From the call to create until the container's process runs."""
        name, output = self._next()
        asked = time.time()
        self._run(name, output)
        seconds = made_at(output / BEGAN) - asked
        shutil.rmtree(output)
        return seconds

    def jobs_per_s(self, number: int, threads: int) -> float:
        """How many containers come and go in a second, with so many threads."""
        began = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(self._run, *self._next()) for _ in range(number)]:
                done.result()
        return number / (time.monotonic() - began)

    def _next(self) -> tuple[ContainerName, Path]:
        name = ContainerName(f"raw-{next(self._numbers)}")
        output = self._folder / name
        output.mkdir(parents=True)
        return name, output

    def _run(self, name: ContainerName, output: Path) -> None:
        mounts = (Mount(str(output), "/output", read_only=False),)
        request = ContainerRequest(
            name, self._image, {}, mounts, command=self._command, network=self._network, pids_limit=4096
        )
        client = self._client()
        client.create_container_from_config(container_body(request), name)
        client.start(name)
        client.wait(name)
        client.remove_container(name, v=True)

    def _client(self) -> docker.APIClient:
        if not hasattr(self._local, "client"):
            self._local.client = docker.APIClient(base_url=self._url)
        return self._local.client
