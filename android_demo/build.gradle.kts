// The Android plugin compiles Kotlin itself; only Compose's compiler plugin comes with Kotlin's version.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.compose.compiler) apply false
}
