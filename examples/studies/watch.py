"""A process of `dsd`, watched from outside: its memory over time, and how far its unfinished file has come.

Linux: memory is read from /proc.
"""

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

POLL = 0.02  # seconds


@dataclass
class Watched:
    """What was seen of a process.

    Attributes:
        seconds, resident: when it was looked at, and MiB that it then held in main memory.
        peak: the most that it ever held, MiB.
        most: bytes of its unfinished file.
    """

    seconds: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    peak: float = 0.0
    most: int = 0


def run(words: list[str], out: Path, until: float = float("inf")) -> Watched:
    """Run `dsd` until it ends, or kill it when its unfinished file has ``until`` bytes."""
    kept, seen, began = out.with_name(f"{out.name}.unfinished"), Watched(), time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "dsdcli", *words], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        if (held := re.search(r"VmRSS:\s+(\d+) kB", status)) and (peak := re.search(r"VmHWM:\s+(\d+) kB", status)):
            seen.resident.append(int(held[1]) / 1024)
            seen.peak = max(seen.peak, int(peak[1]) / 1024)
            seen.seconds.append(time.monotonic() - began)
        if kept.exists():
            seen.most = max(seen.most, kept.stat().st_size)
        if seen.most >= until:
            process.send_signal(signal.SIGKILL)
        time.sleep(POLL)
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"dsd ended with {process.returncode}")
    return seen
