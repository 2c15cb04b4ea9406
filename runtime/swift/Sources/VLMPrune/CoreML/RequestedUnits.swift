extension Stage {
    /// Returns where the stage runs: as it is requested, or else as the bundle advises.
    func computeUnits(requested: ComputeUnits?) -> ComputeUnits { requested ?? computeUnits ?? .all }
}

extension Manifest {
    /// Returns where the stages run, as a benchmark record says it: one word where all are alike, otherwise one per stage,
    /// in their order: "embed CPU_ONLY, vision CPU_AND_NE".
    func computeUnits(requested: ComputeUnits?) -> String {
        let units = prefill.compactMap { name in
            stages[name].map { (name, $0.computeUnits(requested: requested).rawValue) }
        }
        let words = Set(units.map(\.1))
        return words.count == 1 ? words.joined() : units.map { "\($0) \($1)" }.joined(separator: ", ")
    }
}
