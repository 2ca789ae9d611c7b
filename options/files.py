"""Read YAML option files: our flat ones, and the nested ones of the first-order projects."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from util.errors import UserError
from util.weights_options import options_in
from util.yaml_file import parse_yaml, read_yaml_file


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file, or in the metadata of a safetensors file."""
    path = Path(path)
    if not path.is_file():
        near = ", ".join(sorted(str(other) for other in path.parent.glob("*.y*ml"))[:8]) if path.parent.is_dir() else ""
        raise UserError(f"--config {path}: no such file" + (f"; in its folder: {near}" if near else ""))
    called = f"--config {path}"
    inner = options_in(path)
    content = read_yaml_file(path, called) if inner is None else parse_yaml(inner, called)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: expected lines 'option: value', found a {type(content).__name__}")
    for name, value in leaves(content, lambda _: False):
        if str(name).endswith("_params") and value is not None:
            raise UserError(f"--config {path}: {name} is a section and needs lines 'option: value'; found {value!r}")
    return content


def is_nested(content: dict[str, Any]) -> bool:
    """Whether this is the nested form of the first-order projects (model_params, train_params, ...)."""
    return any(str(key).endswith("_params") and isinstance(value, dict) for key, value in content.items())


def leaves(content: dict[str, Any], is_name: Callable[[str], bool], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a mapping is flattened unless its own key is the name of an option."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and not is_name(name):
            yield from leaves(value, is_name, f"{name}.")
        else:
            yield name, value
