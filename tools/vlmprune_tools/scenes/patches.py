"""Which patches of an image its objects cover."""

import numpy as np
import numpy.typing as npt

from vlmprune_export.pocket_model.vision_tower import GRID, IMAGE_PX, PATCH_PX
from vlmprune_tools.scenes.scene import EDGE, NO_OBJECT

OWNED, TOUCHED = 0.5, 0.02  # an object owns a patch above the first share, and touches it above the second


def patch_coverage(mask: npt.NDArray[np.bool_], x_px: int, y_px: int) -> npt.NDArray[np.float32]:  # -> (N,)
    """Returns the share of each patch that a mask at (x, y) covers."""
    full = np.zeros((IMAGE_PX, IMAGE_PX), np.float32)
    full[y_px : y_px + mask.shape[0], x_px : x_px + mask.shape[1]] = mask
    patches = full.reshape(GRID, PATCH_PX, GRID, PATCH_PX)
    share: npt.NDArray[np.float32] = patches.mean((1, 3), dtype=np.float32).reshape(-1)
    return share


def patch_owners(coverage: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:  # (objects, N) -> (N,)
    """Returns the number of the object that covers most of each patch, or EDGE or NO_OBJECT."""
    if not len(coverage):
        return np.full(GRID * GRID, NO_OBJECT, np.int8)
    most = coverage.max(0)
    owner = np.where(most > OWNED, coverage.argmax(0), np.where(most > TOUCHED, EDGE, NO_OBJECT))
    return owner.astype(np.int8)
