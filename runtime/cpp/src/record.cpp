#include "record.h"

#include <ctime>

#include "mode_stats.h"
#include "platform.h"

namespace vlmprune {
namespace {

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  char text[] = "2000-01-01T00:00:00+00:00";
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", std::gmtime(&seconds));
  return text;
}

Json settings_of(const RunMetadata& metadata) {
  const ImageInfo& image = metadata.task.prompt.image;
  return {{"repetitions", metadata.repetitions},
          {"warmups", metadata.warmups},
          {"tokens", metadata.task.decoding.max_tokens},
          {"threads", nullptr},
          {"prompt", metadata.task.prompt.text},
          {"image",
           {{"name", image.name},
            {"sha256", or_null(image.sha256)},
            {"width_px", image.width_px},
            {"height_px", image.height_px}}},
          {"follow_up", metadata.task.follow_up ? Json(metadata.task.follow_up->text) : Json(nullptr)},
          {"order", "alternating pairs"}};
}

// Returns the grid of the first view in one mode.
const Grid& seen_grid(const RunMetadata& metadata, bool prune) {
  return metadata.bundle.manifest.grids[metadata.task.prompt.given(prune).spans[0].grid];
}

Json measured_bundle(const RunMetadata& metadata) {
  const Bundle& bundle = metadata.bundle;
  const Manifest& manifest = bundle.manifest;
  return {{"name", manifest.name},
          {"folder", std::filesystem::canonical(bundle.folder).filename().string()},
          {"manifest_sha256", bundle.manifest_sha256},
          {"verified", bundle.verified},
          {"source_model", manifest.source_model},
          {"source_sha256", or_null(manifest.source_sha256)},
          {"model_type", manifest.model_type},
          {"target", manifest.target},
          {"quantisation", manifest.quantisation},
          {"method", manifest.method},
          {"layer", manifest.cuts.empty() ? 0 : manifest.cuts.back().layer},
          {"visual_tokens", seen_grid(metadata, false).visual_tokens()},
          {"keep", seen_grid(metadata, true).kept_tokens()},
          {"versions", manifest.versions}};
}

Json memory_of(const RunMetadata& metadata) {
  const Manifest& manifest = metadata.bundle.manifest;
  std::map<std::string, int64_t> room;
  for (const std::string& name : manifest.of_role(Role::decoder)) room[name] = manifest.context_tokens;
  return {{"measure", "rss"},
          {"before_load_bytes", or_null(metadata.memory.before_load)},
          {"after_load_bytes", or_null(metadata.memory.after_load)},
          {"pruned_peak_bytes", or_null(metadata.memory.pruned_peak)},
          {"unpruned_peak_bytes", or_null(metadata.memory.unpruned_peak)},
          {"kv_cache_allocated_bytes", cache_bytes(manifest, room)}};
}

Json runs_of(const Measurement& measurement) {
  Json runs = Json::array();
  for (const TimedRun& run : measurement.runs) {
    const Timings& timings = run.answer.timings;
    Json stages = Json::object(), decode = Json::array();
    for (const auto& [stage, ms] : timings.stages_ms) stages[stage] = rounded(ms);
    for (const double ms : timings.decode_ms) decode.push_back(rounded(ms));
    runs.push_back({{"round", run.round},
                    {"pruned", run.prune},
                    {"stages_ms", stages},
                    {"ttft_ms", rounded(timings.ttft_ms)},
                    {"decode_ms", decode},
                    {"follow_up_ms", timings.follow_up_ms ? Json(rounded(*timings.follow_up_ms)) : Json(nullptr)}});
  }
  return runs;
}

Json result_of(const RunMetadata& metadata, const Measurement& measurement) {
  const auto& follow_up = metadata.task.follow_up;
  const ModeComparison modes = compare_modes(metadata.bundle.manifest, metadata.task.prompt, measurement.runs);
  return {{"bundle", measured_bundle(metadata)},
          {"engine", {{"name", "executorch"}, {"version", EXECUTORCH_VERSION}, {"unit", "cpu"}}},
          {"images", metadata.task.prompt.whole.spans.size()},
          {"prompt_tokens", metadata.task.prompt.whole.token_ids.size()},
          {"follow_up_tokens", follow_up ? Json(1 + follow_up->added.size()) : Json(nullptr)},
          {"load_ms", rounded(metadata.load_ms)},
          {"unpruned", modes.unpruned},
          {"pruned", modes.pruned},
          {"ratios", modes.ratios},
          {"ceilings", modes.ceilings},
          {"memory", memory_of(metadata)},
          {"runs", runs_of(measurement)}};
}

}  // namespace

Json record_of(const RunMetadata& metadata, const Measurement& measurement) {
  return {{"kind", "benchmark"},
          {"record_version", 1},
          {"created", now()},
          {"tool", {{"name", kName}, {"version", VLMPRUNE_VERSION}}},
          {"device", describe_device(measurement.before, measurement.after)},
          {"settings", settings_of(metadata)},
          {"results", Json::array({result_of(metadata, measurement)})}};
}

}  // namespace vlmprune
