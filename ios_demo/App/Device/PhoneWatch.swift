import DemoModel
import Foundation
import UIKit
import VLMPrune

/// What the system tells of this device.
struct PhoneWatch: DeviceWatch {
    @MainActor init() {
        UIDevice.current.isBatteryMonitoringEnabled = true
    }

    func availableBytes() -> Int? { ProcessMemory.availableBytes }

    func peakBytes() -> Int? { ProcessMemory.peakBytes }

    @MainActor func moment() -> DeviceMoment {
        let info = ProcessInfo.processInfo
        let (level, charger) = (UIDevice.current.batteryLevel, UIDevice.current.batteryState)
        return DeviceMoment(
            seconds: info.systemUptime, memoryBytes: ProcessMemory.residentBytes,
            availableBytes: availableBytes(),
            batteryFraction: level >= 0 ? Double(level) : nil,
            isCharging: charger == .unknown ? nil : charger != .unplugged, thermal: thermal(info.thermalState),
            isLowPower: info.isLowPowerModeEnabled)
    }

    private func thermal(_ state: ProcessInfo.ThermalState) -> DeviceMoment.Thermal {
        switch state {
        case .nominal: .nominal
        case .fair: .fair
        case .serious: .serious
        case .critical: .critical
        @unknown default: .nominal
        }
    }
}
