"""Making sure that an array read from a file holds integer labels."""

import numpy as np

from dsdcli.errors import DataError

NOT_WHOLE = "holds floating-point values that are not whole numbers"  # how the complaint of these begins
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1  # what every format written here can hold


def grey_of_colours(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """One channel of an (..., 3 or 4) array of colours that are all grey; 2 or 4 channels end in an alpha channel.

    Raises:
        DataError: the image is really coloured.
    """
    channels = array.shape[-1]
    colours = array[..., : channels - 1] if channels in (2, 4) else array
    if not (colours == colours[..., :1]).all():
        raise DataError(
            f"{name} is a colour (RGB) image; dsd needs one number per pixel: save it as an image of labels "
            "(and if its channels are slices, save each as a page of its own)"
        )
    return colours[..., 0], (f"{name} is stored in {channels} channels but all its colours are grey: read as labels",)


def without_idle_axes(array: np.ndarray) -> np.ndarray:
    """Drop axes of length one that stand for a channel (last, or second of four) or lead more than four axes."""
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    while array.ndim > 4 and array.shape[0] == 1:
        array = array[0]
    return array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array


def as_labels(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """``array`` as whole numbers in C order.

    Floating-point values are accepted if all of them are whole numbers, or if there are two only (then 0 and 1).

    Raises:
        DataError: empty, not numeric, not whole (or NaN), or beyond 32 bits.
    """
    remarks: tuple[str, ...] = ()
    if array.size == 0:
        raise DataError(f"{name} is empty: its shape is {'x'.join(map(str, array.shape))}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds NaN or infinite values; replace them by a label of their own, or crop")
        whole = np.round(array)
        if (whole != array).any() and ((array == (low := array.min())) | (array == (high := array.max()))).all():
            remark = f"{name} holds two values, {low:g} and {high:g}: segmented, read as the labels 0 and 1"
            return np.ascontiguousarray(array == high).view(np.uint8), (remark,)
        if (whole != array).any():
            raise DataError(
                f"{name} {NOT_WHOLE} ({array.min():.4g} to "
                f"{array.max():.4g}): it is not segmented; segment it into phases and save integer labels"
            )
        if np.abs(whole).max() <= _HIGHEST:
            array = whole.astype(np.int32)
            remarks = (f"{name} holds floating-point numbers; all are whole, so they are read as labels",)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds values of type {array.dtype}; dsd needs integer labels")
    if array.dtype.kind == "b":
        array = np.where(array, np.uint8(1), np.uint8(0))  # the bytes behind a true value need not be 1
    if array.dtype.itemsize > 2 and (array.min() < _LOWEST or array.max() > _HIGHEST):
        raise DataError(f"{name} holds labels beyond 32 bits; renumber them")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native), remarks
