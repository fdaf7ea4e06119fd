"""The Space of the metric: lists in, figures out.

The launcher that `evaluate` brings calls parts of Gradio that went with Gradio 4, so the few lines stand here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLE = ('[["a", "b", "c"]]', '[["b", "x"]]', "2, 3")


def compute(predictions: str, references: str, k: str) -> dict[str, float]:
    """Figures of lists that are written as JSON. k: cut-offs, with commas between them.

    Raises:
        ValueError: one of the three cannot be read, or the metric refuses it; names it and the way out.
    """
    import evaluate

    read = {"predictions": _lists(predictions, "Predictions"), "references": _lists(references, "References")}
    metric = evaluate.load(str(Path(__file__).parent / "ranking_metrics.py"))
    found: dict[str, float] = metric.compute(**read, k=_cut_offs(k))
    return found


def _lists(text: str, name: str) -> list[list[str]]:
    """One list of ids for each user."""
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        found = None
    lists = isinstance(found, list) and found and all(isinstance(one, list) for one in found)
    if not lists or not all(isinstance(item, str) for one in found for item in one):
        raise ValueError(f'{name}: write for each user a list of ids in quotes, as JSON, such as [["a", "b"], ["c"]].')
    return list(found)


def _cut_offs(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError("k: write whole numbers with commas between them, such as 2, 3.") from None


def build() -> Any:
    """The page: a `gradio.Interface` whose endpoint is /compute."""
    import gradio as gr

    def answer(predictions: str, references: str, k: str) -> dict[str, float]:
        try:
            return compute(predictions, references, k)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return gr.Interface(
        answer,
        inputs=[
            gr.Textbox(EXAMPLE[0], label="Predictions: for each user a list of item ids, best first (JSON)", lines=3),
            gr.Textbox(EXAMPLE[1], label="References: for each user the relevant item ids (JSON)", lines=3),
            gr.Textbox(EXAMPLE[2], label="k: cut-offs, with commas between them"),
        ],
        outputs=gr.JSON(label="Means over users"),
        title="Ranking metrics",
        description="Recall@k, NDCG@k, hit rate@k and MRR of recommendation lists.",
        submit_btn="Compute",
        api_name="compute",
        flagging_mode="never",  # it would keep what visitors send
        analytics_enabled=False,
    )


def appearance() -> dict[str, Any]:
    """For `launch`: fonts of the visitor's own machine, and colours with contrast enough."""
    import gradio as gr

    theme = gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
    )
    css = ".json-holder * { color: var(--body-text-color) !important; }"
    return {"theme": theme, "css": css, "footer_links": ["api", "settings"]}


if __name__ == "__main__":
    build().launch(ssr_mode=False, **appearance())
