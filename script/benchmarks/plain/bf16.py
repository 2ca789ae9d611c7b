"""bf16 on the CPU: beside OpenVINO's, and what each part of the networks contributes to its differences.

`animate --openvino` makes the same frames by OpenVINO (`pip install openvino`; nothing else needs it), from the traced
graph of the family as published, the source encoded before. `animate --parts` computes one part at a time in another
precision than the rest. Variants take turns, and seconds are those of the processor.
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from script.bars import report_bars
from util.errors import UserError

MODELS = ("fomm", "mraa", "tps")
OPENVINO = {"openvino-fp32": "f32", "openvino-bf16": "bf16"}
"""The variants that OpenVINO computes: the value of its option INFERENCE_PRECISION_HINT."""
MOTION, DETECTOR = ("DenseMotionNetwork", "PixelwiseFlowPredictor"), ("KeyPointDetector", "RegionPredictor")
"""The classes of the parts; the rest is the generator."""
PARTS = {
    "all-but-motion": ("bf16", MOTION, False, "bf16, the dense motion in float32"),
    "motion-alone": ("fp32", MOTION, True, "float32, the dense motion in bf16"),
    "detector-alone": ("fp32", DETECTOR, True, "float32, the detector in bf16 (it never is)"),
}
"""Variants: precision of the whole, the part that differs, whether that is in bf16, and how they are described."""
NAMES = {"fp32": "float32", "bf16": "bf16", "openvino-fp32": "OpenVINO, float32", "openvino-bf16": "OpenVINO, bf16"}
NAMES |= {way: name for way, (*_, name) in PARTS.items()}


def report(answers: dict[str, list[dict[str, float]]], frames: dict[str, np.ndarray], model: str) -> int:
    """Print the variants of `--openvino` or `--parts`; status 1 if bf16 is slower than OpenVINO's."""
    seconds = {way: statistics.median(turn["cpu"] for turn in turns[1:]) for way, turns in answers.items()}
    print(f"{model}; {instructions()}\n")
    print("| arithmetic | CPU ms a frame | times float32's speed | largest difference | mean |")
    print("| --- | --- | --- | --- | --- |")
    for way, taken in seconds.items():
        difference = np.abs(frames[way] - frames["fp32"])
        milliseconds, ratio = 1e3 * taken / len(difference), seconds["fp32"] / taken
        largest, mean = difference.max(), difference.mean()
        print(f"| {NAMES[way]} | {milliseconds:.0f} | {ratio:.2f} | {largest:.2g} | {mean:.2g} |")
    if "openvino-bf16" not in seconds:
        return 0
    ratio = seconds["openvino-bf16"] / seconds["bf16"]
    return report_bars([(f"bf16 is {ratio:.2f} times as fast as OpenVINO's (bar: 1)", ratio >= 1)])


def instructions() -> str:
    """What this processor has for bf16: where it has nothing, libraries emulate bf16 in float32."""
    import torch

    known = {"AMX": torch.cpu._is_amx_tile_supported(), "avx512_bf16": torch.cpu._is_avx512_bf16_supported()}
    return f"bf16 by {', '.join(name for name, has in known.items() if has) or 'emulation in float32'}"


def refuse_without_openvino() -> None:
    """Report a missing OpenVINO once, not from every variant's process."""
    if importlib.util.find_spec("openvino") is None:
        raise UserError("--openvino: OpenVINO is not installed; pip install openvino")


def build_openvino(family: Any, state: dict[str, Any], item: dict[str, Any], args: argparse.Namespace) -> Callable:
    """The function that makes the frames of an item from an encoded source."""
    import openvino
    import torch
    from torch.utils._pytree import tree_flatten, tree_unflatten

    # Families without jacobians have None among their values, which is no input of a graph.
    values, layout = tree_flatten(state)
    tensors = [value for value in values if value is not None]

    class Frames(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.family = family

        def forward(self, image: Any, *given: Any) -> Any:
            rest = iter(given)
            known = tree_unflatten([None if value is None else next(rest) for value in values], layout)
            return self.family.animate(known, item | {"image": image})[0]

    inputs = (item["image"], *tensors)
    with torch.no_grad(), mock.patch("torch.linalg.solve_ex", _solved_by_inverse):
        graph = openvino.convert_model(
            Frames().eval(), example_input=inputs, input=[tuple(value.shape) for value in inputs]
        )
    hints = {"INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": OPENVINO[args.way]}
    request = openvino.compile_model(graph, "CPU", hints).create_infer_request()
    arrays = [value.numpy() for value in tensors]
    return lambda image: torch.from_numpy(next(iter(request.infer([image.numpy(), *arrays]).values())).copy())


def _solved_by_inverse(system: Any, values: Any) -> SimpleNamespace:
    """OpenVINO can't solve systems, but invert them."""
    import torch

    return SimpleNamespace(result=torch.linalg.inv(system) @ values)


def change_part(family: Any, way: str) -> str:
    """Let one part of a family compute in its own precision; returns that of the rest."""
    rest, classes, is_bf16, _ = PARTS[way]
    for part in (module for module in family.modules() if type(module).__name__ in classes):
        part.forward = _in_precision(part.forward, is_bf16)
    return rest


def _in_precision(forward: Callable, is_bf16: bool) -> Callable:
    """The same function with its own autocast, from and to float32."""
    import torch
    from torch.utils._pytree import tree_map

    def single(value: Any) -> Any:
        return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value

    def changed(*arguments: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16), _without_exceptions(is_bf16):
            return tree_map(single, forward(*tree_map(single, arguments)))

    return changed


def _without_exceptions(is_bf16: bool) -> AbstractContextManager:
    """Ignore what a part says itself about its precision."""
    return mock.patch("torch.autocast", lambda *_, **__: nullcontext()) if is_bf16 else nullcontext()
