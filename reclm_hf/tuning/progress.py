"""One line that moves while a trainer works: steps, time left, the figures that matter. Nothing on stdout."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def show_progress(trainer: Any, what: str, progress: bool, figures: Sequence[str] = ("loss",)) -> None:
    """Replace the printing of a transformers `Trainer` by a progress bar on stderr.

    Its own callbacks write every figure of every step to stdout, which belongs to the command's result.

    Args:
        progress: False for no bar. figures: keys of the trainer's log that are shown behind the bar.
    """
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if progress:
        trainer.add_callback(_bar(what, figures))


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Without the bars of every step of preparing rows, and without notes on names that other libraries will change.

    Of several processes of a launch only the first says anything but errors.
    """
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    own = logging.getLogger(__name__.partition(".")[0])
    level = own.level
    if int(os.environ.get("RANK", "0")) > 0:
        own.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
            # Said of a base model that lies in a folder; nothing has changed the vocabulary.
            warnings.filterwarnings("ignore", message="Could not find a config file", category=UserWarning)
            yield
    finally:
        own.setLevel(level)
        if shown:
            datasets.enable_progress_bars()


def _bar(what: str, figures: Sequence[str]) -> Any:
    from tqdm.auto import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        """Follows the steps of one process."""

        def __init__(self) -> None:
            self.bar: Any = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=what, unit="step")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.bar is not None:
                self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            found = {name: f"{float(logs[name]):.3f}" for name in figures if logs and name in logs}
            if self.bar is not None and found:
                self.bar.set_postfix(found)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.bar is not None:
                self.bar.close()
                self.bar = None

    return Bar()
