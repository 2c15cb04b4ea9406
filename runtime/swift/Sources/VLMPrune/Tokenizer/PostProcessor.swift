/// The special tokens that a tokenizer puts around a text.
struct PostProcessor {
    var before: [Int] = []
    var after: [Int] = []

    func inside(_ outer: PostProcessor) -> PostProcessor {
        PostProcessor(before: outer.before + before, after: after + outer.after)
    }
}

func readPostProcessor(_ field: Field) throws -> PostProcessor {
    try field.record { record in
        switch try record.required("type").text() {
        case "Sequence":
            return try record.required("processors").list(readPostProcessor).reduce(PostProcessor()) { $0.inside($1) }
        case "ByteLevel": return PostProcessor()
        case "TemplateProcessing": return try readTemplate(record)
        case "BertProcessing", "RobertaProcessing":
            return PostProcessor(
                before: [try readNumbered(record.required("cls"))], after: [try readNumbered(record.required("sep"))])
        default: throw try record.required("type").refused("a post-processor that is supported")
        }
    }
}

private func readNumbered(_ field: Field) throws -> Int {
    guard case .list(let parts) = field.value, parts.count == 2, case .integer(let id) = parts[1] else {
        throw field.refused("a token and its id")
    }
    return id
}

private func readTemplate(_ record: Record) throws -> PostProcessor {
    let special = try record.required("special_tokens").table { _, token in
        try token.record { try $0.required("ids").list { try $0.count() } }
    }
    let parts = try record.required("single").list { part in
        try part.record { try $0.optional("SpecialToken")?.record { try $0.required("id").text() } }
    }
    guard let text = parts.firstIndex(of: nil) else {
        throw try record.required("single").refused("a place for the text")
    }
    func ids(_ names: some Sequence<String?>) throws -> [Int] {
        try names.compactMap { $0 }.flatMap { name in
            guard let token = special.first(where: { $0.name.equals(exactly: name) }) else {
                throw try record.required("single").refused("special tokens that are listed")
            }
            return token.value
        }
    }
    return PostProcessor(before: try ids(parts[..<text]), after: try ids(parts[(text + 1)...]))
}
