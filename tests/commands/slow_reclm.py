"""`reclm` for tests that interrupt it: a text encoder without a model, a checkpoint every epoch, epochs that last.

    python -m tests.commands.slow_reclm train data     (RECLM_TEST_SLEEP: seconds that each epoch takes beside its work)

A module of its own, because processes that a command starts import it again and must be just as slow.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from reclm_hf.commands.main import main
from reclm_hf.pipeline import runs
from reclm_hf.recommender import text_encoder, trainer
from tests.data.trainable_release import Encoder, brief

_SLEEP = float(os.environ.get("RECLM_TEST_SLEEP", "0"))
_run = trainer.TripleEpochs.run


def _slow(self: trainer.TripleEpochs, *args: Any) -> float:
    time.sleep(_SLEEP)
    return _run(self, *args)


text_encoder.TextEncoder = Encoder  # type: ignore[misc, assignment]
trainer.TripleEpochs.run = _slow  # type: ignore[method-assign]
runs.trainer_options = brief

if __name__ == "__main__":
    sys.exit(main())
