// `vlmprune-runner`: an ExecuTorch bundle without Python, on a desktop or pushed to a phone.
#include <iomanip>
#include <iostream>

#include "arguments.h"
#include "platform.h"
#include "record.h"

namespace vlmprune {
namespace {

constexpr int64_t kWarmups = 2, kMaxTokens = 32;

std::string shown(const Integers& token_ids) {
  std::string text;
  for (const int64_t id : token_ids) {
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

void answer_once(Program& program, const Bundle& bundle, const Task& task, const Arguments& asked) {
  const Answer found = answer(program, bundle.manifest, task, asked.prune);
  std::cout << shown(found.token_ids) << std::endl;
  for (const Selection& selection : found.selections) {
    const bool last = selection.cut == bundle.manifest.cuts.back().stage;
    if (asked.kept && last) std::cout << shown(selection.cells) << std::endl;
  }
  std::cerr << std::fixed << std::setprecision(0) << "first token after " << found.timings.ttft_ms << " ms";
  for (const std::string& stage : bundle.manifest.prefill) {
    std::cerr << ", " << stage << " " << found.timings.stage_ms(stage);
  }
  std::cerr << std::endl;
}

void measure(Program& program, Circumstances& known, int64_t repetitions) {
  const Manifest& manifest = known.bundle.manifest;
  run_first(program, manifest, known.task, known.memory);
  run_rounds(program, manifest, known.task, kWarmups - 1);
  Measurement measurement{look_outside(), {}, {}};
  measurement.laps = run_rounds(program, manifest, known.task, repetitions);
  measurement.after = look_outside();
  std::cout << record_of(known, measurement).dump(1, ' ', false, Json::error_handler_t::replace) << std::endl;
  for (size_t nth = 0; nth < 2; ++nth) {
    const Lap& lap = measurement.laps[nth];
    std::cerr << (lap.prune ? "pruned: " : "unpruned: ") << shown(lap.answer.token_ids) << std::endl;
  }
}

// A measurement takes the likeliest tokens, whatever the bundle says of them.
Task task_of(const Arguments& asked, const Manifest& manifest, const Prompt& prompt, const std::vector<Array>& pixels) {
  if (asked.json) return {prompt, pixels, asked.max_tokens.value_or(kMaxTokens), {}};
  const Generation& settings = manifest.generation;
  if (settings.do_sample && !asked.greedy) {
    throw bad_request("this bundle has its tokens drawn (do_sample), which this runner does not do; add --greedy");
  }
  const auto limit = settings.limit(static_cast<int64_t>(prompt.token_ids.size()), kMaxTokens);
  return {prompt, pixels, asked.max_tokens.value_or(limit), settings};
}

void run(const Arguments& asked) {
  const auto before = resident_bytes();
  const auto start = Clock::now();
  const Bundle bundle = open_bundle(asked.bundle, asked.verify);
  const Prompt prompt = read_prompt(asked.prompt_ids, bundle.manifest);
  const auto pixels = read_pixels(asked.pixels, bundle.manifest, prompt.spans);
  const Task task = task_of(asked, bundle.manifest, prompt, pixels);
  if (asked.json) check_room(bundle.manifest, task);
  Program program(bundle);
  if (!asked.json) return answer_once(program, bundle, task, asked);
  const Memory memory{before, resident_bytes(), {}, {}};
  Circumstances known{bundle, task, asked.repetitions, kWarmups, ms_since(start), memory};
  measure(program, known, asked.repetitions);
}

int guarded(int count, char** words) {
  try {
    adopt_platform();
    const Arguments asked = parse_arguments(count, words);
    if (asked.help) {
      std::cout << kHelp;
    } else {
      run(asked);
    }
    return 0;
  } catch (const Error& error) {
    print_error(error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    print_error(std::string("internal error: ") + error.what());
    return kFailed;
  }
}

}  // namespace
}  // namespace vlmprune

int main(int count, char** words) { return vlmprune::guarded(count, words); }
