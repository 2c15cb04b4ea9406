package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.ImageSpec
import org.vlmprune.runtime.manifest.Manifest

/** The views of a picture in the order of the prompt with their pixels (1, 3, H, W), and the places that they take there. */
class SeenPicture(val size: Size, val views: List<View>, val pixels: List<FloatTensor>, val place: PicturePlace)

/** The token ids of a question, and its pictures. */
class Question(val prompt: EncodedPrompt, val pictures: List<SeenPicture>) {
    /** The pixels (1, 3, H, W) of every view of all pictures. */
    val pixels: List<FloatTensor> get() = pictures.flatMap { it.pixels }
}

/** Returns a picture as the model sees it. Raises [BadRequest] for a view whose size no grid of the bundle has. */
fun see(manifest: Manifest, spec: ImageSpec, picture: Picture): SeenPicture {
    val views = viewsOf(picture.size, spec)
    val grids = views.map { manifest.gridIndex(it.size) }
    val pixels = seenPictures(picture, spec).map { FloatTensor(listOf(1, 3, it.height, it.width), it.values(spec)) }
    val lastTile = views.lastOrNull { it.role == ViewRole.TILE }
    val place = PicturePlace(grids, rows = (lastTile?.row ?: -1) + 1, columns = (lastTile?.column ?: -1) + 1)
    return SeenPicture(picture.size, views, pixels, place)
}

/** Returns where the grid of each view lies in its picture. */
fun SeenPicture.areas(manifest: Manifest): List<GridArea> = views.zip(place.grids) { view, index ->
    val grid = manifest.grids[index]
    GridArea(view.box, grid.height, grid.width, view.role, size)
}

/** Returns what a run says of each view: its grid, and the place of each tile; [image] is the picture's number. */
fun SeenPicture.reported(manifest: Manifest, image: Int): List<SeenView> = views.zip(place.grids) { view, index ->
    val grid = manifest.grids[index]
    SeenView(image, grid.height, grid.width, grid.heightPx, grid.widthPx, view.row, view.column)
}
