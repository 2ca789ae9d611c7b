"""Reading YAML option files: flat ones of ours, nested ones of the first-order projects."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from util.errors import UserError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number (YAML 1.1 wants 1.0e-4) and a key that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping that a YAML file holds."""
    path = Path(path)
    if not path.is_file():
        near = ", ".join(sorted(str(other) for other in path.parent.glob("*.y*ml"))[:8]) if path.parent.is_dir() else ""
        raise UserError(f"--config {path}: there is no such file" + (f"; in its folder: {near}" if near else ""))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: expected lines 'option: value', found a {type(content).__name__}")
    for name, value in leaves(content, lambda _: False):
        if name.endswith("_params") and value is not None:
            raise UserError(f"--config {path}: {name} is a section, with lines 'option: value' in it; found {value!r}")
    return content


def is_nested(content: dict[str, Any]) -> bool:
    """Whether this is the nested form of the first-order projects (model_params, train_params, ...)."""
    return any(str(key).endswith("_params") and isinstance(value, dict) for key, value in content.items())


def leaves(content: dict[str, Any], is_name, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a mapping is opened unless its own key is the name of an option."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and not is_name(name):
            yield from leaves(value, is_name, f"{name}.")
        else:
            yield name, value
