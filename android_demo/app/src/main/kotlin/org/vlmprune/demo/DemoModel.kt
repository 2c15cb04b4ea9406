package org.vlmprune.demo

import android.app.Application
import android.content.Context
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.SavedStateHandle
import androidx.lifecycle.viewModelScope
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.SharingStarted
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.flow.stateIn
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.vlmprune.demo.ask.AskState
import org.vlmprune.demo.ask.Conversation
import org.vlmprune.demo.ask.Photos
import org.vlmprune.demo.benchmark.BenchmarkRun
import org.vlmprune.demo.benchmark.BenchmarkState
import org.vlmprune.demo.benchmark.Reports
import org.vlmprune.demo.benchmark.RunState
import org.vlmprune.demo.benchmark.drawnPicture
import org.vlmprune.demo.bundles.BundleCopy
import org.vlmprune.demo.bundles.BundleStore
import org.vlmprune.demo.bundles.BundlesState
import org.vlmprune.runtime.benchmark.BenchmarkRequest
import java.io.File

private const val LAST_BUNDLE = "last_bundle"

/** Turns what a person does into state; everything slow runs on one background thread, so nothing runs twice at once. */
@OptIn(ExperimentalCoroutinesApi::class)
class DemoModel(application: Application, saved: SavedStateHandle) : AndroidViewModel(application) {
    private val background = Dispatchers.IO.limitedParallelism(1)
    private val preferences = application.getSharedPreferences("demo", Context.MODE_PRIVATE)
    private val photos = Photos(application)
    private val savedState = SavedState(saved, photos)
    private val screen = saved.getMutableStateFlow("screen", Screen.ASK)
    private val model = MutableStateFlow<ModelState>(ModelState.None)
    private val ask = MutableStateFlow(AskState())
    private val benchmark = MutableStateFlow(savedState.benchmark())
    private val bundles = MutableStateFlow(BundlesState())

    private val store = BundleStore(application, bundles)
    private val copy = BundleCopy(application, store, bundles)
    private val session = Session(model, store)
    private val conversation = Conversation(ask, photos)
    private val reports = Reports(File(application.filesDir, "results"), preferences, benchmark)
    private val benchmarkRun = BenchmarkRun(application, benchmark, reports)
    private var work: Job? = null
    private var copying: Job? = null

    val state: StateFlow<UiState> = combine(screen, model, ask, benchmark, bundles, ::UiState)
        .stateIn(viewModelScope, SharingStarted.Eagerly, UiState())

    init {
        viewModelScope.launch {
            withContext(background) { ask.value = savedState.ask() } // there, so that a photo which is added meanwhile comes behind
            ask.collect { savedState.save(it) }
        }
        viewModelScope.launch { benchmark.collect { savedState.save(it) } }
        replaceWork {
            reports.read()
            store.refresh()
            loadFirst()
        }
    }

    fun on(event: UiEvent) {
        when (event) {
            is UiEvent.Open -> screen.value = event.screen
            is UiEvent.AddPhotos -> addPhotos(event.uris.map(Uri::parse))
            is UiEvent.RemovePhoto -> removePhoto(event.index)
            is UiEvent.ShowPhoto -> ask.update { it.copy(shownPhoto = event.index).run { copy(shownKept = keptCount) } }
            is UiEvent.EditQuestion -> ask.update { it.copy(question = event.text) }
            is UiEvent.ChooseMode -> ask.update { it.copy(mode = event.mode) }
            is UiEvent.ShowKept -> ask.update { it.copy(shownKept = event.count) }
            is UiEvent.Ask -> ask(event.question)
            UiEvent.StopAnswer, UiEvent.StopBenchmark -> work?.cancel()
            UiEvent.NewConversation -> ask.update { it.copy(turns = emptyList(), kept = emptyList(), shownKept = 0) }
            UiEvent.NoCamera -> ask.update { it.copy(problem = Problem(ProblemKind.NO_CAMERA)) }
            UiEvent.DismissProblem -> dismissProblems()
            is UiEvent.SetPairs -> benchmark.update { it.copy(pairs = event.pairs) }
            is UiEvent.SetBenchmarkPrompt -> benchmark.update { it.copy(prompt = event.text) }
            UiEvent.StartBenchmark -> startBenchmark()
            is UiEvent.ShowReport -> benchmark.update { it.copy(shownId = event.id) }
            is UiEvent.SetBaseline -> reports.setBaseline(event.id)
            is UiEvent.DeleteReport -> reports.delete(event.id)
            is UiEvent.SaveReport -> saveReport(event)
            is UiEvent.Load -> load(event.folder)
            is UiEvent.DeleteBundle -> deleteBundle(event.folder)
            is UiEvent.ImportFolder -> copyBundle { copy.fromFolder(Uri.parse(event.uri)) }
            is UiEvent.ImportZip -> copyBundle { copy.fromZip(Uri.parse(event.uri)) }
            UiEvent.StopImport -> copying?.cancel()
            UiEvent.RefreshBundles -> viewModelScope.launch(background) { store.refresh() }
        }
    }

    /** Runs a benchmark that a script asked for, and tells its end; see [Unattended]. */
    fun runUnattended(request: UnattendedRequest, unattended: Unattended) {
        screen.value = Screen.BENCHMARK
        replaceWork { unattended.run(request, store, session, benchmarkRun) }
    }

    private fun addPhotos(uris: List<Uri>) = viewModelScope.launch(background) {
        try {
            val added = uris.map(photos::add)
            ask.update { it.copy(photos = it.photos + added, shownPhoto = it.photos.size, turns = emptyList(), kept = emptyList(), problem = null) }
        } catch (error: DemoException) {
            ask.update { it.copy(problem = error.problem) }
        }
    }

    private fun removePhoto(index: Int) {
        val photo = ask.value.photos.getOrNull(index) ?: return
        ask.update {
            val left = it.photos - photo
            it.copy(photos = left, shownPhoto = maxOf(0, minOf(it.shownPhoto, left.size - 1)), turns = emptyList(), kept = emptyList())
        }
        viewModelScope.launch(background) { photos.remove(photo) }
    }

    private fun ask(question: String) {
        val runner = readyRunner() ?: return
        if (question.isNotBlank() && ask.value.photos.isNotEmpty()) replaceWork { conversation.ask(runner, question.trim()) }
    }

    private fun startBenchmark() {
        val runner = readyRunner() ?: return
        conversation.forget()
        val photo = ask.value.photos.getOrNull(ask.value.shownPhoto)
        val settings = benchmark.value
        replaceWork {
            val image = photo?.let(photos::source) ?: drawnPicture()
            val prompt = settings.prompt.ifBlank { getApplication<Application>().resources.getStringArray(R.array.questions).first() }
            benchmarkRun.run(runner, session.cost, BenchmarkRequest(listOf(image), prompt, settings.pairs))
        }
    }

    private fun saveReport(event: UiEvent.SaveReport) = viewModelScope.launch(Dispatchers.IO) {
        reports.save(event.id, event.format) { getApplication<Application>().contentResolver.openOutputStream(Uri.parse(event.uri), "wt") }
    }

    /** Returns the runner once it is warm; before that, something else uses it. */
    private fun readyRunner() = session.runner.takeIf { model.value is ModelState.Ready }

    private fun load(folder: String) {
        preferences.edit().putString(LAST_BUNDLE, folder).apply()
        ask.update { it.copy(turns = emptyList(), kept = emptyList(), shownKept = 0) }
        replaceWork { session.load(folder) }
    }

    /** Loads what was used last, or the only bundle that there is. */
    private suspend fun loadFirst() {
        val entries = bundles.value.entries
        val last = preferences.getString(LAST_BUNDLE, null)
        val entry = entries.firstOrNull { it.folder == last } ?: entries.singleOrNull() ?: return
        if (entry.problem == null) session.load(entry.folder)
    }

    private fun deleteBundle(folder: String) = replaceWork {
        if ((model.value as? ModelState.Ready)?.model?.folder == folder) session.close()
        store.delete(folder)
    }

    private fun copyBundle(copied: suspend () -> File) {
        screen.value = Screen.BUNDLES
        copying = viewModelScope.launch(Dispatchers.IO) {
            try {
                val folder = copied()
                store.refresh()
                load(folder.path)
            } catch (error: CancellationException) {
                throw error
            } catch (error: Exception) {
                bundles.update { it.copy(problem = problemOf(error)) }
            } finally {
                bundles.update { it.copy(copying = null) }
            }
        }
    }

    private fun dismissProblems() {
        ask.update { it.copy(problem = null) }
        bundles.update { it.copy(problem = null) }
        benchmark.update { it.copy(problem = null, run = if (it.run is RunState.Failed) RunState.Idle else it.run) }
    }

    /** Ends what runs and starts something else behind it. */
    private fun replaceWork(action: suspend CoroutineScope.() -> Unit) {
        val before = work
        work = viewModelScope.launch(background) {
            before?.cancelAndJoin()
            action()
        }
    }

    override fun onCleared() {
        CoroutineScope(background + NonCancellable).launch {
            work?.cancelAndJoin()
            session.close()
        }
    }
}
