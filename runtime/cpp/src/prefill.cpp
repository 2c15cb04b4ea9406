#include "prefill.h"

#include <algorithm>
#include <numeric>

namespace vlmprune {
namespace {

// Rows `span.start` to `span.stop` - 1 of a matrix.
Array rows_of(const Array& matrix, Span span) {
  const int64_t width = matrix.shape[1];
  const auto first = matrix.floats().begin() + span.start * width;
  return {{span.stop - span.start, width}, Floats(first, first + (span.stop - span.start) * width)};
}

// Text embeddings with the visual ones put in their places, (S, D).
Floats embed(Program& program, const Prompt& prompt, const std::vector<Array>& pixels, Timings& timings) {
  Integers token_ids = prompt.token_ids;
  for (const Span& span : prompt.spans) {  // the image token's id may be outside the embedding table
    std::fill(token_ids.begin() + span.start, token_ids.begin() + span.stop, 0);
  }
  const auto tokens = static_cast<int64_t>(token_ids.size());
  Array embeddings = timed(program, "embed", {{"token_ids", {{tokens}, token_ids}}}, timings).at("embeddings");
  Floats rows = embeddings.floats();
  for (size_t nth = 0; nth < prompt.spans.size(); ++nth) {
    const Array visual = timed(program, "vision", {{"pixels", pixels[nth]}}, timings).at("visual");
    std::copy(visual.floats().begin(), visual.floats().end(),
              rows.begin() + prompt.spans[nth].start * embeddings.shape[1]);
  }
  return rows;
}

void check_kept(const Integers& kept, int64_t visual_tokens) {
  const bool rising = std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>()) == kept.end();
  if (!rising || kept.empty() || kept.front() < 0 || kept.back() >= visual_tokens) {
    throw engine_error("prune", "kept is not a rising row of places below " + std::to_string(visual_tokens));
  }
}

std::vector<Selection> select(Program& program, const std::vector<Span>& spans, const Arrays& head, Timings& timings) {
  std::vector<Selection> selections;
  for (const Span& span : spans) {
    const Arrays visual = {{"hidden", rows_of(head.at("hidden"), span)}, {"keys", rows_of(head.at("keys"), span)}};
    const Arrays pruned = timed(program, "prune", visual, timings);
    selections.push_back({pruned.at("kept").integers(), pruned.at("fused").floats()});
    check_kept(selections.back().kept, span.stop - span.start);
  }
  return selections;
}

}  // namespace

State prefill(Program& program, const Prompt& prompt, const std::vector<Array>& pixels, bool prune, Timings& timings) {
  const auto tokens = static_cast<int64_t>(prompt.token_ids.size());
  Integers positions(prompt.token_ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const Floats embeddings = embed(program, prompt, pixels, timings);
  const Arrays head = timed(program, "head", step_inputs("embeddings", embeddings, positions, 0), timings);
  std::vector<Selection> selections;
  if (prune) selections = select(program, prompt.spans, head, timings);
  const Array& hidden = head.at("hidden");
  const Rows kept = keep_rows(hidden.floats(), hidden.shape[1], prompt.spans, selections);
  // The places are the original positions.
  const Arrays tail = timed(program, "tail", step_inputs("hidden", kept.values, kept.places, 0), timings);
  return {tail.at("logits").floats(), tokens, static_cast<int64_t>(kept.places.size()), tokens};
}

Rows keep_rows(const Floats& hidden, int64_t width, const std::vector<Span>& spans,
               const std::vector<Selection>& selections) {
  Floats rows = hidden;
  std::vector<bool> stays(hidden.size() / static_cast<size_t>(width), true);
  for (size_t nth = 0; nth < selections.size(); ++nth) {
    std::fill(stays.begin() + spans[nth].start, stays.begin() + spans[nth].stop, false);
    auto fused = selections[nth].fused.begin();
    for (const int64_t place : selections[nth].kept) {
      stays[static_cast<size_t>(spans[nth].start + place)] = true;
      std::copy_n(fused, width, rows.begin() + (spans[nth].start + place) * width);
      fused += width;
    }
  }
  Rows kept;
  for (int64_t place = 0; place < static_cast<int64_t>(stays.size()); ++place) {
    if (!stays[static_cast<size_t>(place)]) continue;
    kept.places.push_back(place);
    kept.values.insert(kept.values.end(), rows.begin() + place * width, rows.begin() + (place + 1) * width);
  }
  return kept;
}

Arrays step_inputs(const std::string& name, Floats rows, const Integers& positions, int64_t past_tokens) {
  const auto tokens = static_cast<int64_t>(positions.size()), width = static_cast<int64_t>(rows.size()) / tokens;
  return {{name, {{tokens, width}, std::move(rows)}},
          {"positions", {{tokens}, positions}},
          {"past_tokens", {{1}, Integers{past_tokens}}}};
}

}  // namespace vlmprune
