"""The Space of the metric: lists in, figures out.

The launcher that `evaluate` brings calls parts of Gradio that went with Gradio 4, so the few lines stand here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLE = ('[["a", "b", "c"]]', '[["b", "x"]]', "2, 3")


def compute(predictions: str, references: str, k: str) -> dict[str, float]:
    """Figures of lists that are written as JSON. k: cut-offs, with commas between them."""
    import evaluate

    metric = evaluate.load(str(Path(__file__).parent / "ranking_metrics.py"))
    cut_offs = [int(part) for part in k.split(",")]
    found: dict[str, float] = metric.compute(
        predictions=json.loads(predictions), references=json.loads(references), k=cut_offs
    )
    return found


def build() -> Any:
    """The page: a `gradio.Interface` whose endpoint is /compute."""
    import gradio as gr

    def answer(predictions: str, references: str, k: str) -> dict[str, float]:
        try:
            return compute(predictions, references, k)
        except (ValueError, TypeError) as error:
            raise gr.Error(str(error)) from error

    return gr.Interface(
        answer,
        inputs=[
            gr.Textbox(EXAMPLE[0], label="Predictions: for each user a list of item ids, best first (JSON)"),
            gr.Textbox(EXAMPLE[1], label="References: for each user the relevant item ids (JSON)"),
            gr.Textbox(EXAMPLE[2], label="k"),
        ],
        outputs=gr.JSON(label="Means over users"),
        title="Ranking metrics",
        description="Recall@k, NDCG@k, hit rate@k and MRR of recommendation lists.",
        api_name="compute",
    )


if __name__ == "__main__":
    build().launch()
