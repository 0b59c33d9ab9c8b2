"""Call every command with hostile options and values at random, and see that each call ends well.

    python examples/studies/fuzz_arguments.py --seconds 60

Every call must end within 30 s (``--patience``) and 4 GiB of memory, with a documented exit code, one line of error
where that is not 0, nothing half-written, and every file untouched that its words do not name. One that does not is
printed, and the exit code is 1. Equal seeds make equal cases.
"""

import contextlib
import io
import os
import resource
import shlex
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import tifffile
from fuzzing import options, serve, watch

from dsdcli.cli import main as dsd
from dsdcli.network.config import PRESETS, Architecture

MEMORY = 2**32  # bytes
SMALLEST = Architecture((8,), blocks=1, fine=4)
CODES = (0, 1, 2, 3, 4)

# Nothing here may be a place outside the folder of the case, nor a request that is honest and takes long.
HOSTILE = [
    "", " ", "-", "-1", "0", "1", "2", "3.5", "nan", "inf", "-inf", "1e300", "-1e300", "1e-300", "1e999", "0x10", "1_0",
    "9" * 18, "9" * 30, "9" * 5000, str(2**31), str(2**63), str(2**64), "-9223372036854775809", "\u0663", "\u00b2",
    "\u0663x\u0663", "x" * 300, "x" * 5000, "x" * 300 + ".tif", "a/" * 3000, "a=" + "9" * 400, "a\0b", "\udcff.tif",
    "=", "pore=", "=1", "pore=nan", "pore=inf", "pore=-1", "pore=1e400", "pore=\u0663", "pore=0.5", "pore=1", "grain=0",
    "pore=" + "9" * 30, "x=1", "0x0", "1x1", "2x2", "4x4", "16x16", "60000x60000", "99999999999x2", "8x8x8", "x", "3d",
    ".", "absent/x.tif", "rock.tif", "rock.tif/x", "rock.dsd.h5", "runs", "runs/rock-001", "text.txt", "empty",
    "a.tif", "a.png", "a.h5", "a.npy", "a.html", "b.dsd.h5", ",", ",,", ":", "0:1", "0:8,0:8", "5:1,0:3", "1,1,inf",
    "8,8,3", "9" * 30 + ":1,0:1", "auto", "cpu", "tpu", "fast", "interface", "z", "zyx", "t", "q", "noflux", "periodic",
    "tiny", "cfl", "berea-2d", "little", "5um", "5 parsec", "infum", "-1um", "True", "\U0001f642", "\x1b[31m", "a\nb",
    "%s%n", "$(x)", "*", "--", "--x", "uint8", "float128", "object",
]  # fmt: skip
FEW = ["0", "-1", "1", "2", "nan", "", "\u0663", "9" * 30, "9" * 5000, "x", "1e9"]  # of what must stay small

# Of each command: arguments that end soon, and what may be added; True: an option without a value.
QUICK = {"--steps": "1", "-n": "2", "--seed": "1"}
TRAIN = {"--steps": "1", "--batch": "2", "--size": "16x16", "--max-time": "0.001s", "--seed": "0"}
COMMANDS: dict[str, tuple[list[str], dict[str, str], dict[str, object]]] = {
    "ingest": (
        ["rock.tif"],
        {},
        {
            **dict.fromkeys(["--phase", "--pore", "--voxel-size", "--axes", "--downsample", "--ignore", "-o"], HOSTILE),
            **dict.fromkeys(["--ignore-mask", "--holdout", "--shape", "--dtype", "--offset", "--endian"], HOSTILE),
        },
    ),
    "train": (
        ["rock.dsd.h5"],
        TRAIN,
        {
            **dict.fromkeys(["--from", "--preset", "--size", "--lr", "--seed", "--boundary", "--precision"], HOSTILE),
            **dict.fromkeys(["--device", "-o", "--validate-every", "--batch"], HOSTILE),
            **dict.fromkeys(["--steps", "--max-time"], FEW),
            "--resume": True,
        },
    ),
    "generate": (
        [],
        QUICK,
        {
            **dict.fromkeys(["--model", "--porosity", "--fraction", "--counts", "--like", "--size", "-o"], HOSTILE),
            **dict.fromkeys(["--boundary", "--eta", "--sampler", "--batch", "--seed", "--device", "-n"], HOSTILE),
            **dict.fromkeys(["--steps"], FEW),
        },
    ),
    "inpaint": (
        ["rock.tif"],
        {**QUICK, "--slice": "z:3", "--box": "4:9,4:9"},
        {
            **dict.fromkeys(["--mask", "--box", "--disk", "--unknown", "--porosity", "--fraction", "-o"], HOSTILE),
            **dict.fromkeys(["--counts", "--model", "--phase", "--slice", "--boundary", "--seed", "-n"], HOSTILE),
            **dict.fromkeys(["--steps"], FEW),
            "--keep": True,
        },
    ),
    "evaluate": (
        ["samples.tif"],
        {"--metrics": "interface", "--crops": "4", "--jobs": "1"},
        {
            **dict.fromkeys(["--real", "--metrics", "--phase", "--ignore", "--ignore-mask", "--seed"], HOSTILE),
            **dict.fromkeys(["--report", "--gate", "--device"], HOSTILE),
            **dict.fromkeys(["--crops", "--jobs"], FEW),
            **dict.fromkeys(["--resample", "--no-match", "--skip-bad"], True),
        },
    ),
    "info": ([], {}, {"": HOSTILE, "--json": True}),
    "view": (["samples.tif"], {}, {"--sample": HOSTILE, "-o": HOSTILE}),
}


def words_of(seed: int, number: int) -> list[str]:
    """The command line of a case."""
    rng = np.random.default_rng([seed, number])
    command = list(COMMANDS)[number % len(COMMANDS)]
    arguments, quick, hostile = COMMANDS[command]
    chosen: dict[str, object] = dict(quick)
    for _ in range(min(rng.integers(1, 4, size=2))):
        name = list(hostile)[rng.integers(len(hostile))]
        values = hostile[name]
        chosen[name] = values if values is True else values[rng.integers(len(values))]
    arguments = list(arguments)
    if arguments and rng.random() < 0.1:
        arguments[0] = HOSTILE[rng.integers(len(HOSTILE))]
    return line(command, arguments, chosen)


def line(command: str, arguments: list[str], chosen: dict[str, object]) -> list[str]:
    """The words of a command line."""
    words = [command, *arguments]
    for name, value in chosen.items():
        words += [name] if value is True else [word for word in (name, str(value)) if word or word == value]
    return words


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call(words: list[str], folder: Path) -> str:
    """Run `dsd` in a folder; whether it did its work or refused.

    Raises:
        AssertionError: it ended otherwise.
    """
    before, said, printed, trace = contents(folder), io.StringIO(), io.StringIO(), ""
    sys.argv = ["dsd", *words]
    code: object = None
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            dsd()
        except SystemExit as ended:
            code = ended.code
        except Exception:
            trace = traceback.format_exc()
    text = said.getvalue()
    assert not trace and "Traceback" not in text, trace or text
    assert code in CODES, f"exit code {code}: {text}"
    errors = [line for line in text.splitlines() if line.startswith(("dsd: error", "Error"))]
    assert (len(errors) == 1) == (code != 0), f"exit code {code}: {text}"
    after = contents(folder)
    named = {"runs"} if "--resume" in words else set()  # the newest of them
    named |= {Path(word).name.partition(".")[0] for word in words if len(word) < 100 and "\0" not in word}
    harmed = [
        file
        for file, content in before.items()
        if after.get(file) != content and not named & {part.partition(".")[0] for part in Path(file).parts}
    ]
    assert not harmed, f"changed {harmed}"
    half = [path.name for path in folder.rglob(".*") if path.name != ".lock"]
    assert not half, f"left {half}"
    return "refused" if code else "done"


def make_seeds(folder: Path) -> None:
    """A scan, its dataset, a run, samples, and files of no use."""
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 12, 12)) < 0.4
    tifffile.imwrite(folder / "rock.tif", coarse.repeat(24, 0).repeat(4, 1).repeat(4, 2)[:40] * np.uint8(255))
    (folder / "text.txt").write_text("no image")
    (folder / "empty").touch()
    (folder / "runs").mkdir()
    for words in (
        ["ingest", "rock.tif", "--phase", "pore=0", "--phase", "grain=255"],
        ["train", *(word for pair in TRAIN.items() for word in pair)],
        ["generate", *(word for pair in QUICK.items() for word in pair)],
    ):
        assert call(words, folder) == "done", words


def run(seeds: Path, seed: int, number: int) -> str:
    folder = seeds.with_name("case")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seeds, folder)
    return call(words_of(seed, number), folder)


def main() -> None:
    args = options(__doc__).parse_args()
    PRESETS["tiny"] = (SMALLEST,) * 2
    os.environ["COLUMNS"] = "200"  # where typer would break a line
    if args.serve:
        resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY, 2 * MEMORY))  # too much is an error, and no harm to others
        serve(args.first, lambda number: run(args.serve, args.seed, number))
        return
    with tempfile.TemporaryDirectory(prefix="dsd-fuzz-") as name:
        seeds = Path(name) / "seeds"
        seeds.mkdir()
        make_seeds(seeds)

        def shown(number: int) -> str:
            words = words_of(args.seed, number)
            return shlex.join(word if len(word) < 100 else f"{word[:20]}...({len(word)})" for word in words)

        sys.exit(watch(args, seeds, ("done", "refused"), MEMORY, shown) > 0)


if __name__ == "__main__":
    main()
