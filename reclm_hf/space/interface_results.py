"""The tab "How good is it": results with floors, intervals and placebo, the leak certificate, and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from .checks import fault_of_comparisons, fault_of_results, fault_of_strata
from .interface_events import PRIVATE
from .markup import page, shown
from .markup_results import background, comparisons_of, results_of, setting_choices, strata_of

if TYPE_CHECKING:
    from .world import World

_NONE = (
    "<p>No results came with this recommender. <code>reclm demo</code> and <code>reclm evaluate</code> write them, and "
    "a Space that is started from the folder of such a run shows them here.</p>"
)


def results_tab(world: World) -> None:
    """Build the tab inside the Blocks that are open.

    A table that somebody else wrote must not keep the page from starting: what is not as it should be is named instead.
    """
    results = world.results
    fault = "" if results is None or results.empty else fault_of_results(results)
    if results is None or results.empty:
        gr.HTML(page(_NONE), elem_id="results-table")
    elif fault:
        gr.HTML(_unfit("results", fault), elem_id="results-table")
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
        setting.input(lambda name: sections(world, name), setting, drawn, **PRIVATE)
    gr.HTML(background(world.certificates, world.links, world.about), elem_id="results-background")


def sections(world: World, setting: str) -> list[str]:
    """Results, comparisons and strata of one setting, as HTML."""
    assert world.results is not None
    own = _own_row(world)
    compared, strata = world.comparisons, world.strata
    unfit = "" if compared is None else fault_of_comparisons(compared)
    unfit_strata = "" if strata is None else fault_of_strata(strata)
    return [
        results_of(world.results, setting, own),
        _unfit("comparisons", unfit) if unfit else comparisons_of(compared, setting, own),
        _unfit("strata", unfit_strata) if unfit_strata else strata_of(strata, setting),
    ]


def _unfit(name: str, fault: str) -> str:
    return page(f"<p>The table of {name} is not shown: it {shown(fault)}.</p>")


def _own_row(world: World) -> str:
    """The name that the model of this Space has in a table of results."""
    return "-".join(world.about.get(name, "") for name in ("backbone", "preset", "profile_mode"))
