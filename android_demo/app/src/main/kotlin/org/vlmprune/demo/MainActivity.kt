package org.vlmprune.demo

import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.ClipboardManager
import android.content.ContentValues
import android.content.Intent
import android.graphics.Bitmap
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.activity.enableEdgeToEdge
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.activity.viewModels
import androidx.compose.runtime.getValue
import androidx.core.content.IntentCompat
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import org.vlmprune.demo.benchmark.Report
import org.vlmprune.demo.benchmark.ReportFormat
import org.vlmprune.demo.benchmark.fileName
import org.vlmprune.demo.ui.App
import org.vlmprune.demo.ui.Platform
import java.io.File

private const val CAMERA_URI = "camera_uri"
private const val SAVING = "saving"

/** Connects the screens with Android: pickers, the camera, sharing, and what other apps and scripts send. */
class MainActivity : ComponentActivity() {
    private val model: DemoModel by viewModels()
    private var cameraUri: Uri? = null
    private var saving: String? = null

    private val photoPicker = registerForActivityResult(ActivityResultContracts.PickMultipleVisualMedia()) { uris ->
        if (uris.isNotEmpty()) model.on(UiEvent.AddPhotos(uris.map(Uri::toString)))
    }
    private val camera = registerForActivityResult(ActivityResultContracts.StartActivityForResult()) { result ->
        if (result.resultCode == RESULT_OK) taken(result.data) else discardCamera()
    }
    private val folderPicker = registerForActivityResult(ActivityResultContracts.OpenDocumentTree()) { uri ->
        if (uri != null) model.on(UiEvent.ImportFolder(uri.toString()))
    }
    private val zipPicker = registerForActivityResult(ActivityResultContracts.OpenDocument()) { uri ->
        if (uri != null) model.on(UiEvent.ImportZip(uri.toString()))
    }

    private val savers = ReportFormat.entries.associateWith { format ->
        registerForActivityResult(ActivityResultContracts.CreateDocument(format.mimeType)) { uri ->
            saving?.let { id -> if (uri != null) model.on(UiEvent.SaveReport(id, format, uri.toString())) }
        }
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        enableEdgeToEdge()
        cameraUri = savedInstanceState?.getString(CAMERA_URI)?.let(Uri::parse)
        saving = savedInstanceState?.getString(SAVING)
        if (savedInstanceState == null) received(intent)
        val platform = platform()
        setContent {
            val state by model.state.collectAsStateWithLifecycle()
            App(state, platform, model::on)
        }
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        received(intent)
    }

    override fun onResume() {
        super.onResume()
        model.on(UiEvent.RefreshBundles)
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putString(CAMERA_URI, cameraUri?.toString())
        outState.putString(SAVING, saving)
    }

    private fun received(intent: Intent) {
        val request = UnattendedRequest.of(intent)
        val zip = if (intent.action == Intent.ACTION_SEND) IntentCompat.getParcelableExtra(intent, Intent.EXTRA_STREAM, Uri::class.java) else intent.data
        when {
            request != null -> model.runUnattended(request, Unattended(applicationContext))
            zip != null -> model.on(UiEvent.ImportZip(zip.toString()))
        }
    }

    private fun platform() = Platform(
        pickPhotos = { photoPicker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) },
        takePhoto = ::takePhoto,
        pickFolder = { folderPicker.launch(null) },
        pickZip = { zipPicker.launch(arrayOf("application/zip", "application/octet-stream")) },
        copy = { text -> getSystemService(ClipboardManager::class.java).setPrimaryClip(ClipData.newPlainText(text, text)) },
        share = ::share,
        save = ::save,
        smallCamera = Build.VERSION.SDK_INT < Build.VERSION_CODES.Q,
    )

    private fun save(report: Report, format: ReportFormat) {
        saving = report.id
        savers.getValue(format).launch(report.fileName(format))
    }

    private fun share(title: String, text: String) {
        val send = Intent(Intent.ACTION_SEND).setType("text/plain").putExtra(Intent.EXTRA_TEXT, text).putExtra(Intent.EXTRA_TITLE, title)
        startActivity(Intent.createChooser(send, title))
    }

    /**
     * Asks the camera for a photo. It writes into an image of the gallery that is made for it, which needs neither a
     * permission nor a provider; before Android 10 that is not possible, and the camera returns a small picture.
     */
    private fun takePhoto() {
        val intent = Intent(MediaStore.ACTION_IMAGE_CAPTURE)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            val values = ContentValues().apply { put(MediaStore.Images.Media.MIME_TYPE, "image/jpeg") }
            cameraUri = contentResolver.insert(MediaStore.Images.Media.EXTERNAL_CONTENT_URI, values)
            intent.putExtra(MediaStore.EXTRA_OUTPUT, cameraUri)
            intent.addFlags(Intent.FLAG_GRANT_WRITE_URI_PERMISSION)
        }
        try {
            camera.launch(intent)
        } catch (error: ActivityNotFoundException) {
            discardCamera()
            model.on(UiEvent.NoCamera)
        }
    }

    private fun taken(data: Intent?) {
        val uri = cameraUri ?: data?.let(::smallPhoto) ?: return
        cameraUri = null
        model.on(UiEvent.AddPhotos(listOf(uri.toString())))
    }

    private fun smallPhoto(data: Intent): Uri? {
        val bitmap = IntentCompat.getParcelableExtra(data, "data", Bitmap::class.java) ?: return null
        val file = File(cacheDir, "taken.jpg")
        file.outputStream().use { bitmap.compress(Bitmap.CompressFormat.JPEG, 95, it) }
        return Uri.fromFile(file)
    }

    private fun discardCamera() {
        cameraUri?.let { contentResolver.delete(it, null, null) }
        cameraUri = null
    }
}
