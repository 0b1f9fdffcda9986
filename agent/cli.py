"""The command line: parses, calls one command, turns errors into exit codes. Output to stdout, logs to stderr."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import cast

from agent.errors import ConfigError, JoulecarError
from agent.settings import Settings

EXIT_OK, EXIT_DEGRADED, EXIT_BAD_CONFIG = 0, 1, 2

EPILOG = """\
examples:
  joulecar demo                                     see it work: a real llama.cpp server, no GPU, no key
  joulecar check --engine http://127.0.0.1:8000     what can be measured here, what not, and the fix
  joulecar run --engine http://127.0.0.1:8000       measure; metrics on http://127.0.0.1:9420/metrics
  joulecar config > joulecar.toml                   start a configuration file
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0 well, 1 degraded or failed, 2 bad configuration or arguments."""
    args = parser().parse_args(argv)
    _spare_memory()
    try:
        return int(args.command(args))
    except ConfigError as e:
        print(f"joulecar: {e.origin or 'configuration'} cannot be used:", file=sys.stderr)
        for fault in e.faults:
            print(f"  {fault}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    except JoulecarError as e:
        fix = getattr(e, "fix", "")
        print(f"joulecar: {e}" + (f"\n  {fix}" if fix else ""), file=sys.stderr)
        return EXIT_DEGRADED
    except BrokenPipeError:
        # Whoever read us has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        return 130


def _spare_memory() -> None:
    """httpx imports its own command line wherever rich and click are installed: 6 MB that no command here uses. It
    does without where that import fails, and so it does."""
    modules = cast("dict[str, object]", sys.modules)
    modules.setdefault("httpx._main", None)


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="joulecar",
        description="The energy meter beside an inference server: tokens per joule and gCO2e per 1,000 tokens.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"joulecar {metadata.version('joulecar')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = _command(commands, "run", _run, "measure until stopped and serve the metrics")
    _config_options(run)
    run.add_argument("--listen", metavar="HOST:PORT", help="address of the metrics (default 127.0.0.1:9420)")
    run.add_argument(
        "--record", metavar="FILE", type=Path, help="write every tick to a trace that `replay` reads; .gz compresses"
    )

    once = _command(commands, "once", _once, "measure one window, print a table, exit")
    _config_options(once)
    once.add_argument("--window", metavar="TIME", default="10s", help="how long to measure (default 10s)")
    once.add_argument("--json", action="store_true", help="JSON instead of a table")

    check = _command(commands, "check", _check, "what was found, what was not, why, and the fix")
    check.description = "Exit code: 0 all well, 1 degraded, 2 bad configuration."
    _config_options(check)

    demo = _command(commands, "demo", _demo, "a real llama.cpp server with a tiny model, a load, and the agent")
    demo.add_argument(
        "--simulated", action="store_true", help="two made-up GPUs and a made-up vLLM instead, from a bundled trace"
    )
    demo.add_argument("--for", dest="seconds", metavar="TIME", help="stop after this time (default: at Ctrl-C)")
    demo.add_argument("--zone", help="grid zone for the carbon figures, such as FR or US-CA")
    demo.add_argument("--listen", metavar="HOST:PORT", help="address of the metrics (default 127.0.0.1:9420)")

    replay = _command(commands, "replay", _replay, "a recorded trace through the same pipeline, as fast as it goes")
    replay.add_argument(
        "traces",
        metavar="TRACE",
        type=Path,
        nargs="+",
        help="JSON lines, .gz allowed; several files of one recording, in any order",
    )
    replay.add_argument(
        "--config", metavar="FILE", type=Path, help="TOML configuration (default: as the trace was recorded with)"
    )
    replay.add_argument(
        "--format",
        choices=("prometheus", "json", "table"),
        default="table",
        help="prometheus: the final scrape (default table)",
    )
    replay.add_argument(
        "--requests", metavar="FILE", type=Path, help="write the energy of each request whose span is in the trace"
    )
    replay.add_argument(
        "--compare", metavar="POLICIES", help="what each of several policies says: weights=0.12,weights=auto"
    )

    rules = _command(commands, "rules", _rules, "Prometheus rules on stdout: budgets, health, fleets")
    rules.add_argument("--config", metavar="FILE", type=Path, help="TOML configuration, for its budgets")

    config = _command(commands, "config", _config, "the commented default configuration on stdout")
    config.add_argument("--schema", action="store_true", help="its JSON schema, for editors")
    _command(commands, "metrics", _metrics, "every metric with its meaning, as Markdown on stdout")
    return top


def _command(commands: argparse._SubParsersAction, name: str, function: object, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]  # argparse has no public name for it
    p: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    p.set_defaults(command=function)
    return p


def _config_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--config", metavar="FILE", type=Path, help="TOML configuration (see `joulecar config`)")
    p.add_argument(
        "--engine",
        metavar="URL",
        action="append",
        default=[],
        help="a serving engine, by its address or its metrics page; may be given several times",
    )


def _run(args: argparse.Namespace) -> int:
    from agent.commands import run  # noqa: PLC0415 - each command loads only what it needs

    return run.main(_settings(args), record=args.record)


def _once(args: argparse.Namespace) -> int:
    from agent.commands import once  # noqa: PLC0415

    return once.main(_settings(args), window_s=_seconds(args.window, "--window"), as_json=args.json)


def _check(args: argparse.Namespace) -> int:
    from agent.commands import check  # noqa: PLC0415

    return check.main(_settings(args))


def _demo(args: argparse.Namespace) -> int:
    from agent.commands import demo  # noqa: PLC0415

    seconds = _seconds(args.seconds, "--for") if args.seconds else None
    return demo.main(simulated=args.simulated, seconds=seconds, zone=args.zone, listen=args.listen)


def _replay(args: argparse.Namespace) -> int:
    from agent.commands import replay  # noqa: PLC0415

    args.engine = []
    settings, as_recorded = _settings(args), args.config is None
    if args.compare is not None:
        from agent.clock import SystemClock  # noqa: PLC0415
        from agent.commands.compare import compare  # noqa: PLC0415

        print(compare(args.traces, args.compare, settings, SystemClock(), as_recorded=as_recorded), end="")
        return EXIT_OK
    return replay.main(args.traces, settings, form=args.format, requests=args.requests, as_recorded=as_recorded)


def _rules(args: argparse.Namespace) -> int:
    from agent.commands import rules  # noqa: PLC0415

    return rules.main(args.config)


def _config(args: argparse.Namespace) -> int:
    from agent.config_docs import default_toml, json_schema  # noqa: PLC0415
    from agent.engines.table import ENGINES  # noqa: PLC0415

    print(json_schema(tuple(ENGINES)) if args.schema else default_toml(tuple(ENGINES)), end="")
    return EXIT_OK


def _metrics(_: argparse.Namespace) -> int:
    from exporters.document import metrics_md  # noqa: PLC0415

    print(metrics_md(), end="")
    return EXIT_OK


def _settings(args: argparse.Namespace) -> Settings:
    from agent.config import Overrides, load  # noqa: PLC0415

    overrides = Overrides(engines=tuple(args.engine), listen=getattr(args, "listen", None))
    return load(args.config, env=os.environ, overrides=overrides)


def _seconds(text: str, option: str) -> float:
    from agent.config_types import seconds  # noqa: PLC0415
    from agent.errors import ConfigFault  # noqa: PLC0415

    value = seconds(text)
    if value is None or value <= 0:
        raise ConfigError((ConfigFault(option, f"{text!r} is not a duration", 'write "10s" or "5m"'),), "command line")
    return value


if __name__ == "__main__":
    sys.exit(main())
