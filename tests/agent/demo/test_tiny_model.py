"""The tiny model's file."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from agent.demo import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tiny_model.make(path)
    return path


def test_its_header_says_a_small_llama(model: Path) -> None:
    reader = gguf.GGUFReader(model)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["llama.block_count"] == 2
    assert fields["llama.embedding_length"] == 64
    assert fields["llama.vocab_size"] == 700
    assert model.stat().st_size < 1_000_000


def test_its_vocabulary_can_write_any_text(model: Path) -> None:
    pieces = gguf.GGUFReader(model).fields["tokenizer.ggml.tokens"].contents()
    assert len(pieces) == len(set(pieces)) == 700
    assert {f"<0x{value:02X}>" for value in range(256)} <= set(pieces)


def test_it_is_the_same_every_time(model: Path, tmp_path: Path) -> None:
    tiny_model.make(tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == model.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.gguf"], "no partial file is left"


def test_the_cached_one_is_made_once(tmp_path: Path) -> None:
    path = tiny_model.cached(tmp_path)
    path.write_bytes(b"kept")
    assert tiny_model.cached(tmp_path).read_bytes() == b"kept"
