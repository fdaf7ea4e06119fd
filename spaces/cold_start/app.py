"""The Space: it shows what `settings.json` beside this file names, or the variables RECLM_SPACE_RECOMMENDER and so on.

`reclm space SOURCE --export FOLDER` writes this folder with its settings; `reclm space SOURCE` starts the same page
without one.
"""

from __future__ import annotations

import os
from pathlib import Path

from reclm_hf.space.app import start
from reclm_hf.space.settings import read_settings

if __name__ == "__main__":
    # The Hub names the address that it looks for the page at.
    start(read_settings(Path(__file__).parent, os.environ), os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
