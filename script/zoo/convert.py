"""Convert released weights to safetensors with metadata."""

from pathlib import Path

from engine.checkpoints.load import load_set, released_state
from engine.checkpoints.released import as_safetensors, weight_names
from models import find_family
from script.zoo.bring_in import saved_options
from script.zoo.recognise import facts_of, options_of
from script.zoo.table import Model, sha256_of
from util.weights_file import write_safetensors
from util.weights_options import OPTIONS_ENTRY


def convert(model: Model, path: Path, out: Path) -> list[Path]:
    """Write the networks of inference as safetensors with metadata; returns the files.

    One file with ENTRY.NAME, or a folder of files if the family has a file per network.
    """
    opt = options_of(model)
    family = find_family(opt.model)(opt, training=False).eval()
    loaded = load_set(family, path, "latest")
    states = {
        name: released_state(name, network.state_dict(), family.layout.rename)
        for name, network in family.networks().items() if name not in loaded.absent
    }  # fmt: skip
    metadata = facts_of(model, _digests(path)) | {OPTIONS_ENTRY: saved_options(model)}
    entries = family.layout.entries
    if "{entry}" in family.layout.pattern:
        files = weight_names(family.layout, states, "latest")
        contents = {out / as_safetensors(files[name]): state for name, state in states.items()}
    else:
        flat = {f"{entries[name]}.{key}": value for name, state in states.items() for key, value in state.items()}
        contents = {out: flat}
    for file, content in contents.items():
        write_safetensors(file, content, metadata)
    return list(contents)


def _digests(path: Path) -> dict[str, str]:
    """The hashes of the original files."""
    if path.is_file():
        return {path.name: sha256_of(path)}
    return {str(file.relative_to(path)): sha256_of(file) for file in sorted(path.rglob("*.pth"))}
