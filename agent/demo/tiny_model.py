"""A tiny language model with random weights: it talks nonsense, but it costs real joules.

The llama architecture with 2 layers of 64 and a made-up vocabulary, 700 KB in all. No download, no licence, no
key; the same bytes every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "joulecar-demo"
SEED = 20_240_229

LAYERS = 2
WIDTH = 64
HEADS = 4
HIDDEN = 128
CONTEXT = 8192
PIECES = 700  # size of the vocabulary

_CONTROL = ("<unk>", "<s>", "</s>")


def make(path: Path) -> None:
    """Write the model as a GGUF file; whoever reads `path` sees the whole file or none.

    Raises:
        Unavailable: the extra "demo" is not installed.
    """
    try:
        # Imported here: numpy and gguf have no place in the daemon.
        import gguf  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable("the package gguf is missing", 'pip install "joulecar[demo]"') from error

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name(NAME)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(PIECES)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    pieces, scores, kinds = zip(*_vocabulary(), strict=True)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    for name, tensor in _tensors():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def cached(cache_dir: Path) -> Path:
    """The model's file under cache_dir, made if it is not there. Raises Unavailable."""
    path = cache_dir / f"tiny-{SEED}.gguf"
    if not path.is_file():
        make(path)
    return path


def _vocabulary() -> Iterator[tuple[str, float, int]]:
    """Pieces with score and kind: controls, the 256 bytes (so that any text can be written), made-up syllables."""
    normal, unknown, control, byte = 1, 2, 3, 6  # GGUF's token types
    yield _CONTROL[0], 0.0, unknown
    for piece in _CONTROL[1:]:
        yield piece, 0.0, control
    for value in range(256):
        yield f"<0x{value:02X}>", 0.0, byte
    for rank, piece in enumerate(itertools.islice(_syllables(), PIECES - len(_CONTROL) - 256)):
        yield piece, -float(rank), normal


def _syllables() -> Iterator[str]:
    """Pieces to write with: first letters and spaces, so that nothing falls back to bytes in plain text."""
    yield "▁"  # the tokenizer's space
    yield from "abcdefghijklmnopqrstuvwxyz.,"
    for onset, vowel, coda in itertools.product("bdfgklmnprstvz", "aeiou", ("", "n", "r", "s")):
        yield f"{onset}{vowel}{coda}"
    for onset, vowel in itertools.product("bdfgklmnprstvzhjwy", "aeiou"):
        yield f"▁{onset}{vowel}"
    for onset, vowel, coda in itertools.product("bdfgklmnprstvz", "aeiou", "lmt"):
        yield f"▁{onset}{vowel}{coda}"


def _tensors() -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The weights, in llama.cpp's names; row-major, as GGUF wants them."""
    import numpy  # noqa: PLC0415

    rng = numpy.random.default_rng(SEED)

    def random(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=numpy.float32) * numpy.float32(shape[-1] ** -0.5)

    def ones() -> NDArray[np.float32]:
        return numpy.ones(WIDTH, dtype=numpy.float32)

    yield "token_embd.weight", random(PIECES, WIDTH)
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight", ones()
        for part in ("q", "k", "v", "output"):
            yield f"blk.{layer}.attn_{part}.weight", random(WIDTH, WIDTH)
        yield f"blk.{layer}.ffn_norm.weight", ones()
        yield f"blk.{layer}.ffn_gate.weight", random(HIDDEN, WIDTH)
        yield f"blk.{layer}.ffn_up.weight", random(HIDDEN, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", random(WIDTH, HIDDEN)
    yield "output_norm.weight", ones()
    head = random(PIECES, WIDTH)
    head[: len(_CONTROL) + 256] = 0.0  # mostly syllables come out, seldom raw bytes
    yield "output.weight", head
