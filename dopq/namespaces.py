"""Network namespaces that stand ready: the making of one is most of what Docker needs to start a container.

Each is held open by a container of ours that does nothing and that a job's container joins when it is made. One is used
by one attempt of one job and removed with it; what it gives up is in docs/adr/0064.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import deque
from collections.abc import Iterable, Mapping

from dopq.container_handler.container import HOSTNAME, JOBS_NETWORK, NAMESPACE_LABEL, NODE_LABEL
from dopq.container_handler.engine import Alive, ContainerEngine, ContainerName, ContainerRequest
from dopq.container_handler.pause_image import COMMAND, REFERENCE, pause_root
from dopq.container_handler.proof import MAC_LABEL, Proof
from dopq.errors import DopqError, EngineRefused, EngineUnavailable
from dopq.job import ImageId
from dopq.starts import Starts
from dopq.utils.log import logger

log = logger(__name__)

QUIET_S = 0.3
"""None is made until nobody has started a job for so long: jobs that come and go in crowds would only be kept up."""

RETRY_S = 10.0
_NOBODY = "65534:65534"
_MEMORY_BYTES = 16 << 20


class Namespaces:
    """Keeps a few namespaces ready, and knows which container was given which. Thread-safe."""

    def __init__(
        self, engine: ContainerEngine, proof: Proof, node_id: str, network: str, ready: int, starts: Starts
    ) -> None:
        """`ready`: how many stand ready; 0 for none. `network`: the engine's network that they belong to."""
        self._engine = engine
        self._proof = proof
        self._node_id = node_id
        self._network = network
        self._wanted = ready
        self._starts = starts
        self._changed = threading.Condition()
        self._stopping = False
        self._life = secrets.token_hex(4)  # names of former lives are never given again
        self._made = 0
        self._ready: deque[ContainerName] = deque()
        self._lent: dict[ContainerName, ContainerName | None] = {}
        self._thread = threading.Thread(target=self._run, name="namespaces", daemon=True)

    def start(self) -> None:
        """Begin to make some."""
        if self._wanted:
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Make none any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def remove_ready(self) -> None:
        """Remove those that nobody has been given. One that stays is swept in the next life."""
        while name := self._take():
            self._engine.remove(name)

    def _take(self) -> ContainerName | None:
        with self._changed:
            return self._ready.popleft() if self._ready else None

    def lend(self, container: ContainerName) -> ContainerName | None:
        """The namespace that a container is to join, the same each time; None: it is to have one made for itself."""
        with self._changed:
            if container not in self._lent:
                self._lent[container] = self._take()
                self._changed.notify_all()
            return self._lent[container]

    def hand_over(self, container: ContainerName, renamed: ContainerName) -> None:
        """A container has another name now. Twice is fine."""
        with self._changed:
            if container in self._lent:
                self._lent[renamed] = self._lent.pop(container)

    def has_died(self, container: ContainerName) -> bool:
        """Whether a container cannot start for want of the namespace that it was to join; it shall get none then."""
        namespace = self._of(container)
        if namespace is None or isinstance(self._engine.observe(namespace), Alive):
            return False
        self._engine.remove(namespace)
        with self._changed:
            self._lent[container] = None
        return True

    def remove_with(self, container: ContainerName) -> None:
        """Remove a container, and the namespace that it joined. Twice is fine.

        Raises:
            EngineUnavailable: ask again.
        """
        namespace = self._of(container)
        self._engine.remove(container)
        if namespace:
            self._engine.remove(namespace)
        with self._changed:
            self._lent.pop(container, None)

    def left_behind(
        self, found: Mapping[ContainerName, Mapping[str, str]], wanted: Iterable[ContainerName]
    ) -> set[ContainerName]:
        """Those of the containers found that hold namespaces of former lives which nobody uses who is wanted."""
        used = {found[name].get(NAMESPACE_LABEL) for name in wanted if name in found}
        pattern = rf"dopq-{re.escape(self._node_id)}-net-(?!{self._life})[0-9a-f]+-[0-9]+"
        return {name for name in found if re.fullmatch(pattern, name) and name not in used}

    def _of(self, container: ContainerName) -> ContainerName | None:
        """What a container was given, in this life or, as its label says, in a former one."""
        with self._changed:
            if container in self._lent:
                return self._lent[container]
        origin = self._engine.origin(container) if self._proof.is_ours(container) else None
        return ContainerName(origin.labels.get(NAMESPACE_LABEL, "")) or None if origin else None

    def _run(self) -> None:
        while self._wait_until_some_are_missing():
            if not self._starts.give_way(QUIET_S, limit_s=RETRY_S):
                continue
            try:
                self._make()
            except EngineUnavailable as away:
                log.debug("namespace_not_made", cause=away.message)  # whoever waits for the engine says so
                self._pause()
            except DopqError as refused:
                log.warning("namespace_not_made", code=refused.code, cause=refused.message)
                self._pause()
            except Exception:
                log.exception("namespaces_defect")
                self._pause()

    def _wait_until_some_are_missing(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._ready) < self._wanted)
            return not self._stopping

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, RETRY_S)

    def _make(self) -> None:
        self._made += 1
        name = ContainerName(f"dopq-{self._node_id}-net-{self._life}-{self._made}")
        try:
            if self._network == JOBS_NETWORK:
                self._engine.provide_network(self._network)
            self._engine.create(self._request(name))
            self._engine.start(name)
        except DopqError:
            self._engine.remove(name)
            raise
        with self._changed:
            self._ready.append(name)

    def _request(self, name: ContainerName) -> ContainerRequest:
        image = self._image()
        return ContainerRequest(
            name,
            image,
            {NODE_LABEL: self._node_id, MAC_LABEL: self._proof.mac(name, image)},
            command=COMMAND,
            user=_NOBODY,
            hostname=HOSTNAME,
            network=self._network,
            memory_bytes=_MEMORY_BYTES,
            pids_limit=32,  # the engine's own start of it takes some
            init=False,
            read_only=True,
        )

    def _image(self) -> ImageId:
        if image := self._engine.image(REFERENCE):
            return image
        root = pause_root()
        if root is None:
            raise EngineRefused("There is no program yet that holds a network namespace open on such a machine.")
        return self._engine.import_image(root, reference=REFERENCE)
