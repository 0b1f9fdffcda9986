"""All dashboards. `python -m deploy.grafana.generate` writes their files anew; a test holds the files to this."""

from __future__ import annotations

from pathlib import Path

from deploy.grafana.build import to_json
from deploy.grafana.carbon import CARBON
from deploy.grafana.fleet import FLEET
from deploy.grafana.live import LIVE

BOARDS = (LIVE, CARBON, FLEET)
FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(to_json(board), encoding="utf-8")


if __name__ == "__main__":
    main()
