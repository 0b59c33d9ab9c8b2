"""`dsd generate`: images with exactly the wanted voxels of every phase."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsdcli.cli.console import emit_written, progress, say, set_quiet, until_the_end
from dsdcli.cli.options import AsJson, Device, Model, Quiet, Seed
from dsdcli.cli.parse import (
    parse_batch,
    parse_core,
    parse_extend,
    parse_files,
    parse_pairs,
    parse_part,
    parse_phase,
    parse_profiles,
    parse_size,
    parse_slice,
    parse_steer,
)
from dsdcli.data.voxel import sides
from dsdcli.errors import ToldElsewhere, UsageError
from dsdcli.pipeline.parts import choose_part
from dsdcli.ranks import ranks_here

if TYPE_CHECKING:
    from dsdcli.pipeline.output import Written


def generate(
    model: Model = None,
    porosity: Annotated[float | None, typer.Option(metavar="P", help="Volume fraction of the phase 'pore'.", show_default=False)] = None,
    fraction: Annotated[list[str] | None, typer.Option(metavar="NAME=V", help="Volume fraction of a phase; repeatable. Phases not named share the rest as in the training images.", show_default=False)] = None,
    counts: Annotated[list[str] | None, typer.Option(metavar="NAME=K", help="Voxels of a phase in every sample; repeatable.", show_default=False)] = None,
    total: Annotated[list[str] | None, typer.Option(metavar="CHANNEL=N", help="Of intensities: particles of a channel in every sample; repeatable.", show_default=False)] = None,
    mean: Annotated[list[str] | None, typer.Option(metavar="CHANNEL=V", help="Of intensities: mean count of a channel in a voxel; repeatable.", show_default=False)] = None,
    like: Annotated[Path | None, typer.Option(metavar="DATASET", help="Draw every sample's counts from a random real crop of this dataset; with --exact-in those of cells, for larger samples too.", show_default=False)] = None,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="Number of samples.")] = 16,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the samples in voxels, DxHxW in 3D; for a 2D model too, which then makes volumes plane by plane. Default: that of the training crops.", show_default=False)] = None,
    planes: Annotated[list[str] | None, typer.Option(metavar="AXIS=MODEL", help="Of a volume from 2D models: the one for the planes across an axis, such as z=top; --model stands for the others. Without it one model stands for all, which takes the material to be alike in all directions.", show_default=False)] = None,
    boundary: Annotated[str | None, typer.Option(metavar="KIND", help="Walls of the samples: noflux, or periodic (opposite sides fit together). Default: as trained.", show_default=False)] = None,
    profile: Annotated[list[str] | None, typer.Option(metavar="NAME=AXIS:V..V", help="Volume fraction of a phase along an axis, such as pore=z:0.15..0.25; or V,V,V of equal slabs, or a CSV file; repeatable.", show_default=False)] = None,
    field: Annotated[list[str] | None, typer.Option(metavar="NAME=FILE", help="Map of volume fractions of a phase, as fine as the voxels or coarser; repeatable.", show_default=False)] = None,
    exact_in: Annotated[int | None, typer.Option(metavar="B", min=1, help="Side of the cells in which the counts are exactly those that the fields imply, or with --like such as real cells have. Default: the cells of the map, 8 voxels wide at least.", show_default=False)] = None,
    known: Annotated[Path | None, typer.Option(metavar="FILE", help="Segmented image that every sample keeps voxel by voxel, but for those with the label --unknown.", show_default=False)] = None,
    unknown: Annotated[int | None, typer.Option(metavar="LABEL", help="Label of the voxels of --known that are not known.", show_default=False)] = None,
    known_slice: Annotated[list[str] | None, typer.Option(metavar="AXIS:N:FILE", help="Plane of a volume that is known, such as z:12:slice.tif; repeatable.", show_default=False)] = None,
    known_core: Annotated[list[str] | None, typer.Option(metavar="Y,X:R:FILE", help="Column along z (in 2D a disc) that is known: centre, radius, image of it; repeatable.", show_default=False)] = None,
    extend: Annotated[list[str] | None, typer.Option(metavar="AXIS=N", help="Go on beyond the border of --known: z=+64 behind it, z=-64 before it, z=64 on both sides; repeatable.", show_default=False)] = None,
    phase: Annotated[list[str] | None, typer.Option(metavar="NAME=LABEL", help="Label of a phase in what is known, where it is not that of the model; repeatable.", show_default=False)] = None,
    frequencies: Annotated[Path | None, typer.Option(metavar="FILE", help="Write how often each phase takes each voxel, and the entropy of that, as a TIFF.", show_default=False)] = None,
    class_name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Material of the samples, of a model that was trained on several. Default: any of them.", show_default=False)] = None,
    target: Annotated[list[str] | None, typer.Option(metavar="NAME=V", help="Number that the samples are to have, of those that dsd evaluate shows and in its unit, such as interface=0.05; of a model that was trained with --condition NAME; repeatable.", show_default=False)] = None,
    guidance: Annotated[float | None, typer.Option(metavar="W", help="With --class or --target: 1 as trained, more to exaggerate what sets the class or target apart. Default: 1.", show_default=False)] = None,
    steer: Annotated[list[str] | None, typer.Option(metavar="NAME=V[:TOL]", help="Number that every sample is to have, of those that dsd evaluate shows and in its unit, such as interface=0.05:0.002, chords.grain=40 or diffusivity.pore.x=0.1; repeatable. Tolerance by default: 2 %.", show_default=False)] = None,
    walkers: Annotated[int | None, typer.Option(metavar="N", min=1, help="With --steer: walkers of each sample, of which the best placed go on. Default: 8.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Leaps of the reverse walk, two network evaluations each; one more decodes. Default: 16 for images, 31 for volumes and intensities.", show_default=False)] = None,
    eta: Annotated[float | None, typer.Option(metavar="X", help="Share of back-and-forth hops kept: 0 net flux, 1 the full process. Default: 0.", show_default=False)] = None,
    grid: Annotated[str | None, typer.Option(metavar="NAME", help="Doses that the leaps stop at: power (closer and closer, as a power of the dose), linear, exponential or cosine (in the logarithm of the dose). Default: power.", show_default=False)] = None,
    tolerance: Annotated[float | None, typer.Option(metavar="SITES", help="Leaps as long as this error of each allows, in place of a grid of doses; without --sampler. Default of --sampler adaptive: 0.05.", show_default=False)] = None,
    sweeps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Of a volume from 2D models: sweeps over its planes. More of them smooth, fewer leave specks. Default: 11, or 17 where voxels are known.", show_default=False)] = None,
    sampler: Annotated[str | None, typer.Option(metavar="NAME", help="trapezoidal: long leaps. adaptive: leaps of adapted length (--tolerance). corrector: leaps, then back to dose 0.3 and down again, in 7 more. cfl: the published tau-leaping, one hop per particle and step at most; thousands of evaluations, only a yardstick. Default: trapezoidal.", show_default=False)] = None,
    batch: Annotated[str, typer.Option(metavar="N", help="Samples computed at a time; changes memory and speed, not the samples. auto: as many as suit the free memory.")] = "auto",
    seed: Seed = None,
    device: Device = "auto",
    part: Annotated[str | None, typer.Option(metavar="I/N", help="Make only part I of N, into a file of its own such as samples-0003-of-0010.h5, for dsd gather; needs --seed. Default: all, but in an array of SLURM or SGE the part of this task.", show_default=False)] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Compute on this dask cluster.", show_default=False)] = None,
    slabs: Annotated[bool, typer.Option("--slabs", help="Make each sample slab by slab, on all ranks that torchrun has started, and write it as OME-Zarr; the same on any number of ranks. Default: only under torchrun.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the job that was killed at --out, or begin it.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Output: .tif, .h5, .zarr, .npy, or .png for a sheet alone. Default: samples.tif here, or the next free samples-2.tif ...; of a part samples.h5.", show_default=False)] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Generate images with exactly the requested voxels of each phase.

    Writes the samples, a PNG sheet and an audit record (JSON) next to each other, and prints the path of the samples.
    Without a request the phases take their volume fractions in the training images. A long job keeps what it
    has made in FILE.unfinished until all is there; killed, it goes on by the same command with --resume.

    torchrun --nproc-per-node 8 -m dsdcli generate ... makes each sample on eight GPUs, or processes, together.
    """
    ranks = ranks_here()
    set_quiet(quiet or not ranks.first)
    fractions = parse_pairs("--fraction", fraction or [], float)
    voxels = parse_pairs("--counts", counts or [], int)
    shape, at_a_time = None if size is None else parse_size(size), parse_batch(batch)

    profiles, fields = parse_profiles(profile or []), parse_files("--field", field or [])
    slices, cores = [parse_slice(text) for text in known_slice or []], [parse_core(text) for text in known_core or []]

    from dsdcli.pipeline.load import load
    from dsdcli.pipeline.numbers import achieved_lines
    from dsdcli.pipeline.output import check_maps, output, save_maps
    from dsdcli.pipeline.unfinished import begun_seed

    reads: list[Path | str] = [path for path in (like, known) if path]
    reads += [*fields.values(), *(file for _, file in slices), *(file for _, _, file in cores)]
    reads += [values for _, values in profiles.values() if isinstance(values, str)]
    which, out, told = choose_part(parse_part(part) if part else None, out, seed, os.environ)
    if told:
        say(f"note: {told}")
    if resume and out is None:
        raise UsageError("`resume=True` goes on with the job at `out`: give that")
    request: dict[str, Any] = {
        "porosity": porosity,
        "fractions": fractions,
        "counts": voxels,
        "like": like,
        "size": shape,
        "boundary": boundary,
        "profile": profiles,
        "field": fields,
        "exact_in": exact_in,
        "known": known,
        "unknown": unknown,
        "known_slices": slices,
        "known_cores": cores,
        "extend": parse_extend(extend or []),
        "phases": [parse_phase(text) for text in phase or []],
        "class_name": class_name,
        "guidance": guidance,
        "target": parse_pairs("--target", target or [], float),
        "steer": parse_steer(steer or []),
        "walkers": walkers,
        "sampler": sampler,
        "steps": steps,
        "eta": eta,
        "grid": grid,
        "tolerance": tolerance,
        "sweeps": sweeps,
        "batch": at_a_time,
        "part": which,
        "device": device,
        "note": say,
    }
    if slabs or ranks.count > 1:
        refused = {"resume": resume, "frequencies": frequencies, "planes": planes, "scheduler": scheduler}
        if any(refused.values()):
            if not ranks.first:
                raise ToldElsewhere(UsageError.exit_code)
            given = " and ".join(f"`{name}`" for name, value in refused.items() if value)
            raise UsageError(f"samples made in slabs take no {given}; leave that out, or start one process")
        from dsdcli.pipeline.slabs import in_slabs

        with progress("generating") as update:
            written = in_slabs(model, out, number, seed=seed, progress=update, **request)
        _tell(written)
        if ranks.first:
            emit_written(written, as_json)
        return

    out = until_the_end(output(out, "samples.tif", reads))
    if resume and seed is None:
        seed = begun_seed(out)
    maps = check_maps(frequencies, reads) if frequencies else None
    named = parse_files("--planes", planes or [])
    here = "cpu" if scheduler else device
    models = {name: load(name, here, say) for name in dict.fromkeys(named.values())}
    across = {axis: models[name] for axis, name in named.items()}
    loaded = load(model, here, say) if model or len(across) < 3 else next(iter(across.values()))
    numbers = {"totals": parse_pairs("--total", total or [], int), "means": parse_pairs("--mean", mean or [], float)}
    if loaded.config.species or any(numbers.values()):
        request.pop("device", None)
        of_phases = {"planes": across, "scheduler": scheduler, "frequencies": frequencies, "resume": resume}
        with progress("generating") as update:
            found = loaded.generate(number, seed=seed, **{**request, **numbers, **of_phases, "progress": update})
            done = found.save(out)
        _tell(done)
        emit_written(done, as_json)
        return
    samples = loaded.stream(number, planes=across, seed=seed, scheduler=scheduler, **request)
    if maps:
        samples.count()
    with progress("generating") as samples.progress:
        written = samples.save(out, resume)
    if maps:
        save_maps(maps, samples.frequencies, loaded.phases, written.path)
    _tell(written)
    if "steering" in written.about or "targets" in written.about:
        for line in achieved_lines(written.audit):
            say(line)
    emit_written(written, as_json)


def _tell(written: "Written") -> None:
    audit = written.about
    first, stop = audit.get("indices", [0, audit["job"]["samples"]])
    say(
        f"{stop - first} samples of {sides(audit['size'])}, exact counts, seed {audit['seed']}, "
        f"{audit['evaluations_per_sample']} evaluations each, {audit['seconds']:.1f} s"
    )
