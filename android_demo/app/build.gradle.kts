plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.compose.compiler)
}

android {
    namespace = "org.vlmprune.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.vlmprune.demo"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }
    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }
    // The runtime is a plain Kotlin library; its sources are compiled into the app.
    for (part in listOf("main", "executorch")) sourceSets.getByName("main").kotlin.directories += "../../runtime/kotlin/src/$part/kotlin"
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    buildFeatures { compose = true }
    androidResources { localeFilters += listOf("en", "de") }
    packaging { jniLibs { useLegacyPackaging = false } }
    testOptions {
        unitTests {
            isIncludeAndroidResources = true
            all {
                it.environment("ORT_DISABLE_TELEMETRY", "1")
                it.systemProperty("golden", file("../../tests/golden").path)
                it.systemProperty("benchmark.schema", file("../../runtime/vlmprune_runtime/benchmark/schema.json").path)
                it.systemProperty("screenshots", file("build/screenshots").apply { mkdirs() }.path)
            }
        }
    }
    lint { warningsAsErrors = true }
}

dependencies {
    implementation(libs.kotlin.stdlib)
    implementation(libs.compose.foundation)
    implementation(libs.compose.ui)
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.core.ktx)
    implementation(libs.lifecycle.runtime.compose)
    implementation(libs.lifecycle.viewmodel.compose)
    implementation(libs.coroutines.android)
    implementation(libs.jackson.core)
    implementation(libs.onnxruntime.android)
    implementation(libs.executorch.android)
    implementation(libs.fbjni)
    implementation(libs.nativeloader)
    testImplementation(libs.junit)
    testImplementation(libs.robolectric)
    testImplementation(libs.compose.ui.test)
    testImplementation(libs.test.core)
    testImplementation(libs.test.ext.junit)
    testImplementation(libs.onnxruntime.jvm)
    testImplementation(libs.json.schema.validator)
}

// On the JVM, ONNX Runtime's JVM library has the same classes and the native code for this machine.
configurations.matching { it.name.endsWith("UnitTestRuntimeClasspath") }.configureEach {
    exclude(group = "com.microsoft.onnxruntime", module = "onnxruntime-android")
}
