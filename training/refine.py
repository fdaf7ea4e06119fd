"""Refinement by a reward, as `reclm refine` does it.

python training/refine.py --config training/configs/refine-rloo.yaml --output runs/tuning/rloo
accelerate launch --num_processes 2 --multi_gpu training/refine.py --config ... --output ...      (rloo and grpo)
"""

from __future__ import annotations

import sys
from functools import partial

from reclm_hf.commands import refine, script

make_parser = partial(script.make_parser, refine, "refine")
main = partial(script.main, refine, "refine")

if __name__ == "__main__":
    sys.exit(main())
