package org.vlmprune.demo

import android.Manifest
import android.content.pm.ProviderInfo
import android.database.Cursor
import android.database.MatrixCursor
import android.os.CancellationSignal
import android.os.ParcelFileDescriptor
import android.provider.DocumentsContract.Document
import android.provider.DocumentsProvider
import org.robolectric.Robolectric
import java.io.File

/** Stands for the app that the system's folder picker chooses from: a document's id is its path below [root]. */
class FakeDocuments : DocumentsProvider() {
    override fun onCreate() = true

    override fun isChildDocument(parentDocumentId: String, documentId: String) = documentId.startsWith(parentDocumentId)

    override fun queryRoots(projection: Array<String>?): Cursor = MatrixCursor(emptyArray())

    override fun queryDocument(documentId: String, projection: Array<String>?): Cursor = cursor(listOf(File(root, documentId)), projection)

    override fun queryChildDocuments(parentDocumentId: String, projection: Array<String>?, sortOrder: String?): Cursor =
        cursor(File(root, parentDocumentId).listFiles()!!.sorted(), projection)

    override fun openDocument(documentId: String, mode: String, signal: CancellationSignal?): ParcelFileDescriptor =
        ParcelFileDescriptor.open(File(root, documentId), ParcelFileDescriptor.parseMode(mode))

    private fun cursor(files: List<File>, projection: Array<String>?) = MatrixCursor(projection ?: COLUMNS).apply {
        for (file in files) {
            newRow().add(Document.COLUMN_DOCUMENT_ID, file.relativeTo(root).path).add(Document.COLUMN_DISPLAY_NAME, file.name)
                .add(Document.COLUMN_SIZE, file.length())
                .add(Document.COLUMN_MIME_TYPE, if (file.isDirectory) Document.MIME_TYPE_DIR else "application/octet-stream")
        }
    }

    companion object {
        const val AUTHORITY = "org.example.documents"
        private val COLUMNS = arrayOf(Document.COLUMN_DOCUMENT_ID, Document.COLUMN_DISPLAY_NAME, Document.COLUMN_SIZE, Document.COLUMN_MIME_TYPE)
        private lateinit var root: File

        /** Offers what is in a folder. */
        fun provide(folder: File) {
            root = folder
            Robolectric.buildContentProvider(FakeDocuments::class.java).create(
                ProviderInfo().apply {
                    authority = AUTHORITY
                    exported = true
                    grantUriPermissions = true
                    readPermission = Manifest.permission.MANAGE_DOCUMENTS
                    writePermission = Manifest.permission.MANAGE_DOCUMENTS
                },
            )
        }
    }
}
