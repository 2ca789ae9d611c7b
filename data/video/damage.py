"""Handling of damaged videos: a warning, or an error with --strict_video."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from util.errors import UserError


class DamagedVideo(UserWarning):
    """A video was read only in part; the message has its path, the reason, and the number of frames."""


@contextmanager
def collecting_damage(strict: bool = False) -> Iterator[list[str]]:
    """Yield a list that collects the warnings about damaged videos while the block runs, from all threads.

    With `strict` (--strict_video) a damaged video is a UserError instead of a warning.
    """
    noted: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "always", DamagedVideo)
        show = warnings.showwarning

        def note(message: Warning, category: type[Warning], *line, **named) -> None:
            if not issubclass(category, DamagedVideo):
                show(message, category, *line, **named)
            elif str(message) not in noted:
                noted.append(str(message))
                show(message, category, *line, **named)

        warnings.showwarning = note
        try:
            yield noted
        except DamagedVideo as damage:
            raise UserError(f"{damage} (--strict_video)") from damage
        finally:
            warnings.showwarning = show
