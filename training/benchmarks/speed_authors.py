"""The same rows by the authors' way (`authors_way.py`), and by what stands for it where their code has no such part."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import authors_way
import numpy as np
import torch
from authors_way import AuthorsModel, Triples
from speed_ours import BLOCK, BOTH, Context, Cost, Probe, now, once, options_of, since, texts_of, untrained
from speed_rows import FIFTY


def _copied(context: Context, backbone: str) -> AuthorsModel:
    return AuthorsModel(untrained(context, backbone), context.data.split)


def negatives(context: Context) -> Probe:
    """The Python loop."""
    triples = Triples(context.data.split)
    return Probe(partial(once, triples.draw))


def epochs(context: Context, backbone: str) -> Probe:
    """Negatives, loader and steps of a whole epoch."""
    model, triples, options = _copied(context, backbone), Triples(context.data.split), options_of(backbone)
    optimizer = authors_way.make_optimizer(model, options.learning_rate)
    work = partial(authors_way.train_epoch, model, optimizer, triples, options.batch_size)
    return Probe(partial(once, work))


def steps(context: Context, backbone: str) -> Probe:
    """One step on a batch that is there already: the loader is not counted."""
    model, triples, options = _copied(context, backbone), Triples(context.data.split), options_of(backbone)
    optimizer, rng = authors_way.make_optimizer(model, options.learning_rate), np.random.default_rng(0)
    triples.draw()
    rows = rng.permutation(len(triples))[: options.batch_size]
    batch = [torch.from_numpy(column[rows]) for column in (triples.user, triples.positive, triples.negative)]
    return Probe(lambda: once(lambda: authors_way.step(model, optimizer, batch)))


def evaluation(context: Context) -> Probe:
    """All users of the test day."""
    model = _copied(context, "bias_mf")
    work = partial(authors_way.evaluate, model, context.data.split, "test_items")
    return Probe(partial(once, work), check=work)


def ncf_scores(context: Context) -> Probe:
    """One block of users, times the blocks that there are."""
    model, split = _copied(context, "ncf"), context.data.split
    items = torch.from_numpy(split.candidates("test_items").astype(np.int64))
    users = torch.arange(min(authors_way.TEST_USERS, split.n_users))
    blocks = split.n_users / len(users)

    def check() -> dict[str, float]:
        return {"sum_of_a_block": float(model.all_scores(users[:BLOCK], items).double().sum())}

    facts = {"extrapolated": f"{len(users):,} users, times {blocks:.1f}"}
    return Probe(lambda: once(lambda: model.all_scores(users, items), 1 / blocks), facts=facts, check=check)


def fifty(context: Context) -> Probe:
    """One epoch and both evaluations, times fifty."""
    model, triples, options = _copied(context, "bias_mf"), Triples(context.data.split), options_of("bias_mf")
    optimizer = authors_way.make_optimizer(model, options.learning_rate)

    def work() -> None:
        authors_way.train_epoch(model, optimizer, triples, options.batch_size)
        for setting in BOTH:
            authors_way.evaluate(model, context.data.split, setting)

    facts = {"extrapolated": f"an epoch with both evaluations times {FIFTY}"}
    return Probe(lambda: once(work, 1 / FIFTY), facts=facts)


def encoding(context: Context) -> Probe:
    """Not theirs: what a few lines of transformers do, with the same weights and the same cut."""
    from transformers import AutoModel, AutoTokenizer

    from reclm_hf.bundles import resolve_model
    from reclm_hf.recommender.text_encoder import DEFAULT_ENCODER

    path = resolve_model(DEFAULT_ENCODER).path
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    given, turn = texts_of(context), [0]

    @torch.inference_mode()
    def encode(texts: list[str]) -> torch.Tensor:
        found = []
        for start in range(0, len(texts), 64):
            part = texts[start : start + 64]
            batch = tokenizer(part, padding=True, truncation=True, max_length=128, return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(-1)
            hidden = model(**batch).last_hidden_state * mask
            found.append(torch.nn.functional.normalize(hidden.sum(1) / mask.sum(1), dim=1))
        return torch.cat(found)

    def sample() -> Cost:
        turn[0] += 1
        start = now()
        encode([f"{text} {turn[0]}" for text in given])
        return since(start, len(given))

    return Probe(sample, check=lambda: {"first_component": float(encode(given[:1])[0, 0])})


def profiles(context: Context) -> Probe:
    """Whole prompts, one by one, in float32."""
    from speed_profiles import Writers

    writers = Writers(context.quick)
    return Probe(writers.alone, facts=writers.facts)


AUTHORS: dict[str, Callable[[Context], Probe]] = {
    "negatives": negatives,
    "bias_mf": partial(epochs, backbone="bias_mf"),
    "lightgcn": partial(epochs, backbone="lightgcn"),
    "sgl": partial(steps, backbone="sgl"),
    "simgcl": partial(steps, backbone="simgcl"),
    "evaluation": evaluation,
    "ncf_scores": ncf_scores,
    "fifty": fifty,
    "encoding": encoding,
    "profiles": profiles,
}
