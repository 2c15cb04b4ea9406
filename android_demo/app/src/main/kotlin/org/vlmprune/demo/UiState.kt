package org.vlmprune.demo

import org.vlmprune.demo.ask.AskState
import org.vlmprune.demo.ask.Mode
import org.vlmprune.demo.benchmark.BenchmarkState
import org.vlmprune.demo.benchmark.ReportFormat
import org.vlmprune.demo.bundles.BundlesState

enum class Screen { ASK, BENCHMARK, BUNDLES }

/** All that the screens show; they render it and decide nothing. */
data class UiState(
    val screen: Screen = Screen.ASK,
    val model: ModelState = ModelState.None,
    val ask: AskState = AskState(),
    val benchmark: BenchmarkState = BenchmarkState(),
    val bundles: BundlesState = BundlesState(),
)

/** Where the chosen bundle stands on its way to answering. */
sealed interface ModelState {
    data object None : ModelState

    /** The bundle is on its way; [fraction] is null where nobody knows how far it is. */
    sealed interface Preparing : ModelState {
        val name: String
        val fraction: Float?
    }

    data class Verifying(override val name: String, override val fraction: Float) : Preparing
    data class Loading(override val name: String, val stage: String, override val fraction: Float) : Preparing
    data class WarmingUp(override val name: String, val pruned: Boolean) : Preparing {
        override val fraction: Float? = null
    }

    data class Ready(val model: ModelInfo) : ModelState
    data class Failed(val name: String, val problem: Problem) : ModelState
}

/** What the screens say of a loaded bundle. */
data class ModelInfo(
    val name: String,
    val folder: String,
    val target: String,
    val quantisation: String,
    val keptTokens: Int,
    val visualTokens: Int,
    val maxPhotos: Int?,
    val followUps: Boolean,
)

/** What a person does. */
sealed interface UiEvent {
    data class Open(val screen: Screen) : UiEvent

    data class AddPhotos(val uris: List<String>) : UiEvent
    data class RemovePhoto(val index: Int) : UiEvent
    data class ShowPhoto(val index: Int) : UiEvent
    data class EditQuestion(val text: String) : UiEvent
    data class ChooseMode(val mode: Mode) : UiEvent
    data class ShowKept(val count: Int) : UiEvent
    data class Ask(val question: String) : UiEvent
    data object StopAnswer : UiEvent
    data object NewConversation : UiEvent
    data object NoCamera : UiEvent
    data object DismissProblem : UiEvent

    data class SetPairs(val pairs: Int) : UiEvent
    data class SetBenchmarkPrompt(val text: String) : UiEvent
    data object StartBenchmark : UiEvent
    data object StopBenchmark : UiEvent
    data class ShowReport(val id: String) : UiEvent
    data class SetBaseline(val id: String?) : UiEvent
    data class DeleteReport(val id: String) : UiEvent
    data class SaveReport(val id: String, val format: ReportFormat, val uri: String) : UiEvent

    data class Load(val folder: String) : UiEvent
    data class DeleteBundle(val folder: String) : UiEvent
    data class ImportFolder(val uri: String) : UiEvent
    data class ImportZip(val uri: String) : UiEvent
    data object StopImport : UiEvent
    data object RefreshBundles : UiEvent
}
