package org.vlmprune.demo

import android.app.Application

/** Switches ONNX Runtime's telemetry off before anything can load its library. */
class DemoApplication : Application() {
    override fun onCreate() {
        super.onCreate()
        Session.switchTelemetryOff()
    }
}
