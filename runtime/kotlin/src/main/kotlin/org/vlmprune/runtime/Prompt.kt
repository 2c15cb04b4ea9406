package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Edit
import org.vlmprune.runtime.manifest.MANIFEST
import org.vlmprune.runtime.manifest.PromptSpec
import org.vlmprune.runtime.manifest.Segment
import org.vlmprune.runtime.tokenizer.Tokenizer
import java.time.LocalDateTime
import java.time.format.DateTimeFormatter
import java.util.Locale

/** The tokens [start] to [stop] - 1 of a prompt, in whose places the visual tokens of one view stand. */
data class Span(val start: Int, val stop: Int)

/**
 * The places that a picture takes in a prompt: the index of the grid of each of its views, in order.
 *
 * A picture in tiles has [rows] x [columns] of them, row by row, and the whole picture behind them; others have 0 x 0.
 */
data class PicturePlace(val grids: List<Int> = listOf(0), val rows: Int = 0, val columns: Int = 0)

/** Token ids (S,), each image token once per visual token, a span per view, and the places of the pictures. */
class EncodedPrompt(val tokenIds: IntArray, val spans: List<Span>, val pictures: List<PicturePlace>) {
    /** The index of the grid of each view. */
    val grids: List<Int> get() = pictures.flatMap { it.grids }

    /** The number of each view's picture, and the number of the view among those of its picture. */
    val viewPlaces: List<Pair<Int, Int>>
        get() = pictures.flatMapIndexed { nth, picture -> picture.grids.indices.map { nth to it } }
}

/** Returns the first question about pictures, tokenized whole; a view on grid g takes [viewTokens] of g tokens. */
fun encodePrompt(
    tokenizer: Tokenizer,
    spec: PromptSpec,
    viewTokens: List<Int>,
    prompt: String,
    pictures: List<PicturePlace>,
): EncodedPrompt = expandIds(tokenize(tokenizer, spec, render(spec, prompt, pictures)), spec, viewTokens, pictures)

/**
 * Returns the tokens of a further question without pictures, and of the end of the answer before it.
 *
 * They equal the tokens in the whole conversation only if the bundle says `standalone`; [Conversation] handles both.
 */
fun encodeFollowUp(tokenizer: Tokenizer, spec: PromptSpec, prompt: String): IntArray =
    tokenizer.encode(renderFollowUp(spec, prompt, emptyList()), addSpecialTokens = false)

/** Returns the ids of a whole text, each image token once. */
fun tokenize(tokenizer: Tokenizer, spec: PromptSpec, text: String): IntArray = tokenizer.encode(text, spec.addSpecialTokens)

/** Returns the whole text of a first question, with an image token per view. */
fun render(spec: PromptSpec, prompt: String, pictures: List<PicturePlace>, now: LocalDateTime = LocalDateTime.now()): String =
    Turn(spec, prompt, pictures, now).text(spec.segments)

/** Returns the text between the last answer and the next. Raises [BadRequest] if the bundle has none. */
fun renderFollowUp(spec: PromptSpec, prompt: String, pictures: List<PicturePlace>): String {
    val followUp = spec.followUp
        ?: throw BadRequest("this bundle's chat template has no further question in a conversation")
    return Turn(spec, prompt, pictures, LocalDateTime.now()).text(followUp.segments)
}

/** Returns the text of an answer as it stands in a conversation. */
fun renderAnswer(spec: PromptSpec, answer: String): String = spec.followUp?.beforeAnswer.orEmpty() + answer.trim(::isPythonSpace)

/** The values that fill the segments of one turn. */
private class Turn(
    private val spec: PromptSpec,
    private val prompt: String,
    private val pictures: List<PicturePlace>,
    private val now: LocalDateTime,
) {
    /** Returns the joined text. Raises [BadRequest] for a prompt or a number of pictures that do not fit. */
    fun text(segments: List<Segment>): String {
        if (!Charsets.UTF_8.newEncoder().canEncode(prompt)) throw BadRequest("the prompt is not valid Unicode text")
        if (pictures.isNotEmpty() && segments.none { it is Segment.Images }) {
            throw BadRequest("got ${pictures.size} images; allowed: none in this turn")
        }
        return segments.joinToString("") { segment ->
            when (segment) {
                is Segment.Text -> segment.text
                is Segment.Images -> imagesText(segment)
                is Segment.UserText -> userText(segment)
                is Segment.Date -> dateText(segment.format, now)
            }
        }
    }

    private fun imagesText(segment: Segment.Images): String {
        val count = pictures.size
        if (count < segment.fewest || count > (segment.most ?: count)) {
            val limit = segment.most?.let { "to $it" } ?: "or more"
            throw BadRequest("got $count images; allowed: ${segment.fewest} $limit")
        }
        return pictures.joinToString(segment.between) { segment.before + pictureText(spec, it) + segment.after }
    }

    private fun userText(segment: Segment.UserText): String {
        val text = segment.edits.fold(prompt) { text, edit ->
            when (edit) {
                is Edit.Replace -> text.replace(edit.old, edit.new)
                is Edit.Strip -> stripped(text, edit)
            }
        }
        if (spec.imageToken in text) {
            throw BadRequest("the prompt contains ${shortRepr(spec.imageToken)}, which stands for the image")
        }
        return text
    }
}

/** Returns the text of a picture, with an image token for each of its views. */
internal fun pictureText(spec: PromptSpec, picture: PicturePlace): String {
    val token = spec.imageToken
    val tiles = spec.tiles ?: return token.repeat(picture.grids.size)
    if (picture.rows == 0) return tiles.only + token + tiles.end
    val rows = (1..picture.rows).joinToString("") { row ->
        (1..picture.columns).joinToString("") { column -> tiles.tileText(row, column) + token } + tiles.rowEnd
    }
    return rows + tiles.whole + token + tiles.end
}

private fun stripped(text: String, strip: Edit.Strip): String {
    val started = if (strip.start) text.trimStart { it in strip.characters } else text
    return if (strip.end) started.trimEnd { it in strip.characters } else started
}

/** Writes a date as C's strftime does in the C locale. */
private fun dateText(format: String, now: LocalDateTime): String = Regex("%(.)").replace(format) { match ->
    val pattern = DIRECTIVES[match.groupValues[1]]
    if (pattern == null) match.groupValues[1] else now.format(DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH))
}

private val DIRECTIVES = mapOf(
    "a" to "EEE", "A" to "EEEE", "b" to "MMM", "B" to "MMMM", "d" to "dd", "H" to "HH", "I" to "hh",
    "j" to "DDD", "m" to "MM", "M" to "mm", "p" to "a", "S" to "ss", "y" to "yy", "Y" to "yyyy",
)

/** Returns the ids with each view's image token repeated. Raises [BundleError] for another number of them. */
fun expandIds(ids: IntArray, spec: PromptSpec, viewTokens: List<Int>, pictures: List<PicturePlace>): EncodedPrompt {
    val grids = pictures.flatMap { it.grids }
    if (ids.count { it == spec.imageTokenId } != grids.size) {
        val reason = "the tokenizer does not turn ${shortRepr(spec.imageToken)} into this id"
        throw BundleError(MANIFEST, reason, "prompt.image_token_id")
    }
    val out = mutableListOf<Int>()
    val spans = mutableListOf<Span>()
    for (id in ids) {
        val repeats = if (id == spec.imageTokenId) viewTokens[grids[spans.size]] else 1
        if (id == spec.imageTokenId) spans += Span(out.size, out.size + repeats)
        repeat(repeats) { out += id }
    }
    return EncodedPrompt(out.toIntArray(), spans, pictures)
}
