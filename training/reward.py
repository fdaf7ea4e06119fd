"""A reward model from preference pairs, as `reclm reward` trains it.

python training/reward.py --config training/configs/reward.yaml --output runs/tuning/reward
accelerate launch --num_processes 2 --multi_gpu training/reward.py --config ... --output ...
"""

from __future__ import annotations

import sys
from functools import partial

from reclm_hf.commands import reward, script

make_parser = partial(script.make_parser, reward, "reward")
main = partial(script.main, reward, "reward")

if __name__ == "__main__":
    sys.exit(main())
