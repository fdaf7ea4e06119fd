from __future__ import annotations

import numpy as np
import pytest

from reclm_hf.recommender import text_encoder
from reclm_hf.recommender.text_encoder import TextEncoder

TEXTS = ["a cat", "a cat and a dog and a bird and a fish", "dog", "the bird of the sea", "a fish a fish a fish"]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A random BERT of one layer with a word-level vocabulary, as a local model folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for text in TEXTS for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def encoder(encoder_folder, tmp_path):
    return TextEncoder(encoder_folder, cache=tmp_path)


def again(encoder_folder, tmp_path, monkeypatch, **options):
    """A new encoder over the same cache, and the list of texts that it has to compute."""
    encoder = TextEncoder(encoder_folder, cache=tmp_path, **options)
    computed, compute = [], encoder._compute
    monkeypatch.setattr(
        encoder, "_compute", lambda texts, progress: (computed.extend(texts), compute(texts, progress))[1]
    )
    return encoder, computed


def test_vectors_are_the_normalised_means_of_the_token_states(encoder, encoder_folder):
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer, model = AutoTokenizer.from_pretrained(encoder_folder), BertModel.from_pretrained(encoder_folder).eval()
    found = encoder.encode(TEXTS, progress=False)
    assert found.shape == (len(TEXTS), encoder.dimension)
    assert found.dtype == np.float32
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_text_has_one_vector_whatever_stands_beside_it(encoder, encoder_folder, tmp_path):
    together = encoder.encode(TEXTS, progress=False)
    alone = TextEncoder(encoder_folder, cache=tmp_path / "other")
    np.testing.assert_allclose(
        np.concatenate([alone.encode([text], progress=False) for text in TEXTS]), together, atol=1e-5
    )


def test_repeated_texts_and_their_order(encoder):
    vectors = encoder.encode([TEXTS[1], TEXTS[0], TEXTS[1]], progress=False)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[[1, 0]], encoder.encode(TEXTS[:2], progress=False))


def test_texts_are_computed_once_across_runs(encoder, encoder_folder, tmp_path, monkeypatch):
    first = encoder.encode(TEXTS[:3], progress=False)
    later, computed = again(encoder_folder, tmp_path, monkeypatch)
    np.testing.assert_array_equal(later.encode(TEXTS, progress=False)[:3], first)
    assert computed == TEXTS[3:]


def test_another_length_or_model_has_its_own_cache(encoder, encoder_folder, tmp_path, monkeypatch):
    long = encoder.encode(TEXTS, progress=False)
    short, computed = again(encoder_folder, tmp_path, monkeypatch, max_length=4)
    vectors = short.encode(TEXTS, progress=False)
    assert computed == TEXTS
    assert not np.allclose(vectors[1], long[1], atol=1e-3)
    np.testing.assert_allclose(vectors[2], long[2], atol=1e-5)  # short enough for both


def test_a_broken_cache_file_is_computed_again(encoder, encoder_folder, tmp_path, monkeypatch, caplog):
    expected = encoder.encode(TEXTS, progress=False)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    later, computed = again(encoder_folder, tmp_path, monkeypatch)
    np.testing.assert_array_equal(later.encode(TEXTS, progress=False), expected)
    assert sorted(computed) == sorted(TEXTS)
    assert "encoded again" in caplog.text


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(encoder_folder, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    encoder = TextEncoder(encoder_folder, cache=tmp_path / "file")
    assert encoder.encode(TEXTS, progress=False).shape == (5, 16)
    assert "could not be cached" in caplog.text


@pytest.mark.parametrize("bad", ["", "  ", None, float("nan")])
def test_an_empty_or_missing_text_is_named_by_its_position(encoder, bad):
    with pytest.raises(ValueError, match="text 1 is"):
        encoder.encode(["a cat", bad], progress=False)


def test_no_texts_no_vectors(encoder):
    assert encoder.encode([], progress=False).shape == (0, 16)


@pytest.mark.slow
def test_the_default_encoder_equals_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer

    from reclm_hf.bundles import resolve_model

    encoder = TextEncoder(cache=tmp_path)
    texts = ["Heat (1995). Genres: Crime, Drama", "Toy Story (1995). Genres: Animation", "a short one"]
    reference = SentenceTransformer(resolve_model(encoder.model_id).path).encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(texts, progress=False), reference, atol=1e-5)


def test_batches_hold_texts_of_one_length_each_text_once(encoder, monkeypatch):
    monkeypatch.setattr(text_encoder, "_BATCH_TOKENS", 24)
    monkeypatch.setattr(text_encoder, "_WINDOW", 30)
    texts = [" ".join(["cat"] * length) for length in np.random.default_rng(0).integers(1, 40, 50)]
    batches = list(encoder._batches(texts, encoder._model()[0]))
    assert sorted(np.concatenate(batches)) == list(range(50))
    tokens = [[len(texts[row].split()) + 2 for row in rows] for rows in batches]
    assert all(len(counts) == 1 or len(counts) * max(counts) <= 24 for counts in tokens)
    assert any(len(counts) > 1 for counts in tokens)
    in_window = [counts for rows, counts in zip(batches, tokens, strict=True) if rows.max() < 30]
    assert np.concatenate(in_window).tolist() == sorted(np.concatenate(in_window))


def test_vectors_do_not_depend_on_the_batches(encoder_folder, tmp_path, monkeypatch):
    expected = TextEncoder(encoder_folder, cache=tmp_path / "one").encode(TEXTS, progress=False)
    monkeypatch.setattr(text_encoder, "_BATCH_TOKENS", 1)
    found = TextEncoder(encoder_folder, cache=tmp_path / "other").encode(TEXTS, progress=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)
