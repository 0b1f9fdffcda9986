"""A real vLLM for tests that want one: a tiny model with random weights, served on this machine's CPU.

Nothing is downloaded: the tokenizer's pieces are the 256 bytes, and vLLM makes up the weights (`--load-format dummy`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx

MODEL = "tiny"
READY_S = 300.0
END_S = 30.0
POLL_S = 0.25
SPECIAL = ("<unk>", "<s>", "</s>")

_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 264,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SERVE = (
    *("--served-model-name", MODEL, "--load-format", "dummy", "--dtype", "bfloat16", "--enforce-eager"),
    *("--max-model-len", "2048", "--max-num-seqs", "8", "--block-size", "32"),
    *("--enable-prompt-tokens-details", "--enable-force-include-usage"),
)
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
}


def write_model(folder: Path) -> Path:
    """The files of a model without weights; a prompt of ASCII has a token a character."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    names = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names, "chat_template": template})
    )
    return folder


def _tokenizer() -> dict[str, object]:
    """Byte-level BPE without a merge, in the form of Hugging Face's tokenizers."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": n, "content": content, **special} for n, content in enumerate(SPECIAL)],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {p: n for n, p in enumerate((*SPECIAL, *_pieces()))}, "merges": []},
    }


def _pieces() -> list[str]:
    """GPT-2's names of the 256 bytes: those that print are themselves, the others follow from U+0100 on."""
    printing = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [b for b in range(256) if b not in printing]
    return [chr(b) if b in printing else chr(256 + others.index(b)) for b in range(256)]


class VllmServer:
    """`vllm serve` inside the `with` block, on a free port; spans_to: a URL for OTLP over HTTP, in protobuf."""

    def __init__(self, vllm: Path, folder: Path, *, spans_to: str, service: str, more: Sequence[str] = ()) -> None:
        """vllm: the command of an installed vLLM that runs on CPU. folder: for the model and the log."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = folder / "vllm.log"
        model = write_model(folder / "model")
        address = ("--host", "127.0.0.1", "--port", str(port))
        self._argv = [str(vllm), "serve", str(model), *_SERVE, *address, "--otlp-traces-endpoint", spans_to, *more]
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "VLLM_"))},
            **_ENVIRONMENT,
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> str:
        """As somebody would type it, without this machine's folders."""
        return " ".join(["vllm", "serve", "MODEL", *self._argv[3:]])

    def __enter__(self) -> VllmServer:
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._await_ready(self._process)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Ask it to end, so that the last spans are sent; then end what is left of it."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def page(self) -> str:
        return httpx.get(f"{self.url}/metrics", trust_env=False, timeout=10.0).raise_for_status().text

    def version(self) -> str:
        answer = httpx.get(f"{self.url}/version", trust_env=False, timeout=10.0).raise_for_status()
        return str(answer.json()["version"])

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        until_s = time.monotonic() + READY_S
        with httpx.Client(trust_env=False, timeout=5.0) as client:
            while not _is_ready(client, f"{self.url}/health"):
                if process.poll() is not None or time.monotonic() > until_s:
                    said = self.log_file.read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"vLLM does not start:\n{said}")
                time.sleep(POLL_S)


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False  # not listening yet
