import Foundation

#if canImport(Darwin)
import Darwin
#endif
#if os(iOS)
import os
#endif

/// The memory of this process.
public enum ProcessMemory {
    #if canImport(Darwin)
    static let measure = "phys_footprint"

    /// The memory that counts against the app's limit now.
    public static var residentBytes: Int? { vmInfo().map { Int($0.phys_footprint) } }

    /// The most memory of the whole process so far; Darwin has no way to reset it.
    public static var peakBytes: Int? { vmInfo().map { Int($0.ledger_phys_footprint_peak) } }

    static func resetPeak() {}

    private static func vmInfo() -> task_vm_info_data_t? {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
        let result = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return result == KERN_SUCCESS ? info : nil
    }
    #else
    static let measure = "rss"

    /// The memory that is resident now.
    public static var residentBytes: Int? { status("VmRSS") }

    /// The most memory that was resident since the process began or the peak was last reset.
    public static var peakBytes: Int? { status("VmHWM") }

    static func resetPeak() { try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .ascii) }

    private static func status(_ field: String) -> Int? { kibibytes(field, in: "/proc/self/status") }
    #endif

    /// The memory that this process may still take: what is left of the app's limit on iOS, free memory on Linux, and all
    /// memory of a Mac, which gives others' memory away.
    public static var availableBytes: Int? {
        #if os(iOS)
        return os_proc_available_memory()
        #elseif os(Linux)
        return kibibytes("MemAvailable", in: "/proc/meminfo")
        #else
        return Int(ProcessInfo.processInfo.physicalMemory)
        #endif
    }
}

extension MemoryEstimate {
    /// Throws `BadRequest` if a run takes more memory than there is. A runner asks this before it loads anything.
    public func check(available: Int?) throws {
        guard let available, peakBytes > available else { return }
        throw BadRequest(
            "this bundle takes about \(formatBytes(peakBytes)) of memory, this device has \(formatBytes(available)) left"
        )
    }
}

/// Returns a size with a binary unit and at least two digits.
public func formatBytes(_ bytes: Int) -> String {
    let units = ["B", "KiB", "MiB", "GiB"]
    var (value, unit) = (Double(bytes), 0)
    while value >= 1024, unit < 3 { (value, unit) = (value / 1024, unit + 1) }
    let places = unit == 0 || (unit == 2 && value >= 100) ? 0 : unit == 3 ? 2 : 1
    return String(format: "%.\(places)f \(units[unit])", value)
}

/// The state of the device that may disturb a measurement.
struct DeviceState: Sendable {
    let celsius: Double?
    let thermal: String?
    let load: Double?

    static var now: DeviceState {
        var load = 0.0
        let hasLoad = getloadavg(&load, 1) == 1
        return DeviceState(celsius: hottestCelsius, thermal: thermalState, load: hasLoad ? load : nil)
    }

    /// Returns the device's description, with its state before and after the measurement.
    static func describe(before: DeviceState, after: DeviceState) -> BenchmarkRecord.Device {
        let hasHeat = [before, after].contains { $0.celsius != nil || $0.thermal != nil }
        let thermal = BenchmarkRecord.Thermal(
            beforeCelsius: before.celsius, afterCelsius: after.celsius, beforeState: before.thermal,
            afterState: after.thermal)
        return BenchmarkRecord.Device(
            kind: deviceKind, name: deviceName, os: osName, cpu: cpuName, cores: ProcessInfo.processInfo.processorCount,
            memoryBytes: Int(ProcessInfo.processInfo.physicalMemory), loadBefore: before.load,
            thermal: hasHeat ? thermal : nil, battery: nil)
    }
}

#if os(iOS)
private let deviceKind = "ios"
#else
private let deviceKind = "desktop"
#endif

#if canImport(Darwin)
private let hottestCelsius: Double? = nil

private var thermalState: String? {
    switch ProcessInfo.processInfo.thermalState {
    case .nominal: "nominal"
    case .fair: "fair"
    case .serious: "serious"
    case .critical: "critical"
    @unknown default: "unknown"
    }
}

private var osName: String {
    #if os(iOS)
    "iOS \(ProcessInfo.processInfo.operatingSystemVersionString)"
    #else
    "macOS \(ProcessInfo.processInfo.operatingSystemVersionString)"
    #endif
}

/// The model as the vendor counts it, such as "iPhone17,1" or "Mac15,3".
private var deviceName: String {
    #if os(iOS)
    systemValue("hw.machine") ?? "unknown"
    #else
    systemValue("hw.model") ?? "unknown"
    #endif
}

private var cpuName: String? { systemValue("machdep.cpu.brand_string") }

private func systemValue(_ name: String) -> String? {
    var size = 0
    guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 0 else { return nil }
    var value = [UInt8](repeating: 0, count: size)
    guard sysctlbyname(name, &value, &size, nil, 0) == 0 else { return nil }
    return String(decoding: value.prefix { $0 != 0 }, as: UTF8.self)
}
#else
private var hottestCelsius: Double? {
    let zones = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/thermal")) ?? []
    let readings = zones.filter { $0.hasPrefix("thermal_zone") }.compactMap { zone in
        contents("/sys/class/thermal/\(zone)/temp").flatMap {
            Double($0.trimmingCharacters(in: .whitespacesAndNewlines))
        }
    }
    return readings.max().map { $0 / 1000 }
}

private let thermalState: String? = nil

private var osName: String {
    let lines = (contents("/etc/os-release") ?? "").split(separator: "\n")
    let name = lines.first { $0.hasPrefix("PRETTY_NAME=") }?.dropFirst(12).replacing("\"", with: "") ?? "Linux"
    let kernel = (contents("/proc/sys/kernel/osrelease") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    return "\(name), Linux \(kernel)"
}

private var deviceName: String { cpuName ?? "unknown" }

private var cpuName: String? {
    let lines = (contents("/proc/cpuinfo") ?? "").split(separator: "\n")
    let line = lines.first { ["model name", "Model", "Hardware"].contains($0.prefix { $0 != "\t" && $0 != ":" }) }
    return line?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
}

private func kibibytes(_ field: String, in file: String) -> Int? {
    let line = (contents(file) ?? "").split(separator: "\n").first { $0.hasPrefix(field + ":") }
    return line?.split(separator: " ").dropLast().last.flatMap { Int($0) }.map { $0 * 1024 }
}

private func contents(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
}
#endif
