"""A progress bar that follows the epochs of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def epoch_bar(what: str, epochs: int, show: bool = True) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives the `on_epoch` of a training; its bar has the rate, the time left at most, and the loss.

    Below another bar it goes when it is done; else it stays.

    Args:
        epochs: the most there will be; early stopping ends before.
    """
    if not show or not epochs:
        yield lambda entry: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=epochs, desc=what, unit="epoch", leave=None) as bar:

        def on_epoch(entry: dict[str, Any]) -> None:
            if not bar.n and entry["epoch"] > 1:  # goes on from a checkpoint: earlier epochs took no time here
                bar.initial = bar.n = bar.last_print_n = entry["epoch"] - 1
            bar.set_postfix(loss=f"{entry['loss']:.4f}", refresh=False)
            bar.update(entry["epoch"] - bar.n)

        yield on_epoch
