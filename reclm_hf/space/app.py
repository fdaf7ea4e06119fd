"""Starts the Space: reads the tables, builds the page, serves it, and then loads the model."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .settings import Settings

if TYPE_CHECKING:
    import gradio as gr

    from .world import World

log = logging.getLogger(__name__)

# A visitor may have a few requests open; who comes when so many wait is told so instead of waiting for minutes.
_WAITING = 200
# Gradio keeps what it changed of the page for each visitor, some 200 KB: this bounds it to about 40 MB. Who is
# forgotten notices nothing, for no choice is checked against what was offered.
_REMEMBERED = 200


def build(world: World) -> gr.Blocks:
    """The page and its four named endpoints."""
    _import_gradio()
    from .interface import build_page

    return build_page(world)


def start(
    source: Settings | World,
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    block: bool = True,
    share: bool = False,
    ready: Callable[[str], None] | None = None,
) -> str:
    """Serve the Space and return its address.

    The page answers before the model is loaded; whoever asks in between waits for it.

    Args:
        source: what to load, or a world.
        host: "0.0.0.0" serves other machines too.
        port: None: GRADIO_SERVER_PORT, or the first free one from 7860.
        block: wait until the process is interrupted; else the server ends with the process.
        share: a public address through gradio's servers.
        ready: called with the address as soon as it answers.

    Raises:
        ValueError, OSError: as `load_world` and `from_pretrained`; OSError: the port is taken.
    """
    with _no_collections():
        if isinstance(source, Settings):
            from .world import load_world

            world = load_world(source)
        else:
            world = source
        page = build(world)
        url = serve(page, host, port, share=share)
    if ready is not None:
        ready(url)
    # The page is there first: what its answers need takes longer than the page, and would hold it up.
    try:
        _prepare(world)
        while block and page.is_running:
            time.sleep(0.1)  # gradio's own wait takes Ctrl-C for itself, and says so on stdout
    except BaseException as end:
        page.close(verbose=False)
        if type(end) is not KeyboardInterrupt:  # a command has a kind of its own, and says what it tells
            raise
    return url


def serve(page: gr.Blocks, host: str = "127.0.0.1", port: int | None = None, *, share: bool = False) -> str:
    """Serve a page in threads of this process and return its address; `page.close()` ends it."""
    from .style import ANNOUNCE, CSS, theme

    _, url, public = page.queue(max_size=_WAITING).launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=share,
        ssr_mode=False,
        show_error=True,  # the page itself turns every error into a sentence
        run_history=False,
        state_session_capacity=_REMEMBERED,
        max_file_size=0,  # nothing here takes a file, and gradio's route for them is open to everybody
        enable_monitoring=False,  # else anybody can have its address, with its key, printed
        footer_links=["api", "settings"],
        theme=theme(),
        css=CSS,
        js=ANNOUNCE,
    )
    return str(public or url)


def _prepare(world: World) -> None:
    from .answers import prepare

    world.scorer()
    prepare(world)
    if world.writer is not None:
        try:
            world.writer.load()
        except (OSError, ValueError) as error:
            log.warning("%s", error)  # the page says so to whoever asks for a profile


@contextmanager
def _no_collections() -> Iterator[None]:
    """Without Python's collector, which finds nothing to free among what modules make as they load."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _import_gradio() -> Any:
    """`import gradio`, without the stub files that it would write for each of its components.

    It parses its own sources for them on every import, which is half of the time that the import takes, and writes to
    the folder that it is installed in.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # else it reports its use
    real = inspect.getfile

    def without_components(of: Any) -> str:
        if isinstance(of, type) and of.__module__.startswith("gradio."):
            raise OSError("no stub files")  # the case that gradio has for classes without a file
        return real(of)

    inspect.getfile = without_components  # type: ignore[assignment]
    try:
        import gradio
    finally:
        inspect.getfile = real
    return gradio
