package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Edit
import org.vlmprune.runtime.manifest.MANIFEST
import org.vlmprune.runtime.manifest.PromptSpec
import org.vlmprune.runtime.manifest.Segment
import org.vlmprune.runtime.tokenizer.Tokenizer
import java.time.LocalDateTime
import java.time.format.DateTimeFormatter
import java.util.Locale

/** Places [start] to [stop] - 1 of a prompt, which the visual tokens of one view take. */
data class Span(val start: Int, val stop: Int)

/** Token ids, one span per view, and the index of each view's grid. */
class EncodedPrompt(val tokenIds: IntArray, val spans: List<Span>, val grids: List<Int>)

/** Returns the first question about pictures as token ids; [viewTokens] and [grids] say what each picture becomes. */
fun encodePrompt(tokenizer: Tokenizer, spec: PromptSpec, prompt: String, viewTokens: List<Int>, grids: List<Int>): EncodedPrompt {
    val text = render(spec.segments, spec, prompt, images = viewTokens.size)
    return withPlaces(tokenizer.encode(text, spec.addSpecialTokens), spec, viewTokens, grids)
}

/** Returns what stands behind the tokens of the last answer: its end, and the next question. */
fun encodeFollowUp(tokenizer: Tokenizer, spec: PromptSpec, prompt: String): EncodedPrompt {
    val followUp = spec.followUp
        ?: throw BadRequest("this bundle's chat template has no further question in a conversation")
    if (!followUp.standalone) throw BadRequest("a further question of this bundle is tokenized with all that was said before")
    val text = render(followUp.segments, spec, prompt, images = 0)
    return withPlaces(tokenizer.encode(text, addSpecialTokens = false), spec, emptyList(), emptyList())
}

/** Returns the texts of segments joined. Raises [BadRequest] for a prompt or a number of images without a place. */
fun render(segments: List<Segment>, spec: PromptSpec, prompt: String, images: Int, now: LocalDateTime = LocalDateTime.now()): String {
    if (images > 0 && segments.none { it is Segment.Images }) throw BadRequest("got $images images; allowed: none in this turn")
    return segments.joinToString("") { segment ->
        when (segment) {
            is Segment.Text -> segment.text
            is Segment.Images -> imagesText(segment, spec.imageToken, images)
            is Segment.UserText -> userText(segment, spec.imageToken, prompt)
            is Segment.Date -> dateText(segment.format, now)
        }
    }
}

private fun imagesText(segment: Segment.Images, token: String, images: Int): String {
    if (images < segment.fewest || images > (segment.most ?: images)) {
        val limit = segment.most?.let { "to $it" } ?: "or more"
        throw BadRequest("got $images images; allowed: ${segment.fewest} $limit")
    }
    return List(images) { segment.before + token + segment.after }.joinToString(segment.between)
}

private fun userText(segment: Segment.UserText, imageToken: String, prompt: String): String {
    if (!Charsets.UTF_8.newEncoder().canEncode(prompt)) throw BadRequest("the prompt is not valid Unicode text")
    val text = segment.edits.fold(prompt) { text, edit ->
        when (edit) {
            is Edit.Replace -> text.replace(edit.old, edit.new)
            is Edit.Strip -> stripped(text, edit)
        }
    }
    if (imageToken in text) throw BadRequest("the prompt contains '$imageToken', which stands for the image")
    return text
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

/** Repeats each image token once per visual token of its picture. */
private fun withPlaces(ids: IntArray, spec: PromptSpec, viewTokens: List<Int>, grids: List<Int>): EncodedPrompt {
    if (ids.count { it == spec.imageTokenId } != viewTokens.size) {
        val reason = "the tokenizer does not turn '${spec.imageToken}' into this id"
        throw BundleError(MANIFEST, reason, "prompt.image_token_id")
    }
    val out = mutableListOf<Int>()
    val spans = mutableListOf<Span>()
    for (id in ids) {
        if (id == spec.imageTokenId) {
            val tokens = viewTokens[spans.size]
            spans += Span(out.size, out.size + tokens)
            repeat(tokens) { out += id }
        } else {
            out += id
        }
    }
    return EncodedPrompt(out.toIntArray(), spans, grids)
}
