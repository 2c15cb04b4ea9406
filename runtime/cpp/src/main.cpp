// `vlmprune-runner` runs an ExecuTorch bundle without Python, on a desktop or pushed to a phone.
#include <iomanip>
#include <iostream>

#include "arguments.h"
#include "platform.h"
#include "record.h"

namespace vlmprune {
namespace {

constexpr int64_t kWarmups = 2, kMaxTokens = 32;

std::string joined(const Integers& token_ids) {
  std::string text;
  for (const int64_t id : token_ids) {
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

void print_times(const Answer& result, const Manifest& manifest) {
  std::cerr << std::fixed << std::setprecision(0) << "first token after " << result.timings.ttft_ms << " ms";
  for (const std::string& stage : manifest.prefill) {
    if (result.timings.stages_ms.count(stage)) std::cerr << ", " << stage << " " << result.timings.stage_ms(stage);
  }
  std::cerr << std::endl;
}

// Returns how many tokens an answer behind so many others may have, and how they are chosen.
Decoding decoding_of(const Arguments& arguments, const Manifest& manifest, size_t tokens) {
  const Generation& settings = manifest.generation;
  if (settings.do_sample && !arguments.greedy) {
    throw bad_request("this bundle samples its tokens (do_sample), which this runner does not do; add --greedy");
  }
  const auto limit = settings.limit(static_cast<int64_t>(tokens), kMaxTokens);
  return {arguments.max_tokens.value_or(limit), settings};
}

void print(const Answer& result, const Manifest& manifest, const Arguments& arguments) {
  std::cout << joined(result.token_ids) << std::endl;
  for (const Selection& selection : result.selections) {
    const bool last = selection.cut == manifest.cuts.back().stage;
    if (arguments.kept && last) std::cout << joined(selection.cells) << std::endl;
  }
  print_times(result, manifest);
}

void answer_once(Program& program, const Manifest& manifest, const Task& task, const Arguments& arguments) {
  Answer result = answer(program, manifest, task, arguments.prune);
  print(result, manifest, arguments);
  for (const auto& path : arguments.follow_ups) {
    const FollowUp further = read_follow_up(path, manifest);
    FurtherTask next{further, {}, arguments.prune};
    next.decoding = decoding_of(arguments, manifest, next.token_ids().size());
    result = go_on(program, manifest, next, result);
    print(result, manifest, arguments);
  }
}

void measure(Program& program, RunMetadata& metadata, int64_t repetitions) {
  const Manifest& manifest = metadata.bundle.manifest;
  measure_peaks(program, manifest, metadata.task, metadata.memory);
  run_rounds(program, manifest, metadata.task, kWarmups - 1);
  Measurement measurement{read_device_state(), {}, {}};
  measurement.runs = run_rounds(program, manifest, metadata.task, repetitions);
  measurement.after = read_device_state();
  std::cout << record_of(metadata, measurement).dump(1, ' ', false, Json::error_handler_t::replace) << std::endl;
  for (size_t nth = 0; nth < 2; ++nth) {
    const TimedRun& run = measurement.runs[nth];
    std::cerr << (run.prune ? "pruned: " : "unpruned: ") << joined(run.answer.token_ids) << std::endl;
  }
}

// Returns the task; a measurement takes the likeliest tokens, whatever the bundle's settings are.
Task task_of(const Arguments& arguments, const Manifest& manifest, const Prompt& prompt) {
  const size_t tokens = prompt.given(arguments.prune).token_ids.size();
  if (!arguments.json) return {prompt, decoding_of(arguments, manifest, tokens)};
  Task task{prompt, {arguments.max_tokens.value_or(kMaxTokens), {}}};
  if (!arguments.follow_ups.empty()) task.follow_up = read_follow_up(arguments.follow_ups[0], manifest);
  if (task.follow_up && !task.follow_up->pixels.empty()) {
    throw bad_request("--json measures a --follow-up without images, got one that comes with some");
  }
  return task;
}

void run(const Arguments& arguments) {
  const auto before = resident_bytes();
  const auto start = Clock::now();
  const Bundle bundle = open_bundle(arguments.bundle, arguments.verify);
  Prompt prompt = read_prompt(arguments.prompt_ids, bundle.manifest);
  read_pixels(arguments.pixels, bundle.manifest, prompt);
  const Task task = task_of(arguments, bundle.manifest, prompt);
  if (arguments.json) check_context_fits(bundle.manifest, task);
  Program program(bundle);
  if (!arguments.json) return answer_once(program, bundle.manifest, task, arguments);
  const Memory memory{before, resident_bytes(), {}, {}};
  RunMetadata metadata{bundle, task, arguments.repetitions, kWarmups, ms_since(start), memory};
  measure(program, metadata, arguments.repetitions);
}

int run_guarded(int count, char** words) {
  try {
    install_platform();
    const Arguments arguments = parse_arguments(count, words);
    if (arguments.help) {
      std::cout << kHelp;
    } else {
      run(arguments);
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

int main(int count, char** words) { return vlmprune::run_guarded(count, words); }
