#include "mode_stats.h"

#include <functional>

#include "device.h"
#include "flops.h"

namespace vlmprune {
namespace {

using Reading = std::function<double(const Timings&)>;
using TimedRuns = std::vector<const TimedRun*>;

// Holds the sizes that FLOPs follow from.
struct Sizes {
  const Manifest& manifest;
  const Prompt& prompt;

  PrefillSize size_of(bool prune) const {
    const Given& given = prompt.given(prune);
    PrefillSize size{static_cast<int64_t>(given.token_ids.size()), {}, prune};
    for (const Span& span : given.spans) size.grids.push_back(span.grid);
    return size;
  }
  StageFlops prefill(bool prune) const { return prefill_flops(manifest, size_of(prune)); }
};

// Returns the runs of one mode in the order of rounds, in which they ran.
TimedRuns runs_of_mode(const std::vector<TimedRun>& runs, bool prune) {
  TimedRuns found;
  for (const TimedRun& run : runs) {
    if (run.prune == prune) found.push_back(&run);
  }
  return found;
}

Times read(const TimedRuns& runs, const Reading& reading) {
  Times times;
  for (const TimedRun* run : runs) times.push_back(reading(run->answer.timings));
  return times;
}

Reading stage_reading(const std::string& stage) {
  return [stage](const Timings& timings) { return timings.stage_ms(stage); };
}

Reading llm_reading(const Manifest& manifest) {
  return [&manifest](const Timings& timings) { return timings.llm_prefill_ms(manifest); };
}

bool decoded(const TimedRuns& runs) { return !runs.front()->answer.timings.decode_ms.empty(); }

bool followed_up(const TimedRuns& runs) { return runs.front()->answer.timings.follow_up_ms.has_value(); }

double follow_up_reading(const Timings& timings) { return *timings.follow_up_ms; }

Json flops_of(const Sizes& sizes, bool prune) {
  const StageFlops flops = sizes.prefill(prune);
  const StageFlops then = decode_flops(sizes.manifest, rows_of_decoders(sizes.manifest, sizes.size_of(prune)));
  return {{"vision", or_null(flops.vision)}, {"head", flops.head}, {"tail", flops.tail}, {"decode", then.llm()}};
}

Json mode_stats(const Sizes& sizes, const TimedRuns& runs, bool prune) {
  Json stages = Json::object(), per_token, speed;
  for (const std::string& stage : sizes.manifest.prefill) {
    if (runs.front()->answer.timings.stages_ms.count(stage)) stages[stage] = spread(read(runs, stage_reading(stage)));
  }
  if (decoded(runs)) {
    const Times times = read(runs, &Timings::decode_ms_per_token);
    per_token = spread(times);
    speed = rounded(1000 / percentile(times, 50));
  }
  const Answer& last = runs.back()->answer;
  return {{"stages_ms", stages},
          {"llm_prefill_ms", spread(read(runs, llm_reading(sizes.manifest)))},
          {"ttft_ms", spread(read(runs, &Timings::ttft_ms))},
          {"decode_ms_per_token", per_token},
          {"follow_up_ms", followed_up(runs) ? spread(read(runs, follow_up_reading)) : Json(nullptr)},
          {"decode_tokens_per_s", speed},
          {"flops", flops_of(sizes, prune)},
          {"kv_cache_filled_bytes", cache_bytes(sizes.manifest, last.past_tokens)}};
}

Json ratios_of(const Manifest& manifest, const TimedRuns& unpruned, const TimedRuns& pruned) {
  const auto ratio = [&](const Reading& reading) {
    return paired_ratio(read(unpruned, reading), read(pruned, reading));
  };
  return {{"tail", ratio(stage_reading(manifest.prefill.back()))},
          {"llm_prefill", ratio(llm_reading(manifest))},
          {"ttft", ratio(&Timings::ttft_ms)},
          {"decode", decoded(unpruned) ? ratio(&Timings::decode_ms_per_token) : Json(nullptr)},
          {"follow_up", followed_up(unpruned) ? ratio(follow_up_reading) : Json(nullptr)}};
}

// Returns the ceilings by FLOPs, and by the unpruned times if only the tail shrank in proportion to its FLOPs; beside
// each stands the share of it that was measured.
Json ceilings_of(const Sizes& sizes, const TimedRuns& unpruned, const Json& ratios) {
  const StageFlops slow = sizes.prefill(false), fast = sizes.prefill(true);
  const auto over = [](int64_t upper, int64_t lower) {
    return static_cast<double>(upper) / static_cast<double>(lower);
  };
  const double shrunk = over(fast.tail, slow.tail), llm = over(slow.llm(), fast.llm());
  const Reading sooner = [&](const Timings& timings) {
    return timings.ttft_ms / (timings.ttft_ms - (1 - shrunk) * timings.stage_ms(sizes.manifest.prefill.back()));
  };
  const double by_time = percentile(read(unpruned, sooner), 50);
  const double got_llm = ratios["llm_prefill"]["median"], got_ttft = ratios["ttft"]["median"];
  Json ttft, ttft_share;
  if (slow.vision) {
    const double most = over(*slow.vision + slow.llm(), *fast.vision + fast.llm());
    ttft = rounded(most);
    ttft_share = rounded(got_ttft / most);
  }
  return {{"llm_prefill", rounded(llm)},
          {"llm_prefill_share", rounded(got_llm / llm)},
          {"ttft", ttft},
          {"ttft_share", ttft_share},
          {"ttft_by_time", rounded(by_time)},
          {"ttft_by_time_share", rounded(got_ttft / by_time)}};
}

}  // namespace

ModeComparison compare_modes(const Manifest& manifest, const Prompt& prompt, const std::vector<TimedRun>& runs) {
  const Sizes sizes{manifest, prompt};
  const TimedRuns unpruned = runs_of_mode(runs, false), pruned = runs_of_mode(runs, true);
  const Json ratios = ratios_of(manifest, unpruned, pruned);
  return {mode_stats(sizes, unpruned, false), mode_stats(sizes, pruned, true), ratios,
          ceilings_of(sizes, unpruned, ratios)};
}

int64_t cache_bytes(const Manifest& manifest, const std::map<std::string, int64_t>& tokens) {
  int64_t sum = 0;
  for (const auto& [name, count] : tokens) {
    const Cache& cache = *manifest.stage(name).cache;
    sum += 2 * cache.layers * cache.kv_heads * cache.head_dim * cache.element_bytes * count;
  }
  return sum;
}

}  // namespace vlmprune
