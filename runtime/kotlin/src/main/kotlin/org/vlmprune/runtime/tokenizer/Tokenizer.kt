package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.BundleError
import org.vlmprune.runtime.Field
import org.vlmprune.runtime.parseJson
import java.io.IOException
import java.nio.file.Files
import java.nio.file.Path

/**
 * A tokenizer as `tokenizer.json` describes it: added tokens, normalizer, pre-tokenizer, BPE, post-processor, decoder.
 *
 * It gives the ids that the `tokenizers` package of Hugging Face gives.
 */
class Tokenizer internal constructor(
    private val added: AddedTokens,
    private val normalize: (String) -> String,
    private val preTokenize: (List<Piece>) -> List<Piece>,
    private val model: Bpe,
    private val template: PostProcessor,
    private val decoder: (List<String>) -> List<String>,
) {
    /** Returns the ids of a text, with the tokenizer's own special tokens around it where [addSpecialTokens]. */
    fun encode(text: String, addSpecialTokens: Boolean): IntArray {
        val ids = mutableListOf<Int>()
        for (part in added.split(text, normalize)) {
            when (part) {
                is TextPart.Token -> ids += part.id
                is TextPart.Plain -> preTokenize(listOf(Piece(part.text, part.isFirst))).forEach { model.encode(it.text, ids) }
            }
        }
        return (if (addSpecialTokens) template.around(ids) else ids).toIntArray()
    }

    /** Returns the text of ids; special tokens are left out. */
    fun decode(ids: IntArray): String {
        val tokens = ids.toList().filterNot(added::isSpecial).mapNotNull { added.token(it) ?: model.token(it) }
        return decoder(tokens).joinToString("")
    }

    /** Returns the id of a token of the vocabulary or of an added one, null if there is none. */
    fun id(token: String): Int? = added.id(token) ?: model.id(token)
}

/** A text on its way to the model; [isFirst] where it stands at the very start of the whole text. */
data class Piece(val text: String, val isFirst: Boolean)

/** Returns the tokenizer in a file. Raises [BundleError] if it is none, or of a kind that is not supported. */
fun loadTokenizer(path: Path): Tokenizer {
    val file = path.fileName.toString()
    val document = try {
        Files.newBufferedReader(path).use { parseJson(it, file) }
    } catch (error: IOException) {
        throw BundleError(file, "is not a tokenizer: it cannot be read as text")
    }
    if (document !is Map<*, *>) throw BundleError(file, "is not a tokenizer")
    return Field(document, file, emptyList(), lenient = true).record { record ->
        val normalize = record.optional("normalizer")?.let(::readNormalizer) ?: { it }
        val model = readBpe(record["model"])
        Tokenizer(
            added = readAddedTokens(record.optional("added_tokens"), normalize),
            normalize = normalize,
            preTokenize = record.optional("pre_tokenizer")?.let(::readPreTokenizer) ?: { it },
            model = model,
            template = record.optional("post_processor")?.let(::readPostProcessor) ?: PostProcessor(emptyList(), emptyList()),
            decoder = record.optional("decoder")?.let(::readDecoder) ?: ::spaced,
        )
    }
}

/** Without a decoder, tokens are joined with spaces. */
private fun spaced(tokens: List<String>): List<String> = tokens.mapIndexed { nth, token -> if (nth == 0) token else " $token" }
