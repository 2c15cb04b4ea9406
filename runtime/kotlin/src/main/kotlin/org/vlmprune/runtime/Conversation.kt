package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.PromptSpec
import org.vlmprune.runtime.tokenizer.Tokenizer

/**
 * The tokens whose rows are in the caches, in [ids] each image token once and in [tokenIds] once per visual token, and
 * the state behind them. The last token of an answer is not among them, for it is never run.
 */
class Held(val ids: IntArray, val tokenIds: IntArray, val state: State) {
    /** Returns what is left without so many tokens at the end, whose rows will be overwritten. */
    fun withoutLast(tokens: Int) =
        Held(ids.copyOf(ids.size - tokens), tokenIds.copyOf(tokenIds.size - tokens), state.rewound(tokens))
}

/**
 * A first question, or a further question and the tokens that it continues.
 *
 * [text] and [ids] are the whole conversation's up to where the answer begins, each image token once, and [pictures] the
 * places of all its images. [prompt] is the part that is not in the caches yet, [behind] what they hold before it.
 */
class QuestionTurn(
    val text: String,
    val ids: IntArray,
    val pictures: List<PicturePlace>,
    val prompt: EncodedPrompt,
    val behind: Held? = null,
) {
    /** All tokens (S,) up to where the answer begins. */
    val tokenIds: IntArray get() = (behind?.tokenIds ?: IntArray(0)) + prompt.tokenIds

    /** The number of images that came with the questions before this one. */
    val earlierPictures: Int get() = pictures.size - prompt.pictures.size

    /** Returns the conversation after the prefill that gave the state; the answer is still to come. */
    fun asked(state: State, answer: TextStream) = Conversation(text, pictures, Held(ids, tokenIds, state), answer)
}

/**
 * The text up to the last answer, that answer as far as it goes, and what the caches hold.
 *
 * What they hold grows token by token, so that a conversation which is interrupted anywhere can go on.
 */
class Conversation(
    private val text: String,
    private val pictures: List<PicturePlace>,
    private var prompt: Held,
    val answer: TextStream,
) {
    private val run = mutableListOf<Int>()
    private var state = prompt.state

    /** What the caches hold. */
    val held: Held get() = Held(prompt.ids + run, prompt.tokenIds + run, state)

    /** Notes that a token of the answer has run, and the state after it. */
    fun ran(tokenId: Int, after: State) {
        run += tokenId
        state = after
    }

    /**
     * Returns a further question about new pictures.
     *
     * The whole conversation is tokenized anew. Its tokens are those of the caches as far as both agree; what is behind,
     * such as an answer that the tokenizer writes in another way than the model did, is run again. Raises [BadRequest]
     * for a question that has no place in the conversation.
     */
    fun goOn(
        tokenizer: Tokenizer,
        spec: PromptSpec,
        viewTokens: List<Int>,
        question: String,
        newPictures: List<PicturePlace>,
    ): QuestionTurn {
        val whole = text + renderAnswer(spec, answer.text) + renderFollowUp(spec, question, newPictures)
        val ids = tokenize(tokenizer, spec, whole)
        val now = held
        val same = commonPrefix(ids.copyOf(ids.size - 1), now.ids) // the last token is run in any case, for its logits
        val views = pictures.sumOf { it.grids.size }
        if ((0 until same).count { ids[it] == spec.imageTokenId } < views || spec.imageToken in answer.text) {
            throw BadRequest("the images have other places in the conversation by now; start it anew")
        }
        val added = expandIds(ids.copyOfRange(same, ids.size), spec, viewTokens, newPictures)
        rewind(now.withoutLast(now.ids.size - same))
        return QuestionTurn(whole, ids, pictures + newPictures, added, prompt)
    }

    private fun rewind(to: Held) {
        prompt = to
        run.clear()
        state = to.state
    }
}

/** Returns how many elements two arrays begin with in common. */
internal fun commonPrefix(one: IntArray, other: IntArray): Int =
    (0 until minOf(one.size, other.size)).firstOrNull { one[it] != other[it] } ?: minOf(one.size, other.size)
