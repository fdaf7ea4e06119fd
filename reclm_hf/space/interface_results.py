"""The tab "How good is it": results with floors, intervals and placebo, the leak certificate, and links."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gradio as gr

from .markup import page, shown
from .markup_results import background, comparisons_of, results_of, setting_choices, strata_of

if TYPE_CHECKING:
    from .world import World

_NONE = (
    "<p>No results came with this recommender. <code>reclm demo</code> and <code>reclm evaluate</code> write them, and "
    "a Space that is started from the folder of such a run shows them here.</p>"
)


def results_tab(world: World) -> None:
    """Build the tab inside the Blocks that are open."""
    results = world.results
    if results is None or results.empty:
        gr.HTML(page(_NONE), elem_id="results-table")
    else:
        choices = setting_choices(results)
        setting = gr.Radio(
            choices,
            value=choices[0][1],
            label="What is ranked",
            info="For example, only items that nobody had chosen before: the cold start",
            elem_id="results-setting",
        )
        drawn = [
            gr.HTML(content, elem_id=f"results-{name}")
            for name, content in zip(("table", "comparisons", "strata"), sections(world, choices[0][1]), strict=True)
        ]
        setting.input(lambda name: sections(world, name), setting, drawn, api_visibility="private")
    gr.HTML(background(world.certificates, world.links, world.about), elem_id="results-background")


def sections(world: World, setting: str) -> list[str]:
    """Results, comparisons and strata of one setting, as HTML."""
    assert world.results is not None
    own = _own_row(world)
    return [
        _drawn(lambda: results_of(world.results, setting, own)),
        _drawn(lambda: comparisons_of(world.comparisons, setting, own)),
        _drawn(lambda: strata_of(world.strata, setting)),
    ]


def _drawn(draw: Callable[[], str]) -> str:
    """A section, or what its table lacks: a table that somebody else wrote must not keep the page from starting."""
    try:
        return draw()
    except KeyError as error:
        return page(f"<p>A table of these results has no column {shown(error.args[0])}; it is not shown.</p>")


def _own_row(world: World) -> str:
    """The name that the model of this Space has in a table of results."""
    return "-".join(world.about.get(name, "") for name in ("backbone", "preset", "profile_mode"))
