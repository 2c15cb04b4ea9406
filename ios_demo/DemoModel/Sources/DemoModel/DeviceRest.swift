/// Lets a device rest before a pair of runs: while it is so hot that it slows down, and while its charger changes.
actor DeviceRest {
    private static let mostLooks = 120

    private let device: any DeviceWatch
    private let pause: @Sendable () async throws -> Void
    private var wasCharging: Bool?

    /// `pause` is what lies between two looks at the device.
    init(
        _ device: any DeviceWatch,
        pause: @escaping @Sendable () async throws -> Void = { try await Task.sleep(for: .seconds(5)) }
    ) {
        (self.device, self.pause) = (device, pause)
    }

    /// Waits until nothing disturbs, ten minutes at most: then the disturbance is what there is.
    func wait(report: @Sendable (Waiting) -> Void) async throws {
        for _ in 0..<Self.mostLooks {
            guard let reason = look(at: await device.moment()) else { return }
            report(reason)
            try await pause()
        }
    }

    private func look(at moment: DeviceMoment) -> Waiting? {
        let before = wasCharging
        wasCharging = moment.isCharging ?? before
        if moment.isHot { return .hot }
        return before == nil || before == wasCharging ? nil : .chargingChanged
    }
}
