"""Profiles written live, by a profiler that is loaded when it is first asked; visitors take turns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..data.hub_tables import hub_id
from ..profiler.files import ADAPTER_CONFIG
from ..profiles.evidence import UserEvidence
from ..profiles.profile import ITEM_ITEMS, Profile, parse

if TYPE_CHECKING:
    from ..data.splits import Split
    from ..profiler.modeling_reclm_profiler import RecLMProfiler
    from ..profiles.engine_transformers import TransformersEngine
    from ..profiles.engines import ProfileRequest
    from ..profiles.prompts import ItemLine
    from ..recommender.catalog import Catalog

logger = logging.getLogger(__name__)

_NAME = "visitor"


def require_profiler(source: str) -> None:
    """Raise ValueError, naming the way out, where there is no profiler of that name; loads nothing."""
    from ..bundles import BUNDLES
    from .parts import fetched

    if hub_id(source) is not None and source.partition("@")[0] in BUNDLES:
        return
    try:
        found = [fetched(source, name, "model") for name in (ADAPTER_CONFIG, "config.json")]
        reason = "" if any(found) else f"neither {ADAPTER_CONFIG} nor config.json is there"
    except ValueError as error:
        reason = str(error)
    if reason:
        raise ValueError(
            f"{source}: no profiler ({reason}). Name another one with --profiler, or leave it out: the Space goes on "
            "without live profiles."
        )


class ProfileWriter:
    """Writes the profile of a person, or of the people whom an item finds, as `reclm profiles build` would ask for it.

    Args:
        source: folder or Hub id (`org/name@revision`) of a profiler, an adapter or a chat model.
        catalog: of the recommender: an item's categories, and how common each is, are known from it by the title. None:
            no prompt says what stands out in a history.
    """

    def __init__(self, source: str, catalog: Catalog | None = None) -> None:
        self.source = source
        self._categories = {} if catalog is None else dict(zip(catalog.titles, catalog.categories, strict=True))
        self._catalog = catalog
        self._known: list[ItemLine] = []
        self._lock = Lock()
        self._profiler: RecLMProfiler | None = None
        self._engine: TransformersEngine | None = None

    @property
    def name(self) -> str:
        """What wrote a profile, as the page names it: model and commit once it is loaded, `source` before."""
        return self.source if self._engine is None else self._engine.generator

    def load(self) -> None:
        """Load the model now (seconds), for instance in a thread beside the start; the first profile does otherwise.

        Raises:
            OSError, ValueError: there is no profiler of that name, or it cannot be used; names it and the way out.
        """
        with self._lock:
            self._loaded()

    def write(self, history: Sequence[tuple[str, str]], neighbours: Sequence[Sequence[tuple[str, str]]] = ()) -> str:
        """The profile of a person; takes seconds on a processor.

        Args:
            history: (title, text) of what the person chose, the most recent first.
            neighbours: the same of similar people, the most similar first; those without items are passed over.

        Returns:
            `User identity: ...; User interests: ...`; incomplete where the model left it so.

        Raises:
            ValueError: an empty history, or one that does not fit into the model. OSError, ValueError: as `load`.
        """
        if not history:
            raise ValueError("The history is empty: a profile is written from at least one item.")
        with self._lock:
            profiler, engine = self._loaded()
            near = [list(other) for other in neighbours if other][: profiler.config.neighbors]
            return engine.generate([self._request(profiler, engine, list(history), near)])[0].text

    def write_item(self, title: str, text: str = "", similar: Sequence[tuple[str, str]] = ()) -> str:
        """The profile of the people whom an item would find that nobody has chosen yet (RecLM section 6.6, phase 2).

        Args:
            similar: (title, profile) of the items most like it, the most similar first; three are shown.

        Raises:
            OSError, ValueError: as `load`.
        """
        from ..profiles.engines import ProfileRequest
        from ..profiles.item_profiles import SIMILAR_ITEMS
        from ..profiles.item_prompts import cold_item_message, item_examples

        with self._lock:
            profiler, engine = self._loaded()
            read = [(self._line(profiler, name), parse(profile)) for name, profile in similar]
            shown = [(line, profile) for line, profile in read if _says_something(profile)][:SIMILAR_ITEMS]
            style = profiler.config.style
            message = cold_item_message(self._line(profiler, title, text), shown)
            request = ProfileRequest(_NAME, item_examples(style), (message,), ITEM_ITEMS, language=style.language)
            return engine.generate([request])[0].text

    def _loaded(self) -> tuple[RecLMProfiler, TransformersEngine]:
        """Profiler and engine; held by the lock."""
        if self._profiler is None or self._engine is None:
            from ..bundles import BundleError
            from ..profiler.modeling_reclm_profiler import RecLMProfiler

            found = hub_id(self.source)
            name, revision = (self.source, None) if found is None else found
            try:
                profiler = RecLMProfiler.from_pretrained(name, revision)
            except (OSError, ValueError, ImportError, BundleError) as error:
                raise ValueError(
                    f"{self.source}: no profiler could be loaded from there ({error}). Name another one with "
                    "--profiler, or leave it out: the Space goes on without live profiles."
                ) from error
            titles = () if self._catalog is None else self._catalog.titles
            self._known = [self._line(profiler, title) for title in titles]
            self._profiler, self._engine = profiler, profiler.engine(batch_size=1)
            logger.info("profiles are written by %s", self._engine.generator)
        return self._profiler, self._engine

    def _request(
        self,
        profiler: RecLMProfiler,
        engine: TransformersEngine,
        history: list[tuple[str, str]],
        neighbours: list[list[tuple[str, str]]],
    ) -> ProfileRequest:
        """The request in the form that the model was tuned with."""
        from ..profiles.forms import ask

        people = [history, *neighbours]
        items = list(dict.fromkeys(item for person in people for item in person))
        place = {item: len(self._known) + row for row, item in enumerate(items)}
        rows = [list(dict.fromkeys(place[item] for item in person)) for person in people]
        config = profiler.config
        similar = _fresh(rows, config.neighbor_items)
        part = UserEvidence(0, rows[0], rows[0][: config.history_items], similar, list(range(1, len(rows))))
        lines = [*self._known, *(self._line(profiler, title, text) for title, text in items)]
        split = _split(rows, len(lines), self._seen())
        (asked,) = ask([part], split, lines, config.form, config.style, profiler.tokenizer, engine.max_tokens)
        return asked.request

    def _seen(self) -> np.ndarray:
        """int32 [n] what everybody chose, by which a category is common or telling."""
        return np.zeros(0, dtype=np.int32) if self._catalog is None else self._catalog.seen_indices

    def _line(self, profiler: RecLMProfiler, title: str, text: str = "") -> ItemLine:
        from ..profiles.prompts import ItemLine

        style = profiler.config.style
        shown = text if "text" in style.columns else ""
        return ItemLine(title, tuple(self._categories.get(title, ())), shown, style)


def _fresh(rows: Sequence[Sequence[int]], most: int) -> list[int]:
    """Of each neighbour the first items that neither the person nor a neighbour before has; as `collect_evidence`."""
    touched, similar = set(rows[0]), list[int]()
    for other in rows[1:]:
        fresh = [item for item in other if item not in touched][:most]
        touched.update(fresh)
        similar += fresh
    return similar


def _split(rows: Sequence[Sequence[int]], n_items: int, seen: np.ndarray) -> Split:
    """The people as a split that has nothing but a history; their items come the most recent first.

    One more user chose what everybody did.
    """
    from ..data.splits import make_split

    chosen = [*(np.asarray(items[::-1], dtype=np.int32) for items in rows), seen]
    item = np.concatenate(chosen)
    user = np.repeat(np.arange(len(chosen)), [len(items) for items in chosen]).astype(np.int32)
    names = np.array([_NAME, *(f"neighbour {number}" for number in range(1, len(rows))), "everybody"], dtype=object)
    ids = (names, np.arange(n_items).astype(str).astype(object))
    everything = np.ones(len(user), dtype=bool)
    return make_split(ids, (user, item, None), everything, ~everything, "live", None)


def _says_something(profile: Profile) -> bool:
    return bool(profile.identities and profile.interests)
