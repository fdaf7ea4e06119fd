from __future__ import annotations

from dataclasses import replace

import pytest

from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.profile import Profile, parse, well_formed
from reclm_hf.profiles.prompts import EXAMPLES
from tests.profiles.tiny import request, tiny_model, tiny_tokenizer

TITLES = ["Alien", "Heat", "Ran", "Jaws", "Brazil", "Fargo", "Tootsie"]


def engine(**options):
    return TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", **{"tokens_an_item": 27, **options})


def requests(count=7):
    return [request(f"user-{n}", *TITLES[n:], *TITLES[:n][: n // 2], similar=TITLES[:n]) for n in range(count)]


@pytest.fixture(scope="module")
def written():
    return engine().generate(requests())


def test_profiles_keep_the_format(written):
    assert all(well_formed(result.text) for result in written)


def test_profiles_depend_on_the_request(written):
    assert len({result.text for result in written}) >= 5


def slot_by_hand(tokens, slots, taken, before):
    """One slot, the whole prompt run afresh for every token, without any cache."""
    import torch

    new = []
    while len(new) < 80 and not (new and slots.is_full(new, taken)):
        with torch.inference_mode():
            logits = tiny_model()(input_ids=torch.tensor([tokens + new]), use_cache=False).logits[0, -1]
        logits = logits + slots.mask(new, taken)
        for token in {*before, *new} - slots.unpenalized:
            logits[token] = logits[token] / 1.15 if logits[token] > 0 else logits[token] * 1.15
        new.append(int(logits.argmax()))
    return slots.items(new, taken)


def test_profiles_equal_those_of_a_plain_run_of_each_prompt(written):
    tokenizer, slots = tiny_tokenizer(), engine().slots

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False)

    for one, result in list(zip(requests(), written, strict=True))[:3]:
        whole = tokenizer.apply_chat_template([*EXAMPLES, *one.messages], tokenize=False, add_generation_prompt=True)
        prompt = encode(whole + "User identity:")
        identities = slot_by_hand(prompt, slots.of(3, "identities"), [], [])
        middle = encode(f" {', '.join(identities)}; User interests:")
        interests = slot_by_hand(prompt + middle, slots.of(3, "interests"), identities, middle)
        assert parse(result.text) == Profile(tuple(identities), tuple(interests))


def test_neither_batches_nor_their_order_change_a_profile(written):
    assert engine(batch_size=2).generate(requests()) == written
    assert engine(batch_size=3).generate(requests()[::-1]) == written[::-1]


def test_interests_do_not_repeat_identities(written):
    for result in written:
        profile = parse(result.text)
        assert not {item.casefold() for item in profile.identities} & {item.casefold() for item in profile.interests}


def test_tokens_are_counted(written):
    tokenizer = tiny_tokenizer()
    whole = tokenizer.apply_chat_template(
        [*EXAMPLES, *requests()[0].messages], tokenize=False, add_generation_prompt=True
    )
    assert written[0].tokens_in == len(tokenizer.encode(whole + "User identity:", add_special_tokens=False))
    assert all(0 < result.tokens_out <= 160 for result in written)


def test_what_stays_incomplete_is_returned_as_it_is():
    """Three tokens cannot hold three items: nothing is made up to fill the form."""
    (result,) = engine(tokens_an_item=1).generate(requests(1))
    assert not well_formed(result.text)
    assert result.text.startswith("User identity:")
    assert "; User interests:" in result.text


def test_a_retry_is_seeded_by_the_user_and_not_by_its_place(monkeypatch):
    """With every first attempt cut short, all profiles come from the retry."""
    drawing = engine()
    fill = drawing._fill

    def cut_short(batch, slots, seeds, taken, before):
        return fill(batch, slots, seeds, taken, before) if seeds else [[] for _ in taken]

    monkeypatch.setattr(drawing, "_fill", cut_short)
    both = drawing.generate(requests(4))
    assert sum(well_formed(result.text) for result in both) >= 3
    assert drawing.generate(requests(4)[::-1]) == both[::-1]
    assert drawing.generate([requests(4)[1]]) == [both[1]]
    other = drawing.generate([replace(requests(4)[1], key="somebody else")])
    assert other != [both[1]]


def test_item_profiles_have_five_of_each():
    (result,) = engine().generate([replace(requests(1)[0], size=5)])
    assert well_formed(result.text, 5)


def test_draws_differ_from_one_another_and_from_the_greedy_profile_and_repeat():
    first = requests(1)[0]
    asked = [replace(first, sample=sample) for sample in range(4)]
    written = engine().generate(asked)
    assert len({result.text for result in written}) == 4
    assert engine().generate(asked[2:3]) == written[2:3]


def test_the_generator_names_model_slots_and_precision():
    usual = TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny")
    assert usual.generator == "tiny; forced slots-2, float32"
    other = TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", repetition_penalty=3.0)
    assert other.generator != usual.generator


def test_no_requests_no_profiles():
    assert engine().generate([]) == []


def test_a_template_that_rewrites_earlier_messages_is_refused():
    tokenizer = tiny_tokenizer()
    rewriting = "{{ messages | length }}" + tokenizer.chat_template
    changed = TransformersEngine(tiny_model(), tokenizer, "tiny")
    old = tokenizer.chat_template
    try:
        tokenizer.chat_template = rewriting
        with pytest.raises(ValueError, match="changes earlier messages"):
            changed.generate(requests(1))
    finally:
        tokenizer.chat_template = old
