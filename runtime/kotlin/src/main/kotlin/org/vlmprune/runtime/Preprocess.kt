package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Crop
import org.vlmprune.runtime.manifest.ImageSpec
import org.vlmprune.runtime.manifest.Pad
import org.vlmprune.runtime.manifest.Resize
import org.vlmprune.runtime.manifest.Rgb
import org.vlmprune.runtime.manifest.Split
import org.vlmprune.runtime.manifest.Target

/** Returns every view of a picture in the order of the prompt: tiles row by row, the whole picture last. */
fun seenPictures(picture: Picture, spec: ImageSpec): List<Picture> {
    var framed = picture.unframed()
    for ((nth, move) in spec.moves.withIndex()) {
        framed = when (move) {
            is Pad -> framed.toPicture().padded(move)
            is Resize -> framed.resized(move, spec.moves.getOrNull(nth + 1) as? Crop).unframed()
            is Crop -> framed.toPicture().centreCropped(move).unframed()
        }
    }
    val moved = framed.toPicture()
    return spec.split?.let { moved.split(it) } ?: listOf(moved)
}

/** Returns the pixels (3, H, W) of a view as the vision stage takes them, computed in 32-bit floats. */
fun Picture.values(spec: ImageSpec): FloatArray {
    val plane = width * height
    val out = FloatArray(3 * plane)
    for (channel in 0..2) {
        val (mean, std) = spec.mean[channel] to spec.std[channel]
        for (pixel in 0 until plane) {
            val value = (rgb[3 * pixel + channel].toInt() and 255).toFloat() * spec.factor
            out[channel * plane + pixel] = (value - mean) / std
        }
    }
    return out
}

private fun Picture.unframed() = FramedPicture(this, 0, 0, width, height, BLACK)

private fun Picture.padded(pad: Pad): FramedPicture {
    val side = Size(height, width).paddedSide()
    return FramedPicture(this, (side - width) / 2, (side - height) / 2, side, side, pad.colour)
}

/** Resizes; of a picture that is cropped next, the part that the crop leaves and no more. */
private fun FramedPicture.resized(resize: Resize, crop: Crop?): Picture {
    val size = Size(height, width).resized(resize.to)
    if (size == Size(height, width)) return toPicture()
    fun seen(px: Int, cropPx: Int?) = cropStart(px, cropPx ?: px).coerceAtLeast(0).let { it until minOf(it + (cropPx ?: px), px) }
    return resized(size, resize.kernel, seen(size.width, crop?.widthPx), seen(size.height, crop?.heightPx))
}

private fun Picture.centreCropped(crop: Crop): Picture =
    cropped(cropStart(width, crop.widthPx), cropStart(height, crop.heightPx), crop.widthPx, crop.heightPx, crop.colour)

private fun Picture.split(split: Split): List<Picture> {
    val tile = split.tilePx
    val tiles = tileCorners(size, split).map { (left, top) -> cropped(left, top, tile, tile, BLACK) }
    if (tiles.isEmpty()) return listOf(this)
    return tiles + unframed().resized(Resize(Target.Exact(tile, tile), split.kernel), null)
}

private val BLACK = Rgb(0, 0, 0)
