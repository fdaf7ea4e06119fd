"""The page: a head, three tabs, and the named endpoints."""

from __future__ import annotations

import html
import logging
from typing import TYPE_CHECKING, Any

import gradio as gr

from .api import endpoints
from .interface_events import API
from .interface_new import new_tab
from .interface_results import results_tab
from .interface_user import user_tab
from .markup import page, shown
from .shapes import Sentence

if TYPE_CHECKING:
    from gradio.block_function import BlockFunction

    from .world import World

OLD_PAGE = "This page no longer fits what the Space shows: load it again, please."
SORRY = "Sorry, something went wrong here that is not your fault; please try something else."
log = logging.getLogger(__name__)


class Page(gr.Blocks):
    """Blocks whose every error is one sentence, in the page, in the API and in the log."""

    async def process_api(self, block_fn: BlockFunction | int, inputs: list[Any], *args: Any, **named: Any) -> Any:
        """As in gradio. Sentences are shown; anything else is logged in one line without what the visitor wrote."""
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        # The page reads messages as HTML, clients of the API read them as they are.
        written = str if fn.api_visibility == "public" else html.escape
        try:
            return await super().process_api(block_fn, inputs, *args, **named)
        except Sentence as error:
            message = str(error)
        except gr.Error:  # gradio's own check of a value, which would list everything that is offered
            message = OLD_PAGE
        except Exception as error:
            log.error("%s: %s at %s", fn.api_name or fn.name, type(error).__name__, _place(error))
            message = SORRY
        raise gr.Error(written(message), print_exception=False)


def build_page(world: World) -> Page:
    """The whole page for a world."""
    with Page(title=world.settings.title, analytics_enabled=False) as built:
        gr.HTML(_head(world))
        with gr.Tabs():
            with gr.Tab("A user", id="user"):
                show_first = user_tab(world)
            with gr.Tab("Something new", id="new"):
                new_tab(world)
            with gr.Tab("How good is it", id="results"):
                results_tab(world)
        show_first(built)
        for name, function in endpoints(world).items():
            gr.api(function, api_name=name, **API)
    return built


def _head(world: World) -> str:
    about, catalog = world.about, world.catalog
    model = " ".join(about[key] for key in ("backbone", "preset") if about.get(key))
    size = f"{len(catalog.user_ids):,} users and {len(catalog.item_ids):,} items"
    source = " ".join(about[key] for key in ("dataset",) if about.get(key))
    licence = ", ".join(about[key] for key in ("licence", "attribution") if about.get(key))
    said = f"{model} on {source}: {size}." if source else f"{model}: {size}."
    return page(
        f"<h1>{shown(world.settings.title)}</h1>",
        "<p>Recommendations for people and things that a system has never seen, by short profiles in plain words. "
        "Look at a user, change the profile, describe yourself, or invent an item.</p>",
        f'<p class="quiet">{shown(said)} {shown(licence)}</p>',
    )


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
