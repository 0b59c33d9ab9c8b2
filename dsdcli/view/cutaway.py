"""A shaded picture of a volume with the corner towards the eye cut away: parallel rays through the voxels, in numpy.

The page of `dsd view` opens with the same picture: viewer.js is this file for a graphics card. Vectors are (z, y, x);
z points down in the picture, as the first slice lies on top of a stack.
"""

import numpy as np

AZIMUTH, ELEVATION = 32.0, 27.0  # degrees: of the eye from the x towards the y axis, and above the face z = 0
LAMP = (0.06, 0.36, 0.93)  # towards the lamp: right, up, towards the eye
AMBIENT, DIFFUSE = 0.35, 0.85  # light from everywhere, and from the lamp on what faces it
_SMOOTH = 0.85  # voxels: width of the Gaussian density whose gradient is the normal of a surface
FADE = 0.3  # of the longest side: how far inside a gap a surface keeps 1/e of its light
_FINE = 640  # rays along either side of a picture up to which a pixel gets four of them
_SOLID, _GAP, _CUT, _OUTSIDE = range(4)


def cutaway(volume: np.ndarray, table: np.ndarray, hidden: int | None, side: int) -> np.ndarray:
    """A volume without the octant z < Z/2, y >= Y/2, x >= X/2, seen from there, on white.

    Args:
        volume: phase indices uint8 (Z, Y, X).
        table: colour of each phase, uint8 (K, 3).
        hidden: the phase that one sees through; None: all are solid.
        side: pixels of the square picture.

    Returns:
        uint8 (side, side, 3).
    """
    solid = np.ones(volume.shape, bool) if hidden is None else volume != hidden
    codes = np.full([side + 2 for side in volume.shape], _OUTSIDE, np.uint8)
    codes[1:-1, 1:-1, 1:-1] = np.where(solid, _SOLID, _GAP)
    z, y, x = (1 + length // 2 for length in volume.shape)
    codes[1:z, y:-1, x:-1] = _CUT
    frame, finer = _frame(), 2 if 2 * side <= _FINE else 1
    pixel, cell, axis, at, depth = _march(codes, frame, finer * side)
    facing = -np.sign(frame[2]) * np.eye(3)  # of the faces that the eye can see, by axis
    normal = -facing[axis]
    inner = depth > 0
    normal[inner] = _normals(solid, at[inner])
    shade = AMBIENT + DIFFUSE * np.maximum(normal @ (LAMP @ frame), 0)
    shade *= np.exp(-depth / (FADE * max(volume.shape)))
    picture = np.full(((finer * side) ** 2, 3), 255, np.float32)
    picture[pixel] = table[volume[*cell]] * np.minimum(shade, 1)[:, None]
    return picture.reshape(side, finer, side, finer, 3).mean((1, 3)).round().astype(np.uint8)


def _frame() -> np.ndarray:
    """Rows: unit vectors to the right, up, and towards the eye."""
    a, e = np.radians([AZIMUTH, ELEVATION])
    towards = [-np.sin(e), np.cos(e) * np.sin(a), np.cos(e) * np.cos(a)]
    right = [0, -np.cos(a), np.sin(a)]
    up = [-np.cos(e), -np.sin(e) * np.sin(a), -np.sin(e) * np.cos(a)]
    return np.array([right, up, towards])


def _march(codes: np.ndarray, frame: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
    """Walk every ray from voxel to voxel (Amanatides and Woo, 1987) until it meets a solid one.

    Args:
        codes: uint8, the volume within a rim of one voxel that says _OUTSIDE.
        frame: of the eye.
        side: rays along either side of the picture.

    Returns:
        of the m rays that hit: pixel (m,), voxel (3, m), axis across whose face the ray came in (m,), point (m, 3) in
        voxels, and how long the ray was in gaps before (m,); 0 on faces of the block and of the cut.
    """
    shape = np.array(codes.shape) - 2
    right, up, towards = frame
    scale = max(np.abs(up) @ shape, np.abs(right) @ shape) / (side - 2)
    steps = (np.arange(side) - (side - 1) / 2) * scale
    start = shape / 2 + (steps[None, :, None] * right - steps[:, None, None] * up).reshape(-1, 3)  # t = 0: the middle
    away, forward = -towards, -towards > 0
    entry = (np.where(forward, 0, shape) - start) / away
    t = entry.max(1)
    pixel = np.flatnonzero(t < ((np.where(forward, shape, 0) - start) / away).min(1))
    start, t, axis = start[pixel], t[pixel], entry[pixel].argmax(1)
    cell = np.clip(np.floor(start + t[:, None] * away).astype(np.int64), 0, shape - 1)
    cell[np.arange(len(cell)), axis] = np.where(forward, 0, shape - 1)[axis]
    across = ((cell + forward - start) / away).T.copy()  # (3, m): t at which the ray leaves its voxel, by axis
    strides = np.array(codes.strides)
    index, move, more = (cell + 1) @ strides, strides * np.where(forward, 1, -1), 1 / np.abs(away)
    flat, since, found = codes.reshape(-1), t.copy(), []
    rays = np.arange(len(pixel))
    while len(rays):
        code = flat[index]
        going = (code == _GAP) | (code == _CUT)
        if not going.all():
            hit = code == _SOLID
            found.append((rays[hit], index[hit], axis[hit], t[hit], (t - since)[hit]))
            rays, index, since, code = rays[going], index[going], since[going], code[going]
            across = across[:, going]
        axis = across.argmin(0)
        t = np.take_along_axis(across, axis[None], 0)[0]
        across[axis, np.arange(len(axis))] += more[axis]
        index = index + move[axis]
        cut = code == _CUT
        since[cut] = t[cut]
    rays, index, axis, t, depth = (np.concatenate(part) for part in zip(*found, strict=True))
    cell = np.array(np.unravel_index(index, codes.shape)) - 1
    return pixel[rays], cell, axis, start[rays] + t[:, None] * away, depth


def _normals(solid: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Unit normals (m, 3) out of the solid at points ``at`` (m, 3): down the gradient of its smoothed density."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    density = gaussian_filter(solid.astype(np.float32), _SMOOTH, mode="nearest")
    slope = np.empty_like(at)
    for axis in range(3):
        ahead = at.T - 0.5  # density is of the middles of voxels
        behind = ahead.copy()
        ahead[axis] += 1
        behind[axis] -= 1
        slope[:, axis] = map_coordinates(density, behind, order=1, mode="nearest") - map_coordinates(
            density, ahead, order=1, mode="nearest"
        )
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
