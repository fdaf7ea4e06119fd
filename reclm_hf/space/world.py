"""Everything that a Space shows, loaded once and then only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.hub_tables import hub_id
from ..recommender.catalog import CATALOG_FILE, TENSORS_FILE, USERS_FILE, Catalog
from ..recommender.integrity import CONFIG_FILE, read_object
from .once import Later
from .parts import Results, Tables, about_data, fetched, located, manifest_of, read_results, read_tables
from .settings import Settings
from .writer import ProfileWriter, require_profiler

if TYPE_CHECKING:
    import pandas as pd

    from ..recommender.modeling_reclm_recommender import RecLMRecommender
    from .encoder import SharedEncoder

_PATHS = {"recommender": "", "tables": "datasets/", "results": "datasets/", "profiler": ""}
_LABELS = {"recommender": "The recommender", "tables": "The data", "results": "The results", "profiler": "The profiler"}


@dataclass(frozen=True)
class UserProfile:
    """One row of `user_profiles`: ids that the recommender does not know are left out of evidence and neighbours.

    Attributes:
        profile: as it was written, well-formed or not. evidence: item ids. neighbors: user ids.
        as_of: "2013-07-31 00:12 UTC", or "" where the data have no times. generator: what wrote it.
    """

    profile: str
    identities: list[str]
    interests: list[str]
    evidence: list[str]
    neighbors: list[str]
    as_of: str
    generator: str


class Scorer(NamedTuple):
    """What takes seconds to load: the recommender, with what every answer needs, and the encoder of visitors' texts."""

    model: RecLMRecommender
    encoder: SharedEncoder


@dataclass(frozen=True)
class World:
    """What a Space shows. Threads may read it at once; nothing in it changes.

    Attributes:
        catalog: of the recommender. scorer: gives the recommender and the encoder, loaded when first asked for.
        texts: [I] text of each item in the order of the catalogue, "" where it is not known.
        profiles: user id -> profile. item_profiles: item id -> profile text. Empty where there are none.
        results, comparisons, strata: tables of the evaluation, None where there are none.
        certificates: of the leak check, as `Certificate.to_dict`.
        about: dataset, licence, attribution, fingerprint, backbone, preset, profile_mode; "" where it is not known.
        links: label and address of the cards on the Hub; [] for folders.
        writer: writes profiles live; None without a profiler.
    """

    settings: Settings
    catalog: Catalog
    scorer: Later[Scorer]
    texts: list[str]
    profiles: dict[str, UserProfile]
    item_profiles: dict[str, str]
    results: pd.DataFrame | None
    comparisons: pd.DataFrame | None
    strata: pd.DataFrame | None
    certificates: list[dict[str, Any]]
    about: dict[str, str]
    links: list[tuple[str, str]]
    writer: ProfileWriter | None

    @property
    def model(self) -> RecLMRecommender:
        """The recommender; whoever asks first waits until it is loaded. Raises as `from_pretrained`.

        Ask for it before importing torch or what imports transformers: two threads that import transformers at once
        get modules that are not finished.
        """
        return self.scorer().model

    @property
    def encoder(self) -> SharedEncoder:
        """The encoder of the texts that visitors write."""
        return self.scorer().encoder


def load_world(settings: Settings) -> World:
    """Load what the settings name, all but the model: reading tables takes a moment, importing what it needs seconds.

    Raises:
        OSError, ValueError: there is no recommender, a part that was named is not there, or the parts do not belong
            together; names the part and the way out.
    """
    if settings.profiler is not None:
        require_profiler(settings.profiler)
    tables = read_tables(settings.tables, settings.profiles)
    folder = _catalog_folder(settings.recommender)
    catalog = Catalog.load(folder)
    _require_same_items(tables, catalog, settings)
    manifest, found = manifest_of(settings.recommender, "model"), read_results(settings.results)
    about = _about(folder, [manifest, found.manifest], tables.info)
    _require_same_data(found, about["fingerprint"], settings)
    return World(
        settings=settings,
        catalog=catalog,
        scorer=Later(lambda: _scorer(settings, folder)),
        texts=_texts(tables, catalog),
        profiles=_profiles(tables, catalog, settings),
        item_profiles=_item_profiles(tables, catalog),
        results=found.results,
        comparisons=found.comparisons,
        strata=found.strata,
        certificates=_certificates(manifest, found.manifest) or tables.certificates,
        about=about,
        links=_links(settings),
        writer=None if settings.profiler is None else ProfileWriter(settings.profiler, catalog),
    )


def _catalog_folder(source: str) -> Path:
    """The folder with configuration and catalogue of a recommender, fetched if need be; the weights are not."""
    found = {name: fetched(source, name, "model") for name in (CONFIG_FILE, CATALOG_FILE, USERS_FILE, TENSORS_FILE)}
    for name, path in found.items():
        if path is None:
            raise OSError(f"{source}: has no {name}: it is no recommender. Name one that `reclm train` or `demo` made.")
    return Path(str(found[CONFIG_FILE])).parent


def _scorer(settings: Settings, folder: Path) -> Scorer:
    """Load the recommender, and compute what the first visitor would otherwise wait for.

    Args:
        folder: where the catalogue was read; of a repository it bears the commit's name.
    """
    from ..recommender.modeling_reclm_recommender import RecLMRecommender
    from .encoder import SharedEncoder

    name, revision = located(settings.recommender)
    commit = None if hub_id(settings.recommender) is None else folder.name
    model: RecLMRecommender = RecLMRecommender.from_pretrained(name, revision=commit or revision).eval()
    _warm(model)
    config = model.config
    return Scorer(model, SharedEncoder(config.text_encoder, config.text_encoder_revision, config.text_max_length))


def _warm(model: RecLMRecommender) -> None:
    """Compute what every answer needs, so that the first visitor does not wait for it: somebody new asks once."""
    import numpy as np

    from ..recommender.similar import item_vectors, user_vectors
    from ..recommender.what_if import Someone

    item_vectors(model, "model")
    user_vectors(model, "model")
    if len(model.catalog.seen_indices):
        history = [model.catalog.item_ids[model.catalog.seen_indices[0]]]
        reads = model.backbone.support(model.config).new_users_by_profile
        vector = np.ones(model.config.profile_dim, dtype=np.float32) if reads else None
        asking = Someone(history=history, profile="somebody" if reads else None, vector=vector)
        model.rank_for(asking).parts(np.zeros(1, dtype=np.int64))


def _require_same_items(tables: Tables, catalog: Catalog, settings: Settings) -> None:
    """Refuse tables that describe another catalogue: ids alone would not tell, numbers occur in every data set.

    Items may have been added to either side since.
    """
    if tables.items is None:
        return
    titles = dict(zip(tables.items["item_id"], tables.items["title"], strict=True))
    named = [(item, title) for item, title in zip(catalog.item_ids, catalog.titles, strict=True) if item in titles]
    same = sum(not title or titles[item] == title for item, title in named)
    if same < catalog.n_items / 2:
        raise ValueError(
            f"{tables.source}: has {len(named):,} of the {catalog.n_items:,} items of {settings.recommender}, "
            f"{same:,} under the same title: these are tables of other data. Name those that the recommender was "
            "trained on with --tables, or `tables` in the settings."
        )


def _require_same_data(found: Results, fingerprint: str, settings: Settings) -> None:
    if found.results is None or not fingerprint or "fingerprint" not in found.results.columns:
        return
    others = sorted(set(found.results["fingerprint"].dropna().astype(str)) - {fingerprint})
    if others:
        raise ValueError(
            f"{settings.results}: results on other data than those of {settings.recommender} (fingerprint "
            f"{others[0][:12]} instead of {fingerprint[:12]}). Name its own with --results, or leave them out."
        )


def _texts(tables: Tables, catalog: Catalog) -> list[str]:
    if tables.items is None:
        return [""] * catalog.n_items
    known = dict(zip(tables.items["item_id"], tables.items["text"], strict=True))
    return [str(known.get(item, "")) for item in catalog.item_ids]


def _profiles(tables: Tables, catalog: Catalog, settings: Settings) -> dict[str, UserProfile]:
    if tables.users is None:
        return {}
    users, items = set(catalog.user_ids), set(catalog.item_ids)
    found = {
        row.user_id: UserProfile(
            profile=_text(row.profile),
            identities=_listed(row.identities),
            interests=_listed(row.interests),
            evidence=[item for item in _listed(row.evidence) if item in items],
            neighbors=[user for user in _listed(row.neighbors) if user in users],
            as_of=_moment(row.as_of),
            generator=_text(row.generator),
        )
        for row in tables.users.itertuples(index=False)
        if row.user_id in users
    }
    if len(tables.users) and not found:
        raise ValueError(
            f"{settings.profiles or tables.source}: no profile in it is of a user of {settings.recommender}; the first "
            f"is of {tables.users['user_id'].iloc[0]!r}. Name the profiles of its own data."
        )
    return found


def _item_profiles(tables: Tables, catalog: Catalog) -> dict[str, str]:
    if tables.item_profiles is None:
        return {}
    known, table = set(catalog.item_ids), tables.item_profiles
    written = zip(table["item_id"], table["profile"], strict=True)
    return {item: text for item, text in written if item in known and isinstance(text, str)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> list[str]:
    return [str(entry) for entry in value] if hasattr(value, "__len__") and not isinstance(value, str) else []


def _moment(value: Any) -> str:
    import pandas as pd

    return "" if pd.isna(value) else value.strftime("%Y-%m-%d %H:%M UTC")


def _certificates(*manifests: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of the first manifest that has some."""
    found = ([dict(entry) for entry in manifest.get("certificates") or ()] for manifest in manifests)
    return next((entries for entries in found if entries), [])


def _about(folder: Path, manifests: list[Mapping[str, Any]], info: Mapping[str, Any]) -> dict[str, str]:
    config = read_object(folder / CONFIG_FILE)
    data = next(filter(None, map(about_data, manifests)), {})
    said = {
        "dataset": data.get("dataset") or info.get("name"),
        "licence": data.get("license") or info.get("licence"),
        "attribution": data.get("attribution") or info.get("attribution"),
        "fingerprint": data.get("fingerprint"),
        **{name: config.get(name) for name in ("backbone", "preset", "profile_mode")},
    }
    return {name: "" if value is None else str(value) for name, value in said.items()}


def _links(settings: Settings) -> list[tuple[str, str]]:
    return [(_LABELS[part], address) for part, address in _addresses(settings)]


def _addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    from huggingface_hub import constants

    for part, path in _PATHS.items():
        source = getattr(settings, part)
        found = None if source is None else hub_id(source)
        if found is not None:
            yield part, f"{constants.ENDPOINT}/{path}{found[0]}"
