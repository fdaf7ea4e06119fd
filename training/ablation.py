"""The stages of tuning compared by the recommenders that their profiles make, as `reclm ablation` does it.

python training/ablation.py training/configs/ablation.yaml --output runs/ablation/bundled
"""

from __future__ import annotations

import sys
from functools import partial

from reclm_hf.commands import ablation, script

make_parser = partial(script.make_parser, ablation, "ablation")
main = partial(script.main, ablation, "ablation")

if __name__ == "__main__":
    sys.exit(main())
