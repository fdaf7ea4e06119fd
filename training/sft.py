"""Supervised tuning on instructions, as `reclm sft` does it.

python training/sft.py --config training/configs/sft-smollm2-135m.yaml --output runs/tuning/mask
accelerate launch --config_file training/configs/accelerate-fsdp.yaml training/sft.py --config ... --output ...
python -m torch.distributed.run --nproc_per_node 2 training/sft.py --config ... --output ... --use-cpu
"""

from __future__ import annotations

import sys
from functools import partial

from reclm_hf.commands import script, sft

make_parser = partial(script.make_parser, sft, "sft")
main = partial(script.main, sft, "sft")

if __name__ == "__main__":
    sys.exit(main())
