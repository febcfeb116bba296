"""Errors of NVML in words, and the Xids that it reports while nobody asks."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pynvml

from dopq.utils.gpu import XidEvent

# NVMLLibraryMismatchError is no NVMLError. UnicodeDecodeError: pynvml decodes whatever bytes a sick driver hands out.
TROUBLE = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, OSError, UnicodeDecodeError)
"""What any call of pynvml may raise."""

_ADVICE = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        'libnvidia-ml.so.1 is not there: install NVIDIA\'s driver, or set [gpu] devices = "none"'
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "NVIDIA's driver is not loaded: try `modprobe nvidia`, then look into `dmesg`",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "NVIDIA's driver was upgraded, but the old one is still loaded: reboot the machine"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not use the GPUs: look at the owner of /dev/nvidia*",
}

_WAIT_MS = 1000
_PAUSE_S = 1.0


def sentence(trouble: Exception) -> str:
    """What went wrong, and what to do where that is known."""
    return _ADVICE.get(getattr(trouble, "value", None), str(trouble))


class XidListener:
    """Collects the Xids of all GPUs that it was told to listen to, from then on, in a thread of its own."""

    def __init__(self) -> None:
        self._set: Any = None
        self._heard: queue.SimpleQueue[XidEvent] = queue.SimpleQueue()
        self._listening: set[str] = set()

    def listen(self, uuid: str, handle: Any) -> None:
        """Listen to one more GPU; once is enough. Raises what NVML raises where it reports no events."""
        if uuid in self._listening:
            return
        if self._set is None:
            self._set = pynvml.nvmlEventSetCreate()
            threading.Thread(target=self._run, name="xids", daemon=True).start()
        pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        self._listening.add(uuid)

    def take(self) -> tuple[XidEvent, ...]:
        """What happened since this was last asked."""
        return tuple(self._heard.get_nowait() for _ in range(self._heard.qsize()))

    def _run(self) -> None:
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, _WAIT_MS)
                self._heard.put(XidEvent(pynvml.nvmlDeviceGetUUID(event.device), int(event.eventData)))
            except pynvml.NVMLError_Timeout:
                continue
            except TROUBLE:
                threading.Event().wait(_PAUSE_S)
