"""Which of the errors that NVIDIA's driver reports of a GPU (Xids) mean that the GPU itself is broken. Pure.

After the "Resolution Bucket" column of https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html: those that
want the GPU reset or looked at. What wants the application restarted (13, 31, 43, 45, 68, 69, 94 and others) is a
program's doing, often the job's own, and says nothing of the GPU. An Xid that is not in the table changes nothing.
"""

from __future__ import annotations

HARDWARE = {
    48: "a memory error of two bits, which cannot be corrected",
    62: "its micro-controller halted",
    64: "a broken part of its memory could not be replaced",
    74: "an error of NVLink",
    79: "it has fallen off the bus",
    95: "a memory error that could not be contained",
    119: "its system processor does not answer",
    120: "its system processor failed",
    140: "a memory error that it could not recover from",
    143: "it could not be started",
}
"""Xids after which a GPU gets no job until it has been reset, with their meaning."""
