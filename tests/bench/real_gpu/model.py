"""A Llama-shaped model with random weights in Q8_0: it talks nonsense, at the cost in joules of a real one.

Its vocabulary begins with that of the demonstration's tiny model. The bytes are the same every time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.demo.tiny_model import _vocabulary
from agent.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "random"
SEED = 1
PER_BLOCK, BLOCK_BYTES = 32, 34  # Q8_0: a scale in float16, then 32 signed bytes
SIGNED_BYTE_RMS = 73  # of bytes that come by chance
POOL_BLOCKS = 1 << 20  # drawn once and repeated: weights need not be different to cost the same


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a Llama. kv_heads: heads of keys and values."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    pieces: int  # of the vocabulary
    context: int = 8192

    def tensors(self) -> Iterator[tuple[str, int, int]]:
        """Name in llama.cpp's words, rows, columns; 0 rows: a vector of ones, which norms have."""
        kv = self.width // self.heads * self.kv_heads
        yield "token_embd.weight", self.pieces, self.width
        for layer in range(self.layers):
            block = f"blk.{layer}."
            yield f"{block}attn_norm.weight", 0, self.width
            yield f"{block}attn_q.weight", self.width, self.width
            yield f"{block}attn_k.weight", kv, self.width
            yield f"{block}attn_v.weight", kv, self.width
            yield f"{block}attn_output.weight", self.width, self.width
            yield f"{block}ffn_norm.weight", 0, self.width
            yield f"{block}ffn_gate.weight", self.hidden, self.width
            yield f"{block}ffn_up.weight", self.hidden, self.width
            yield f"{block}ffn_down.weight", self.width, self.hidden
        yield "output_norm.weight", 0, self.width
        yield "output.weight", self.pieces, self.width

    @property
    def size_bytes(self) -> int:
        """Of the weights."""
        return sum(rows * cols // PER_BLOCK * BLOCK_BYTES or cols * 4 for _, rows, cols in self.tensors())


LLAMA_8B = Shape(layers=32, width=4096, heads=32, kv_heads=8, hidden=14336, pieces=32_000)


def cached(folder: Path, shape: Shape = LLAMA_8B) -> Path:
    """The model's file under folder, made if it is not there. Raises Unavailable."""
    path = folder / f"random-{shape.size_bytes}.gguf"
    if not path.is_file():
        make(path, shape)
    return path


def make(path: Path, shape: Shape) -> None:
    """Write the model, one tensor at a time; whoever reads `path` sees the whole file or none.

    Raises Unavailable: no room on the disk, or the extra "demo" is not installed.
    """
    try:
        import gguf  # noqa: PLC0415 - it has no place in benchmarks that need no model
        import numpy as np  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable("the package gguf is missing", 'pip install "joulecar[demo]"') from error
    path.parent.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < 1.1 * shape.size_bytes:
        raise Unavailable(
            f"{path.parent} has {free_bytes / 1e9:.1f} GB free, the model takes {shape.size_bytes / 1e9:.1f} GB",
            "name a model of your own with --model, or another folder with XDG_CACHE_HOME",
        )
    partial = path.with_name(path.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    _describe(writer, shape, gguf.LlamaFileType.MOSTLY_Q8_0)
    for name, rows, cols in shape.tensors():
        if rows:
            row_bytes = cols // PER_BLOCK * BLOCK_BYTES
            writer.add_tensor_info(
                name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, gguf.GGMLQuantizationType.Q8_0
            )
        else:
            writer.add_tensor_info(name, (cols,), np.dtype(np.float32), cols * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    pool = np.random.default_rng(SEED).integers(0, 256, size=(POOL_BLOCKS, BLOCK_BYTES), dtype=np.uint8)
    for _, rows, cols in shape.tensors():
        writer.write_tensor_data(_weights(pool, rows, cols) if rows else np.ones(cols, dtype=np.float32))
    writer.close()
    partial.replace(path)


def _describe(w: Any, shape: Shape, file_type: int) -> None:
    """What stands before the weights. w: gguf's writer."""
    w.add_name(NAME)
    w.add_context_length(shape.context)
    w.add_embedding_length(shape.width)
    w.add_block_count(shape.layers)
    w.add_feed_forward_length(shape.hidden)
    w.add_head_count(shape.heads)
    w.add_head_count_kv(shape.kv_heads)
    w.add_rope_dimension_count(shape.width // shape.heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(shape.pieces)
    w.add_file_type(file_type)
    known = list(_vocabulary())
    normal = 1  # GGUF's token type
    more = [(f"xq{n}z", -1e4 - n, normal) for n in range(shape.pieces - len(known))]
    pieces, scores, kinds = zip(*known, *more, strict=True)
    w.add_tokenizer_model("llama")
    w.add_token_list(pieces)
    w.add_token_scores(scores)
    w.add_token_types(kinds)
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)


def _weights(pool: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.uint8]:
    """A matrix in Q8_0 whose values have a root mean square of 1 / sqrt(cols)."""
    import numpy as np  # noqa: PLC0415

    blocks = np.resize(pool, (rows * cols // PER_BLOCK, BLOCK_BYTES))
    blocks[:, :2] = np.frombuffer(np.float16(cols**-0.5 / SIGNED_BYTE_RMS).tobytes(), np.uint8)
    return blocks.reshape(rows, cols // PER_BLOCK * BLOCK_BYTES)
