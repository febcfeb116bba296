"""What a second of each GPU counts in usage, by its model. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from dopq.job import GpuId


def gpu_weights(models: Mapping[GpuId, str | None], weights: Mapping[str, float]) -> dict[GpuId, float]:
    """The weight of every GPU whose model some key of `weights` (`gpu.weights` in the settings) is a part of.

    Of several keys the longest says most of a model, so it counts: `A100-SXM4-80GB` before `A100`.
    """
    parts = {gpu: [part for part in weights if model and part in model] for gpu, model in models.items()}
    return {gpu: weights[max(found, key=len)] for gpu, found in parts.items() if found}
