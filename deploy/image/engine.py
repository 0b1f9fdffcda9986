"""Makes the demo engine's two files in the folder that is named: the server and its model."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from agent.clock import SystemClock
from agent.demo.llama_server import default_cache_dir, find_or_build
from agent.demo.progress import ProgressLine
from agent.demo.tiny_model import make


def main(folder: Path) -> None:
    """Build the server (minutes, unless it is cached) and write the model. Raises agent.errors.Unavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    line = ProgressLine(sys.stderr, SystemClock())
    shutil.copy(find_or_build(default_cache_dir(), line), folder / "llama-server")
    line.close()
    make(folder / "model.gguf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
