"""The meter checked on your own GPU: what Joulecar books against the driver's own counter.

    python -m tests.bench real_gpu --llama-server PATH [--model FILE.gguf] [--out FOLDER] [--gpu 0]

A llama-server with CUDA answers loads of known kinds on an NVIDIA GPU that does nothing else; the agent runs beside it
and gets a span of each request. It takes about eleven minutes. The truth is the counter of the driver, which is read
apart from the agent. Without --model one of the shape of an 8B Llama with random weights is written to
~/.cache/joulecar, 7.7 GB, and kept. --out: the recordings and told.json go there, in the format of tests/data/h100.

The model goes on one GPU as a whole and, for the second part, twice: where that does not fit, the first part is all.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from agent.clock import SystemClock
from agent.demo.llama_server import default_cache_dir
from agent.errors import Unavailable
from agent.ports import Clock
from tests.bench.real_gpu import one_engine, two_engines
from tests.bench.real_gpu.gpu import Gpu, opened
from tests.bench.real_gpu.model import LLAMA_8B, cached
from tests.bench.real_gpu.plan import FULL, SHORT, Plan
from tests.bench.real_gpu.server import LlamaServer
from tests.bench.real_gpu.table import one_engine_table, two_engines_table
from tests.bench.real_gpu.told import told_json

NAME = "real_gpu"


def run(options: Sequence[str] = ()) -> None:
    """Where something is missing it says so in one line: `make bench` goes on."""
    asked = _parser().parse_args(options)
    try:
        with opened(asked.gpu) as gpu:
            if asked.llama_server is None:
                raise Unavailable("no llama-server", "pass --llama-server PATH, of one that was built with CUDA")
            _measure(gpu, asked, SystemClock())
    except Unavailable as missing:
        print(f"\nA real GPU is not measured: {missing} ({missing.fix})")


def _measure(gpu: Gpu, asked: argparse.Namespace, clock: Clock) -> None:
    out: Path | None = asked.out
    plan: Plan = SHORT if asked.short else FULL
    if gpu.others:
        print(f"{gpu.others} processes are on GPU {gpu.index} already: what they draw is in the figures")
    if asked.model is None:
        print(f"the model: {LLAMA_8B.size_bytes / 1e9:.1f} GB in {default_cache_dir()}", flush=True)
    model: Path = asked.model or cached(default_cache_dir())
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_now:
        folder = Path(open_now.enter_context(tempfile.TemporaryDirectory()))

        def server(name: str) -> LlamaServer:
            log = folder / f"{name}.log"
            return open_now.enter_context(LlamaServer(asked.llama_server, model, gpu.uuid, log, clock))

        first = server("first")
        alone = one_engine.measure(gpu, first.url, plan, folder / "one", clock, out and out / "llama.jsonl.gz")
        print(f"\n{one_engine_table(alone)}", flush=True)
        if out is not None:
            (out / "told.json").write_text(told_json(alone.machine, alone.loads), encoding="utf-8")
        try:
            second = server("second")
        except Unavailable as missing:
            print(f"  two engines are not measured: {missing}")
            return
        recording = out and out / "two_engines.jsonl.gz"
        urls = dict(zip(two_engines.ENGINES, (first.url, second.url), strict=True))
        shared = two_engines.measure(gpu, urls, plan, folder / "two", clock, recording)
        print(f"\n{two_engines_table(shared)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench {NAME}", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="built with CUDA")
    parser.add_argument("--model", type=Path, metavar="FILE.gguf", help="one of your own in the place of a random one")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the recordings and told.json go")
    parser.add_argument("--gpu", type=int, default=0, metavar="N", help="its number in nvidia-smi (0)")
    parser.add_argument(
        "--short", action="store_true", help="see that everything runs: half a minute, worthless figures"
    )
    return parser
