"""The random model: a file that gguf reads back, of the size and the scale that it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from agent.errors import Unavailable
from tests.bench.real_gpu import model
from tests.bench.real_gpu.client import PIECES

TINY = model.Shape(layers=2, width=256, heads=4, kv_heads=2, hidden=512, pieces=1000)


def test_the_file_holds_the_shape(tmp_path: Path) -> None:
    path = model.cached(tmp_path, TINY)
    reader = gguf.GGUFReader(path)
    tensors = {t.name: t for t in reader.tensors}
    assert len(tensors) == 2 + 1 + 9 * TINY.layers
    assert sum(t.n_bytes for t in reader.tensors) == TINY.size_bytes
    assert list(tensors["blk.1.attn_k.weight"].shape) == [256, 128], "half of the heads have keys of their own"
    assert tensors["output.weight"].tensor_type == gguf.GGMLQuantizationType.Q8_0
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == TINY.pieces
    assert set(np.asarray(tensors["output_norm.weight"].data)) == {1.0}


def test_a_row_of_weights_has_the_length_of_one(tmp_path: Path) -> None:
    path = model.cached(tmp_path, TINY)
    (down,) = (t for t in gguf.GGUFReader(path).tensors if t.name == "blk.0.ffn_down.weight")
    weights = gguf.dequantize(down.data, down.tensor_type)
    assert weights.shape == (256, 512)
    assert np.linalg.norm(weights, axis=1).mean() == pytest.approx(1.0, rel=0.05)


def test_the_whole_model_is_of_the_size_of_an_8b() -> None:
    assert model.LLAMA_8B.size_bytes == pytest.approx(7.7e9, rel=0.02)


def test_it_is_written_once(tmp_path: Path) -> None:
    path = model.cached(tmp_path, TINY)
    written_ns = path.stat().st_mtime_ns
    assert model.cached(tmp_path, TINY) == path
    assert path.stat().st_mtime_ns == written_ns
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_clients_ask_in_words_that_any_model_has() -> None:
    assert 3 + 256 < PIECES[0] < PIECES[1] <= TINY.pieces


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path: Path) -> None:
    size = 10 * shutil.disk_usage(tmp_path).total
    huge = model.Shape(layers=1, width=4096, heads=1, kv_heads=1, hidden=1, pieces=size // 4096)
    with pytest.raises(Unavailable, match="GB free, the model takes"):
        model.make(tmp_path / "huge.gguf", huge)
    assert not list(tmp_path.iterdir())
