"""Read YAML with plain values, within limits that option files never reach."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from util.reading import read_text, reading

DEEPEST = 40
"""Maximum nesting of lists and mappings."""
MAX_NODES = 100_000
"""Maximum number of values, including those repeated by aliases."""
WHAT, REMEDY = "not readable as YAML", "correct it"
MERGE = "tag:yaml.org,2002:merge"
if TYPE_CHECKING:
    from yaml import SafeLoader as _Parser
else:
    # libyaml, which PyYAML nearly always includes, is ten times faster.
    _Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Parser):
    """Safe YAML in which 1e-4 is a number (YAML 1.1 requires 1.0e-4) and a duplicate key is an error."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        """Add the check for duplicate keys."""
        seen = set()
        for key, _ in node.value:
            if key.tag == MERGE:
                continue
            name = self.construct_object(key, deep=True)
            if isinstance(name, (list, dict)) or name in seen:
                odd = "is no plain value" if isinstance(name, (list, dict)) else "is there twice"
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r:.100} {odd}", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml_file(path: Path | str, label: str = "") -> Any:
    """The content of a YAML file; `label` names the file in errors, e.g. "--config FILE"."""
    return parse_yaml(read_text(path, WHAT, REMEDY), label or str(path))


def parse_yaml(text: str, label: str) -> Any:
    """The content of a YAML text; `label` names it in errors."""
    with reading(label, WHAT, REMEDY):
        try:
            _check_limits(text)
            return yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error  # several lines; the last has the position


def _check_limits(text: str) -> None:
    """Refuse too deep nesting and too many values before anything is built."""
    open_nodes: list[tuple[str | None, int]] = []  # anchor, number of values before it
    sizes: dict[str | None, int] = {}
    count = 0
    for event in yaml.parse(text, Loader=_Parser):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor] = 1 + count - before
        elif isinstance(event, yaml.ScalarEvent):
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"*{event.anchor} refers to itself, or to nothing")
            count += sizes[event.anchor]
        count += isinstance(event, yaml.NodeEvent)
        if len(open_nodes) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} nested lists and mappings")
        if count > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values")
