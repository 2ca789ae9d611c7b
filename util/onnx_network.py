"""Networks in ONNX files, run on the CPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from util.errors import UserError


def load_onnx(path: Path, option: str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function from the one input of a network to all of its outputs; `option` names the file in errors."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{option} {path}: reading ONNX needs: pip install onnxruntime ({error})") from error
    if not path.is_file():
        raise UserError(f"{option} {path}: no such file")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own error class for each kind of damage
        raise UserError(f"{option} {path}: not an ONNX network ({str(error).splitlines()[0]})") from None
    name = session.get_inputs()[0].name

    def run(array: np.ndarray) -> list[np.ndarray]:
        try:
            return [np.asarray(output) for output in session.run(None, {name: array})]
        except Exception as error:
            problem = str(error).splitlines()[0]
            raise UserError(f"{option} {path}: takes no input of shape {array.shape} ({problem})") from None

    return run
