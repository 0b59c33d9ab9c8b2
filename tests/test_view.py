"""Seeing volumes: the cut-away picture, and the page of `dsd view`, also as a browser draws it."""

import base64
import html
import io
import itertools
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.data.phases import Phase
from dsdcli.data.samples import write_samples
from dsdcli.view import page as viewing
from dsdcli.view.cutaway import cutaway
from dsdcli.view.page import viewer, write_page
from dsdcli.view.sheet import colours
from tests.conftest import blobs

CELL = (Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170))
ROCK = (Phase("pore", 0), Phase("grain", 255))
WHITE = np.array([255, 255, 255])


def cell(seed=0, shape=(20, 24, 28)):
    return blobs(shape, [0.45, 0.85], seed)


def facts(text):
    """What the script of a page is told."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])


def voxels(item):
    return np.frombuffer(zlib.decompress(base64.b64decode(item["data"])), np.uint8).reshape(item["shape"])


# ---- the cut-away picture


def test_what_is_cut_away_does_not_show_and_the_rest_does():
    volume = cell()
    picture = cutaway(volume, colours(CELL), 0, 96)
    z, y, x = (side // 2 for side in volume.shape)
    beyond = volume.copy()
    beyond[: z - 6, y + 6 :, x + 6 :] = 1  # nearer ones tell how a surface that one sees is inclined
    assert np.array_equal(cutaway(beyond, colours(CELL), 0, 96), picture)
    volume[z, y:, x:] = np.where(volume[z, y:, x:] == 1, 2, 1)  # the floor of the cut
    assert (cutaway(volume, colours(CELL), 0, 96) != picture).any(2).mean() > 0.02


def test_a_block_shows_three_faces_of_its_colour_and_a_hidden_phase_shows_nothing():
    block, table = np.ones((16, 16, 16), np.uint8), colours(CELL)
    picture = cutaway(block, table, 0, 128)
    found, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    faces = found[counts > 500]
    assert len(faces) == 4  # and the white around them
    for face in faces[:3].astype(float):
        assert np.allclose(face / face.sum(), table[1] / table[1].sum(), atol=0.01)
    assert (cutaway(block, table, 1, 128) == 255).all()


def test_a_picture_does_not_depend_on_the_order_of_the_phases():
    volume = cell()
    again = cutaway(2 - volume, colours(CELL)[::-1], 2, 64)
    assert np.array_equal(cutaway(volume, colours(CELL), 0, 64), again)


def test_volumes_are_not_mirrored():
    """Low slices lie on top, high rows at the left, high columns at the right."""
    for axis, corner in enumerate([(slice(0, 4), slice(20, 24), slice(20, 24)), *[(slice(20, 24),) * 3] * 2]):
        where = [slice(20, 24), slice(0, 4), slice(0, 4)]
        where[axis] = corner[axis]
        volume = np.zeros((24, 24, 24), np.uint8)
        volume[tuple(where)] = 1
        volume[0, 0, 0] = volume[-1, -1, -1] = 1
        rows, columns = np.nonzero((cutaway(volume, colours(ROCK), 0, 96) != 255).any(2))
        assert len(rows)
        place = np.median(rows) / 96, np.median(columns) / 96
        assert [place[0] < 0.4, place[1] < 0.3, place[1] > 0.7][axis], (axis, place)


# ---- the page


def test_the_page_carries_every_voxel_and_fetches_nothing(tmp_path):
    images = {"a": [("one", cell(1)), ("two", cell(2))], "b": [("three", cell(3))]}
    path = tmp_path / "page.html"
    write_page(path, "<cell>", ["2 < 3"], viewer(images, CELL, 0.4, "um"))
    text = path.read_text()
    assert not re.findall(r"https?:|\bsrc=|\bhref=|@import|url\(", text)
    assert "&lt;cell&gt;" in text
    assert "2 &lt; 3" in text
    told = facts(text)
    assert [phase["name"] for phase in told["phases"]] == ["pore", "NMC", "CBD"]
    assert [phase["colour"] for phase in told["phases"]] == colours(CELL).tolist()
    assert [pane["title"] for pane in told["panes"]] == ["a", "b"]
    for pane, shown in zip(told["panes"], images.values(), strict=True):
        for item, (name, image) in zip(pane["items"], shown, strict=True):
            assert item["name"] == name
            assert np.array_equal(voxels(item), image)
            assert f"NMC {(image == 1).mean():.4f} ({(image == 1).sum()})" in item["about"]
    assert (told["unit"], told["panes"][0]["items"][0]["voxel"]) == ("um", 0.4)


def test_names_cannot_break_out_of_the_page():
    nasty = (Phase("</script><b>", 0), Phase("solid", 1))
    text = viewer({"": [("</script>", blobs((8, 8), [0.5], 0))]}, nasty, None, None)
    assert text.count("</script>") == 2
    assert facts(text)["phases"][0]["name"] == "</script><b>"


def test_large_volumes_are_coarsened_and_the_page_says_so(monkeypatch):
    monkeypatch.setattr(viewing, "MOST_VOXELS", 1000)
    volume = np.kron(blobs((10, 10, 10), [0.4], 0), np.ones((2, 2, 2), np.uint8)).astype(np.uint8)
    (item,) = facts(viewer({"": [("v", volume)]}, ROCK, 3.0, "nm"))["panes"][0]["items"]
    assert np.array_equal(voxels(item), volume[::2, ::2, ::2])
    assert "20x20x20 voxels of 3 nm" in item["about"]
    assert "shown 2 times coarser, by majority: 10x10x10 voxels of 6 nm" in item["about"]
    assert item["voxel"] == 6.0
    (item,) = facts(viewer({"": [("v", volume)]}, ROCK, None, None))["panes"][0]["items"]
    assert item["voxel"] == 2.0  # the scale stays in voxels of the file


# ---- the command


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(path):
    return [item["name"] for pane in facts(path.read_text())["panes"] for item in pane["items"]]


@pytest.mark.parametrize("suffix", [".tif", ".h5"])
@pytest.mark.parametrize("shape", [(12, 10, 8), (12, 10)])
def test_samples_are_shown_as_they_were_written(dsd, here, suffix, shape):
    stack = np.stack([blobs(shape, [0.45, 0.85], seed) for seed in range(3)])
    write_samples(f"s{suffix}", stack, CELL, 0.4, "um")
    code, out, _ = dsd("view", f"s{suffix}")
    assert (code, out) == (0, "s.html\n")
    told = facts((here / "s.html").read_text())
    assert told["solid"] == (len(shape) == 3)
    assert np.array_equal([voxels(item) for item in told["panes"][0]["items"]], stack)
    assert names(here / "s.html") == ["sample 0", "sample 1", "sample 2"]


def test_some_samples(dsd, here, monkeypatch):
    stack = np.stack([cell(seed, (8, 8, 8)) for seed in range(4)])
    write_samples("s.h5", stack, CELL)
    assert dsd("view", "s.h5", "--sample", 3, "--sample", 1, "-o", "two.html")[0] == 0
    assert names(here / "two.html") == ["sample 3", "sample 1"]
    code, _, said = dsd("view", "s.h5", "--sample", 4)
    assert code == 2
    assert "0 to 3" in said
    monkeypatch.setattr("dsdcli.pipeline.view.PAGE_VOXELS", 2 * 8**3)
    code, _, said = dsd("view", "s.h5")
    assert code == 0
    assert "the first 2 of 4" in said
    assert "the first 2 of 4" in (here / "s.html").read_text()
    assert names(here / "s.html") == ["sample 0", "sample 1"]
    assert dsd("view", "s.h5", *["--sample", 0, "--sample", 1, "--sample", 2])[0] == 2
    assert dsd("view", "s.h5", "-q")[2] == ""


def test_a_dataset_shows_both_parts(dsd, rock, here):
    assert dsd("view", rock.path)[1].strip() == str(here / "toy.html")
    told = facts((here / "toy.html").read_text())
    assert names(here / "toy.html") == ["train", "held out"]
    assert np.array_equal(voxels(told["panes"][0]["items"][1]), rock.heldout[0].array)
    assert (told["unit"], [phase["name"] for phase in told["phases"]]) == ("um", ["pore", "grain"])


def test_images_from_elsewhere(dsd, here):
    volume = blobs((6, 9, 10), [0.3], 0)
    tifffile.imwrite("scan.ome.tif", 255 * volume, ome=True, metadata={"axes": "ZYX"})
    code, out, said = dsd("view", "scan.ome.tif")
    assert (code, out) == (0, "scan.html\n")
    assert "taken as a volume, its labels as 0 = pore, 255 = solid" in said
    (item,) = facts((here / "scan.html").read_text())["panes"][0]["items"]
    assert np.array_equal(voxels(item), volume)
    np.save("flat.npy", volume[0])
    assert dsd("view", "flat.npy")[0] == 0
    assert not facts((here / "flat.html").read_text())["solid"]
    (here / "slices").mkdir()
    for number, image in enumerate(volume):
        Pictures.fromarray(255 * image).save(f"slices/{number}.png")
    assert dsd("view", "slices")[1] == "slices.html\n"
    assert np.array_equal(voxels(facts((here / "slices.html").read_text())["panes"][0]["items"][0]), volume)


def test_what_is_no_page_is_never_overwritten(dsd, here):
    np.save("a.npy", blobs((9, 10), [0.3], 0))
    (here / "a.html").write_text("my notes")
    for words in ((), ("-o", "a.html")):
        code, _, said = dsd("view", "a.npy", *words)
        assert code == 2
        assert "another name" in said
    assert (here / "a.html").read_text() == "my notes"
    for _ in range(2):
        assert dsd("view", "a.npy", "-o", "b.html")[0] == 0
    assert dsd("view", "a.npy", "-o", "a.png")[0] == 2
    assert dsd("view", "a.npy", "-o", "no/a.html")[0] == 2
    assert dsd("view", "missing.tif")[0] == 2
    np.save("grey.npy", np.arange(100, dtype=np.uint8).reshape(10, 10))
    assert dsd("view", "grey.npy")[0] == 4


# ---- what a browser makes of it

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader --hide-scrollbars
    --window-size=820,500 --virtual-time-budget=20000 --dump-dom"""

# Collects what goes wrong, acts like a user, and leaves pictures of the canvases in the page. Frames are rare in
# virtual time, so timers stand in for them, and canvases keep what was drawn.
WATCH = """<script>
const trouble = [], seen = {}, context = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  return context.call(this, kind, { ...options, preserveDrawingBuffer: true });
};
window.requestAnimationFrame = (call) => setTimeout(call, 16);
window.addEventListener("error", (event) => trouble.push(event.message));
window.addEventListener("unhandledrejection", (event) => trouble.push(String(event.reason)));
console.error = console.warn = (...words) => trouble.push(words.join(" "));
const wait = (time) => new Promise((done) => setTimeout(done, time));
const look = async (name) => {
  await wait(400);
  seen[name] = [...document.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL());
};
const set = (element, values, event) => Object.assign(element, values).dispatchEvent(new Event(event));
const press = (key) => one(".stage").dispatchEvent(new KeyboardEvent("keydown", { key }));
const one = (what) => document.querySelector(what), all = (what) => [...document.querySelectorAll(what)];
setTimeout(async () => {
  try { await act(); } catch (error) { trouble.push(String(error)); }
  document.body.innerHTML = `<pre id="result">${JSON.stringify({ trouble, seen })}</pre>`;
}, 1000);
async function act() { ACT }
</script>"""


def browse(folder, text, act):
    """Open a page in a browser, act on it, and return its canvases as arrays (H, W, 4), by the name of the look."""
    path = folder / "act.html"
    path.write_text(text.replace("<head>", "<head>" + WATCH.replace("ACT", act)), encoding="utf-8")
    words = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=True)
    result = json.loads(html.unescape(re.findall(r'<pre id="result">(.*?)</pre>', done.stdout)[-1]))
    assert result["trouble"] == []
    return {
        name: [np.asarray(Pictures.open(io.BytesIO(base64.b64decode(url.split(",")[1])))) for url in pictures]
        for name, pictures in result["seen"].items()
    }


def on_white(picture):
    """RGBA with premultiplied edges -> RGB, as the page shows it."""
    alpha = picture[..., 3:] / 255
    return picture[..., :3] * alpha + 255 * (1 - alpha)


def framed(picture, side=96):
    """What is not white, cut out and brought to one size."""
    rows, columns = np.nonzero((picture < 250).any(2))
    inside = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return np.asarray(Pictures.fromarray(inside.round().astype(np.uint8)).resize((side, side)), float)


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@needs_browser
def test_a_browser_draws_volumes_turns_cuts_and_switches_them(tmp_path):
    volumes = [cell(seed, (24, 28, 32)) for seed in (1, 2)]
    write_page(tmp_path / "v.html", "v", [], viewer({"": list(zip("ab", volumes, strict=True))}, CELL, 1.0, "um"))
    seen = browse(
        tmp_path,
        (tmp_path / "v.html").read_text(),
        """
        await look("start");
        set(one(".sliders input"), { value: 0.25 }, "input"); await look("cut");
        set(one(".bar select"), { selectedIndex: 2 }, "change"); await look("planes");
        set(one(".bar select"), { selectedIndex: 3 }, "change"); await look("whole");
        press("ArrowLeft"); await look("turned");
        all(".pick button")[1].click(); await look("other");
        for (const box of all("[type=checkbox]")) set(box, { checked: false }, "change"); await look("none");
        """,
    )
    solid = {name: on_white(pictures[0]) for name, pictures in seen.items()}
    ours = cutaway(volumes[0], colours(CELL), 0, 400)
    assert np.abs(framed(solid["start"]) - framed(ours.astype(float))).mean() < 6
    table = colours(CELL)
    z, y, x = (side // 2 for side in volumes[0].shape)
    for name, volume, plane in (("start", volumes[0], z), ("cut", volumes[0], 6), ("other", volumes[1], 6)):
        cuts = [picture[..., :3] for picture in seen[name][1:]]
        for cut, expected in zip(cuts, (volume[plane], volume[:, y], volume[:, :, x]), strict=True):
            assert np.array_equal(cut, table[expected]), name
    order = ["start", "cut", "planes", "whole", "turned", "other"]
    for before, after in itertools.pairwise(order):
        assert (np.abs(solid[before] - solid[after]).max(2) > 20).mean() > 0.01, (before, after)
    assert (solid["whole"] < 250).any(2).mean() > (solid["planes"] < 250).any(2).mean()
    assert (solid["none"] == 255).all()


@needs_browser
def test_a_browser_pages_through_2d_images(tmp_path):
    images = [cell(seed, (20, 30)) for seed in (1, 2)]
    write_page(tmp_path / "v.html", "v", [], viewer({"": list(zip("ab", images, strict=True))}, CELL, None, None))
    seen = browse(
        tmp_path,
        (tmp_path / "v.html").read_text(),
        """
        await look("a");
        press("ArrowRight"); await look("b");
        set(one("[type=checkbox]"), { checked: false }, "change"); await look("no pore");
        """,
    )
    table = colours(CELL)
    assert np.array_equal(seen["a"][0][..., :3], table[images[0]])
    assert np.array_equal(seen["b"][0][..., :3], table[images[1]])
    white = np.where(images[1][..., None] == 0, WHITE, table[images[1]])
    assert np.array_equal(seen["no pore"][0][..., :3], white)
