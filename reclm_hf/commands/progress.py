"""Progress bars, ours and those of the libraries, as they suit the place where stderr goes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVERY = 30.0  # seconds between two lines of a bar that nobody watches
_LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left, {rate_fmt}{postfix}\n"


@contextmanager
def bars(quiet: bool = False) -> Iterator[None]:
    """While this is open, tqdm draws on a terminal only.

    In a pipe or a file a bar becomes a line now and then, with rate and time left and without cursor movements; quiet:
    nothing at all. The libraries (transformers, datasets, huggingface_hub, trl) derive theirs from the class that is
    replaced here, and are loaded by commands, later than this.
    """
    import tqdm
    import tqdm.auto

    if sys.stderr.isatty() and not quiet:
        yield
        return
    kept = tqdm.tqdm, tqdm.auto.tqdm
    tqdm.tqdm = tqdm.auto.tqdm = _lines(math.inf if quiet else EVERY)
    try:
        yield
    finally:
        tqdm.tqdm, tqdm.auto.tqdm = kept


def _lines(every: float) -> Any:
    from tqdm.asyncio import tqdm_asyncio

    class Lines(tqdm_asyncio):
        """A bar as lines of a log."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.said = time.monotonic()  # before tqdm's own: that displays already
            self.told: float | None = None  # how far it was in the last line
            super().__init__(*args, **kwargs)

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            now = time.monotonic()
            if now - self.said >= every:
                self.said = now
                self._tell()
            return True

        def _tell(self) -> None:
            self.told = self.n
            self.fp.write(self.format_meter(**{**self.format_dict, "bar_format": _LINE}))
            self.fp.flush()

        def clear(self, nolock: bool = False) -> None:
            """There is nothing to wipe away."""

        def close(self) -> None:
            if not self.disable and self.told not in (None, self.n):
                self._tell()  # whoever reads the lines would else never see it end
            self.sp = None  # with a printer tqdm would end the bar by moving the cursor
            super().close()

    return Lines
