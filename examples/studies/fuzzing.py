"""Used by the two fuzzers beside it: cases run in a process of their own, one after another, and are watched."""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser described by the first line of a module's text, with the options of every fuzzer."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the cases (default 0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default 0)")
    parser.add_argument("--keep", type=Path, default=Path("fuzzed"), help="folder for cases that fail")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds for a case (default 30)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser


def serve(first: int, run: Callable[[int], str]) -> None:
    """Run cases from ``first`` on, a line of JSON before and after each, with what came of it."""
    lines = sys.stdout  # whatever becomes of it in a case
    for number in range(first, first + 10**9):
        print(json.dumps({"number": number}), file=lines, flush=True)
        try:
            outcome = run(number)
        except Exception:
            outcome = traceback.format_exc()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"outcome": outcome, "memory": peak}), file=lines, flush=True)


def watch(args: argparse.Namespace, seeds: Path, good: tuple[str, ...], memory: int, name: Callable[[int], str]) -> int:
    """Have cases run until the time is over, and print those that fail; how many did.

    Args:
        args: of `options`; the script that runs is started again with ``--serve``.
        seeds: folder that it serves from.
        good: outcomes that are none of a failure.
        memory: bytes that the process may take.
        name: says which case a number is, and keeps what it needs.
    """
    tally = dict.fromkeys([*good, "failed"], 0)
    slowest, number, peak, until = 0.0, args.first, 0, time.monotonic() + args.seconds
    before = -1
    while time.monotonic() < until:
        if before == number:
            sys.exit("the process that runs the cases does not start")
        before = number
        words = [
            sys.executable,
            sys.modules["__main__"].__file__,
            "--serve",
            seeds,
            "--seed",
            args.seed,
            "--first",
            number,
        ]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
            while time.monotonic() < until and (begun := process.stdout.readline()):
                case, began = json.loads(begun)["number"], time.monotonic()
                timer = threading.Timer(args.patience, process.kill)
                timer.start()
                ended = process.stdout.readline()
                timer.cancel()
                seconds = time.monotonic() - began
                slowest, number = max(slowest, seconds), case + 1
                result = json.loads(ended) if ended else {"outcome": f"died or hung ({seconds:.1f} s)", "memory": 0}
                peak = max(peak, result["memory"])
                if result["memory"] > memory:
                    result["outcome"] = f"took {result['memory'] >> 20} MiB"
                if result["outcome"] in good:
                    tally[result["outcome"]] += 1
                else:
                    tally["failed"] += 1
                    print(f"case {case}: {name(case)}: {result['outcome']}", flush=True)
                if not ended or result["memory"] > memory:
                    break
            with contextlib.suppress(OSError):
                process.kill()
    print(f"{sum(tally.values())} cases: {tally}; slowest {slowest:.1f} s, largest {peak >> 20} MiB")
    return tally["failed"]
