// Runs the stages in the order of the manifest, as vlmprune_runtime/prefill.py does.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "positions.h"
#include "program.h"
#include "timing.h"

namespace vlmprune {

// Holds what a cut kept of one view: `cells` are the places of the kept tokens on the view's grid.
struct Selection {
  std::string cut;
  int64_t view;
  Integers cells;
};

// Holds the state of generation: the logits (V) and the position of the next token, and how many tokens the cache of
// each decoder stage holds.
struct State {
  Floats logits;
  std::map<std::string, int64_t> past_tokens;
  int64_t next_position;
  std::vector<Selection> selections;
  int64_t views = 0;  // of the whole sequence

  // Returns whether a context has no room for one more token: no row in the fullest cache, or no position.
  bool fills(int64_t context_tokens) const;
  // Returns the state before the last so many tokens of text, whose cached rows the next tokens overwrite.
  State rewound(int64_t tokens) const;
};

// Carries a sequence through the stages.
class Prefill {
 public:
  Prefill(const Manifest& manifest, Program& program, Tokens tokens, std::map<std::string, int64_t> past_tokens)
      : manifest_(manifest), program_(program), tokens_(std::move(tokens)), past_tokens_(std::move(past_tokens)) {}

  // Sets the pixels of each view of a prompt, before which the sequence has `earlier` views.
  void set_views(const Given& given, int64_t earlier);
  void run(const std::string& name, Timings& timings);
  // Returns the state after the last stage.
  State state() const;

 private:
  std::vector<PruneGroup> groups_for(const Stage& stage) const;
  Array read(const Source& source, const std::string& stage, const PruneGroup& group) const;
  Array output_of(const Source& source, const std::string& stage, const PruneGroup& group) const;
  void place_features();
  void prune(const std::string& name, const PruneGroup& group, const Arrays& pruned);
  void note_selections(const std::string& name, const PruneGroup& group, const std::vector<size_t>& kept_places);
  const Array& rows(const std::string& stage) const;

  const Manifest& manifest_;
  Program& program_;
  Tokens tokens_;
  std::map<std::string, int64_t> past_tokens_;
  std::vector<Array> views_;
  std::vector<Span> spans_;                             // where each view's features go
  std::vector<PruneGroup> groups_;                      // of views that are pruned together
  int64_t earlier_views_ = 0;                           // of the sequence that the caches hold already
  std::optional<Array> rows_;                           // (S, D) of the tokens that are left
  std::map<std::string, std::vector<Arrays>> outputs_;  // of each stage, for each view or group, or once
  std::map<std::string, Integers> stage_views_;         // of the sequence that a stage ran on
  std::vector<Selection> selections_;
};

// The state after the whole prompt, or after a part of one `behind` what the caches hold. Without `prune` all stages
// but those of that role run.
State prefill(const Manifest& manifest, Program& program, const Given& given, bool prune, const State& behind,
              Timings& timings);

// Returns the state after more tokens of text.
State extend(const Manifest& manifest, Program& program, const Integers& token_ids, const State& state,
             Timings& timings);

}  // namespace vlmprune
