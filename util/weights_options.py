"""The options in a safetensors file's metadata, read without torch: options are resolved before it is imported."""

from pathlib import Path

from util.reading import reading

FETCH_AGAIN = "copy or download it again"
OPTIONS_ENTRY = "grimace_options"
"""Key of a safetensors file's metadata with the options of its networks, as YAML."""


def options_in(path: Path) -> str | None:
    """The options in a safetensors file's metadata; None if there are none."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors" or not path.is_file():
        return None
    with reading(path, "damaged or incomplete", FETCH_AGAIN, also=(SafetensorError,)), safe_open(path, "np") as file:
        return (file.metadata() or {}).get(OPTIONS_ENTRY)
