"""Is there a better way back? The sampler beside its variants, and beside the published tau-leaping.

    python examples/studies/sampler_study.py                                (the oracle: exact rates, no network)
    python examples/studies/sampler_study.py berea.dsd.h5 -o sampling.png   (and the network, against real crops)
    python examples/studies/sampler_study.py berea.dsd.h5 --part leaps -n 256

Prints a Markdown table for each part: `oracle`, `leaps` (rates, doses, hops, stages, bridge, corrector), `decoding`,
`curve` (error against evaluations) and `cfl` (tau-leaping, the slowest). The picture is drawn from these tables; those
of parts that are not run again are taken from the file .json beside it. Samples have the voxel counts of the training
fractions, and are compared with held-out crops of like fractions.
"""

import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from sampler_network import Bench, curve, decoding, leaps, print_ratio, print_results, tau_leaping
from sampler_oracle import oracle, print_oracle
from shared import machine, options

from dsdcli.data.dataset import Dataset
from dsdcli.files import atomic, write_json
from dsdcli.sampling.tau_leaping import TauLeaping

PARTS = ("oracle", "leaps", "decoding", "curve", "cfl")


def draw(found: dict, out: Path) -> None:
    """Error against evaluations: the oracle, and the network where a dataset was given."""
    from matplotlib.figure import Figure

    panels = [part for part in ("oracle", "curve") if part in found]
    if not panels:
        return
    figure = Figure(figsize=(4.2 * (len(panels) + ("curve" in panels)), 3.4), layout="constrained")
    grid = list(figure.subplots(1, len(panels) + ("curve" in panels), squeeze=False)[0])
    if "oracle" in found:
        axes, rows = grid.pop(0), found["oracle"]["rows"]
        styles = {"default": "o-", "eta 1": "s:", "one stage (Euler), Poisson hops": "^:", "midpoint": "v:"}
        for start, style in styles.items():
            name = next(name for name in rows if name == start or name.startswith(start + " ("))
            axes.plot(*zip(*rows[name], strict=True), style, ms=4, lw=1, label=name.partition(" (eta")[0])
        points = [point for name, row in rows.items() if name.startswith("tau-leaping") for point in row]
        axes.plot(*zip(*points, strict=True), "kD--", ms=5, lw=1, label="tau-leaping")
        axes.axhline(found["oracle"]["floor"], color="0.7", lw=1, label="noise floor")
        axes.set(xscale="log", yscale="log", title="oracle", ylabel="total variation")
    if "curve" in found:
        for axes, key, title, real in (
            (grid[0], "two_point", "two-point error", None),
            (grid[1], "interface", "interface length / real", 1.0),
        ):
            floor, *results = found["curve"]
            axes.plot([r["evaluations"] for r in results], [r[key] for r in results], "o-", ms=4, lw=1, label="default")
            for r in found.get("cfl", [])[1:]:
                axes.plot(r["evaluations"], r[key], "kD", ms=5, label=f"tau-leaping, {r['samples']} samples")
            axes.axhline(floor[key], color="0.7", lw=1, label="real crops")
            if real is not None:
                axes.axhline(real, color="0.9", lw=1, zorder=0)
            axes.set(xscale="log", title=title)
    for axes in figure.axes:
        axes.set_xlabel("network evaluations")
        axes.legend(fontsize=7, frameon=False)
    with atomic(out) as temporary:
        figure.savefig(temporary, dpi=130)


def main() -> None:
    parser = options(__doc__, "seed")
    parser.add_argument("dataset", nargs="?", type=Path, help="real images; without them the oracle alone")
    parser.add_argument("--model", default="berea-2d", help="name or path (default berea-2d)")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable (default: all)")
    parser.add_argument("--only", default="", metavar="REGEX", help="variants of the part `leaps` (default: all)")
    parser.add_argument("--leaps", type=int, default=31, metavar="N", help="of the part `leaps` (default 31)")
    parser.add_argument("-n", type=int, default=64, help="samples of each variant (default 64)")
    parser.add_argument("--cfl-samples", type=int, default=8, help="samples of tau-leaping (default 8)")
    parser.add_argument(
        "--bound", type=float, default=TauLeaping().bound, help="largest hop probability of tau-leaping"
    )
    parser.add_argument("--quick", action="store_true", help="few samples and leaps: does it run?")
    parser.add_argument("-o", "--out", type=Path, default=Path("sampling.png"), help="picture (default sampling.png)")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.n, chosen.leaps, chosen.cfl_samples, chosen.bound = 2, 2, 2, 1.0
    parts = chosen.part or PARTS[: None if chosen.dataset else 1]
    if chosen.dataset is None and parts != PARTS[:1] and parts != ["oracle"]:
        parser.error("only the oracle goes without a dataset")
    began, kept = time.perf_counter(), chosen.out.with_suffix(".json")
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if "oracle" in parts:
        found["oracle"] = oracle(chosen.quick)
        print_oracle(found["oracle"])
    if chosen.dataset is not None:
        bench = Bench(Dataset.open(chosen.dataset), chosen.model, chosen.n, chosen.seed, chosen.only)
        runs = {
            "leaps": partial(leaps, bench, chosen.leaps),
            "decoding": partial(decoding, bench, chosen.quick),
            "curve": partial(curve, bench, chosen.quick),
            "cfl": partial(tau_leaping, bench, chosen.bound, chosen.cfl_samples),
        }
        for part in parts:
            if part in runs:
                found[part] = [asdict(result) for result in runs[part]()]
                print_results(f"{part}: {Path(chosen.model).name}", found[part])
        if "curve" in found and "cfl" in found:
            print_ratio(found)
    write_json(kept, found)
    draw(found, chosen.out)
    print(f"\n{chosen.out}, {time.perf_counter() - began:.0f} s on {machine(torch.device('cpu'))}")


if __name__ == "__main__":
    main()
