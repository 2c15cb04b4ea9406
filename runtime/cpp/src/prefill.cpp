#include "prefill.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace vlmprune {
namespace {

// Returns the positions as an array (axes, S), or (S) if there is one axis.
Array positions_array(const Tokens& tokens) {
  Array array{{tokens.count()}, tokens.positions[0]};
  if (tokens.positions.size() == 1) return array;
  Integers all;
  for (const Integers& axis : tokens.positions) all.insert(all.end(), axis.begin(), axis.end());
  return {{static_cast<int64_t>(tokens.positions.size()), tokens.count()}, all};
}

// Says which rows a source selects for views; `views` names the view, or text, that each row belongs to.
std::vector<bool> rows_of(Part part, const Integers& views, const PruneGroup& group) {
  std::vector<bool> named(views.size());
  for (size_t row = 0; row < views.size(); ++row) {
    named[row] = part == Part::visual ? contains(group.views, views[row])
                 : part == Part::text ? views[row] == kText
                                      : row + 1 == views.size();
  }
  return named;
}

void check_size(const std::string& stage, const std::string& output, const Array& array, size_t rows, size_t width) {
  if (array.rows() == rows && array.width() == width) return;
  throw engine_error(stage, output + ": got " + std::to_string(array.rows()) + " rows of " +
                                std::to_string(array.width()) + " numbers, expected " + std::to_string(rows) + " of " +
                                std::to_string(width));
}

void check_kept(const std::string& stage, const Integers& kept, size_t visual_tokens) {
  const bool rising = std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>()) == kept.end();
  if (!rising || kept.empty() || kept.front() < 0 || kept.back() >= static_cast<int64_t>(visual_tokens)) {
    throw engine_error(stage, "kept is not a rising list of places below " + std::to_string(visual_tokens));
  }
}

// Returns what a prune stage kept, without padding: it may keep fewer tokens than it has rows for.
Integers counted(const std::string& stage, const Arrays& pruned) {
  const Integers& kept = pruned.at("kept").integers();
  const auto count = pruned.find("count");
  if (count == pruned.end()) return kept;
  const int64_t rows = static_cast<int64_t>(kept.size()), meant = count->second.integers().at(0);
  if (meant < 1 || meant > rows) {
    throw engine_error(stage, "count is " + std::to_string(meant) + "; allowed: 1 to " + std::to_string(rows));
  }
  return {kept.begin(), kept.begin() + meant};
}

// Copies row `nth` of `from` to row `places[nth]` of `to`.
void put_rows(const Array& from, const std::vector<size_t>& places, Array& to) {
  const auto width = static_cast<std::ptrdiff_t>(to.width());
  auto row = from.floats().begin();
  for (const size_t place : places) {
    std::copy_n(row, width, to.floats().begin() + static_cast<std::ptrdiff_t>(place) * width);
    row += width;
  }
}

}  // namespace

bool State::fills(int64_t context_tokens) const {
  int64_t most = next_position;
  for (const auto& [stage, tokens] : past_tokens) most = std::max(most, tokens);
  return most >= context_tokens;
}

State State::rewound(int64_t tokens) const {
  State before = *this;
  for (auto& [stage, past] : before.past_tokens) past -= tokens;
  before.next_position -= tokens;
  return before;
}

void Prefill::set_views(const Given& given, int64_t earlier) {
  views_ = given.pixels;
  spans_ = given.spans;
  groups_ = groups_of(manifest_, given);
  earlier_views_ = earlier;
}

// Returns what a stage runs for in turn: for every view, for views that are pruned together, or once for the sequence.
std::vector<PruneGroup> Prefill::groups_for(const Stage& stage) const {
  if (stage.role == Role::prune) return groups_;
  if (stage.role != Role::vision) return {{{}, 0}};
  std::vector<PruneGroup> groups;
  for (const Span& span : spans_) {
    groups.push_back({{static_cast<int64_t>(groups.size())}, static_cast<int64_t>(span.grid)});
  }
  return groups;
}

void Prefill::run(const std::string& name, Timings& timings) {
  const Stage& stage = manifest_.stage(name);
  const auto groups = groups_for(stage);
  // The inputs of all views are taken before any view is pruned.
  std::vector<Arrays> inputs(groups.size()), outputs;
  for (size_t nth = 0; nth < groups.size(); ++nth) {
    for (const TensorSpec& input : stage.inputs) {
      inputs[nth].emplace(input.name, read(input.source, name, groups[nth]));
    }
  }
  for (size_t nth = 0; nth < groups.size(); ++nth) {
    outputs.push_back(timed(program_, {name, groups[nth].grid}, inputs[nth], timings));
  }
  outputs_[name] = std::move(outputs);
  stage_views_[name] = tokens_.view;
  if (stage.role == Role::embed) rows_ = outputs_[name][0].at("embeddings");
  if (stage.role == Role::embed || stage.role == Role::vision) place_features();
  if (stage.role == Role::decoder) {
    past_tokens_[name] += tokens_.count();
    rows_.reset();
    if (stage.output("hidden")) rows_ = outputs_[name][0].at("hidden");
  }
  if (stage.role != Role::prune) return;
  for (size_t nth = 0; nth < groups.size(); ++nth) prune(name, groups[nth], outputs_[name][nth]);
}

// Inserts the visual embeddings into the text embeddings once both stages have run.
void Prefill::place_features() {
  const auto vision = outputs_.find(manifest_.of_role(Role::vision)[0]);
  if (!rows_ || vision == outputs_.end()) return;
  for (size_t view = 0; view < views_.size(); ++view) {
    const Array& features = vision->second[view].at("features");
    std::vector<size_t> places(static_cast<size_t>(spans_[view].stop - spans_[view].start));
    std::iota(places.begin(), places.end(), static_cast<size_t>(spans_[view].start));
    check_size(vision->first, "features", features, places.size(), rows_->width());
    put_rows(features, places, *rows_);
  }
}

// Drops the tokens of views that a cut did not keep, and replaces the rows of the others.
void Prefill::prune(const std::string& name, const PruneGroup& group, const Arrays& pruned) {
  const Integers kept = counted(name, pruned);
  const auto places = tokens_.places(group.views);
  check_kept(name, kept, places.size());
  Array rows_before = rows(name);
  check_size(name, "fused", pruned.at("fused"), pruned.at("kept").rows(), rows_before.width());
  std::vector<bool> remaining(rows_before.rows(), true);
  for (const size_t place : places) remaining[place] = false;
  std::vector<size_t> kept_places;
  for (const int64_t nth : kept) {
    kept_places.push_back(places[static_cast<size_t>(nth)]);
    remaining[kept_places.back()] = true;
  }
  put_rows(pruned.at("fused"), kept_places, rows_before);
  note_selections(name, group, kept_places);
  rows_ = rows_before.select(remaining);
  tokens_ = tokens_.select(remaining);
}

void Prefill::note_selections(const std::string& name, const PruneGroup& group,
                              const std::vector<size_t>& kept_places) {
  for (const int64_t view : group.views) {
    Selection selection{name, earlier_views_ + view, {}};
    for (const size_t place : kept_places) {
      if (tokens_.view[place] == view) selection.cells.push_back(tokens_.cell[place]);
    }
    selections_.push_back(std::move(selection));
  }
}

State Prefill::state() const {
  const Array& logits = outputs_.at(manifest_.prefill.back())[0].at("logits");
  return {logits.floats(), past_tokens_, tokens_.next_position, selections_,
          earlier_views_ + static_cast<int64_t>(views_.size())};
}

// Returns the value of a source for a stage that runs for the views of a group.
Array Prefill::read(const Source& source, const std::string& stage, const PruneGroup& group) const {
  const auto past = past_tokens_.find(stage);
  if (source.stage == "image") return views_.at(static_cast<size_t>(group.views.at(0)));
  if (source.stage == "prompt") return {{static_cast<int64_t>(tokens_.token_ids.size())}, tokens_.token_ids};
  if (source.is_external() && source.tensor == "rows") return rows(stage);
  if (source.is_external() && source.tensor == "positions") return positions_array(tokens_);
  if (source.is_external() && source.tensor == "places") {
    Integers every(tokens_.view.size());
    std::iota(every.begin(), every.end(), 0);
    return Array{{tokens_.count()}, every}.select(rows_of(source.part, tokens_.view, group));
  }
  if (source.is_external() && source.tensor == "past_tokens") {
    return {{1}, Integers{past == past_tokens_.end() ? 0 : past->second}};
  }
  if (source.is_external()) return {{1}, Integers{tokens_.count() - 1}};
  return output_of(source, stage, group);
}

// Returns an output of a stage that ran before, or its rows that belong to a part.
Array Prefill::output_of(const Source& source, const std::string& stage, const PruneGroup& group) const {
  const auto made = outputs_.find(source.stage);
  if (made == outputs_.end()) throw engine_error(stage, "it reads '" + source.stage + "', which has not run");
  const Role role = manifest_.stage(source.stage).role;
  if (role == Role::vision) {
    Array joined = made->second.at(static_cast<size_t>(group.views.at(0))).at(source.tensor);
    for (size_t nth = 1; nth < group.views.size(); ++nth) {
      joined.append(made->second.at(static_cast<size_t>(group.views[nth])).at(source.tensor));
    }
    return joined;
  }
  if (role == Role::prune) {
    const auto same = [&](const PruneGroup& other) { return other.views == group.views; };
    const auto nth = std::find_if(groups_.begin(), groups_.end(), same) - groups_.begin();
    return made->second.at(static_cast<size_t>(nth)).at(source.tensor);
  }
  const Array& whole = made->second[0].at(source.tensor);
  if (source.part == Part::all) return whole;
  const Integers& views = stage_views_.at(source.stage);
  if (whole.rows() != views.size()) {
    throw engine_error(stage, source.stage + "." + source.tensor + " does not have a row for every token");
  }
  return whole.select(rows_of(source.part, views, group));
}

const Array& Prefill::rows(const std::string& stage) const {
  if (!rows_ || static_cast<int64_t>(rows_->rows()) != tokens_.count()) {
    throw engine_error(stage, "no stage before it gave a row for every token");
  }
  return *rows_;
}

State prefill(const Manifest& manifest, Program& program, const Given& given, bool prune, const State& behind,
              Timings& timings) {
  Prefill run(manifest, program, place_prompt(manifest, given, behind.next_position), behind.past_tokens);
  run.set_views(given, behind.views);
  for (const std::string& name : manifest.stages_of_prompt(prune)) run.run(name, timings);
  return run.state();
}

State extend(const Manifest& manifest, Program& program, const Integers& token_ids, const State& state,
             Timings& timings) {
  Prefill run(manifest, program, place_text(manifest, token_ids, state.next_position), state.past_tokens);
  for (const std::string& name : manifest.decode) run.run(name, timings);
  State after = run.state();
  after.views = state.views;
  return after;
}

}  // namespace vlmprune
