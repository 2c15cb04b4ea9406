package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record

/** A change that is made to the user's text. */
sealed interface Edit {
    data class Strip(val start: Boolean, val end: Boolean, val characters: String) : Edit
    data class Replace(val old: String, val new: String) : Edit
}

/** A part of the text of a turn. */
sealed interface Segment {
    data class Text(val text: String) : Segment
    data class Images(val before: String, val after: String, val between: String, val fewest: Int, val most: Int?) :
        Segment
    data class UserText(val edits: List<Edit>) : Segment
    data class Date(val format: String) : Segment
}

data class FollowUp(val beforeAnswer: String, val segments: List<Segment>, val standalone: Boolean)

/**
 * The text of a picture in tiles: [tile] before each, in which the numbers of row and column replace `{row}` and
 * `{column}`, [rowEnd] behind each row, [whole] before the whole picture; [only] before a picture of a single view.
 */
data class TilesText(val tile: String, val rowEnd: String, val whole: String, val only: String, val end: String) {
    val texts: List<String> get() = listOf(tile, rowEnd, whole, only, end)

    /** Returns what stands before a tile; rows and columns are counted from 1. */
    fun tileText(row: Int, column: Int): String = tile.replace("{row}", "$row").replace("{column}", "$column")
}

data class PromptSpec(
    val segments: List<Segment>,
    val followUp: FollowUp?,
    val tiles: TilesText?,
    val imageToken: String,
    val imageTokenId: Int,
    val addSpecialTokens: Boolean,
)

internal fun readPrompt(field: Field): PromptSpec = field.record { record ->
    PromptSpec(
        segments = record["segments"].list(::readSegment),
        followUp = record.optional("follow_up")?.let(::readFollowUp),
        tiles = record.optional("tiles")?.let(::readTiles),
        imageToken = record["image_token"].text().ifEmpty { throw record["image_token"].refused("a text") },
        imageTokenId = record["image_token_id"].int(0..Int.MAX_VALUE),
        addSpecialTokens = record["add_special_tokens"].flag(),
    ).also { checkPrompt(it, field) }
}

private fun readTiles(field: Field): TilesText = field.record { record ->
    fun text(name: String) = record[name].text()
    TilesText(text("tile"), text("row_end"), text("whole"), text("only"), text("end"))
}

private fun readFollowUp(field: Field): FollowUp = field.record { record ->
    FollowUp(
        beforeAnswer = record.optional("before_answer")?.text().orEmpty(),
        segments = record["segments"].list(::readSegment),
        standalone = record["standalone"].flag(),
    )
}

private fun readSegment(field: Field): Segment = field.record { record ->
    when (record["kind"].text()) {
        "text" -> Segment.Text(record["text"].text())
        "images" -> readImages(record)
        "user_text" -> Segment.UserText(record.optional("edits")?.list(::readEdit).orEmpty())
        "date" -> Segment.Date(record["format"].text(DATE_FORMAT, "a format of C's strftime"))
        else -> throw record["kind"].refused("one of date, images, text, user_text")
    }
}

private fun readImages(record: Record) = Segment.Images(
    before = record.optional("before")?.text().orEmpty(),
    after = record.optional("after")?.text().orEmpty(),
    between = record.optional("between")?.text().orEmpty(),
    fewest = record.optional("fewest")?.int(0..1) ?: 1,
    most = record.optional("most")?.int(),
)

private fun readEdit(field: Field): Edit = field.record { record ->
    when (record["kind"].text()) {
        "strip" -> readStrip(record)
        "replace" -> Edit.Replace(record["old"].text().ifEmpty { throw record["old"].refused("a text") }, record["new"].text())
        else -> throw record["kind"].refused("one of replace, strip")
    }
}

private fun readStrip(record: Record): Edit.Strip {
    val side = record["side"].choice(mapOf("start" to "start", "end" to "end", "both" to "both"))
    return Edit.Strip(side != "end", side != "start", record["characters"].text())
}

private fun checkPrompt(prompt: PromptSpec, field: Field) {
    if (prompt.segments.count { it is Segment.Images } != 1) throw field.broken("segments need one place for images")
    val turns = listOfNotNull(prompt.segments, prompt.followUp?.segments)
    for (turn in turns) {
        if (turn.count { it is Segment.UserText } != 1) throw field.broken("segments need one place for the user's text")
        if (turn.count { it is Segment.Images } > 1) throw field.broken("segments need at most one place for images")
    }
    val texts = turns.flatten().filterIsInstance<Segment.Text>().map { it.text } + prompt.tiles?.texts.orEmpty()
    if (texts.any { prompt.imageToken in it }) {
        throw field.broken("the image token stands in a text; its place is a segment of images")
    }
}

private val DATE_FORMAT = Regex("(?:[^%]|%[aAbBdHIjmMpSyY%])*", RegexOption.DOT_MATCHES_ALL)
