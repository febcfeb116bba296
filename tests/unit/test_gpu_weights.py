"""What a second of a GPU counts goes by its model."""

from __future__ import annotations

from dopq.gpu_weights import gpu_weights
from tests.platforms import gpu

MODELS = {gpu(0): "NVIDIA A100-SXM4-80GB", gpu(1): "NVIDIA A100-PCIE-40GB", gpu(2): "Tesla T4", gpu(3): None}


def test_a_part_of_the_models_name_finds_its_gpus_and_leaves_the_others() -> None:
    assert gpu_weights(MODELS, {"A100": 2.0}) == {gpu(0): 2.0, gpu(1): 2.0}


def test_of_several_parts_the_longest_counts_in_whatever_order_they_are_written() -> None:
    for weights in ({"A100": 2.0, "A100-SXM4": 3.0}, {"A100-SXM4": 3.0, "A100": 2.0}):
        assert gpu_weights(MODELS, weights) == {gpu(0): 3.0, gpu(1): 2.0}


def test_without_weights_all_gpus_are_alike() -> None:
    assert gpu_weights(MODELS, {}) == {}
