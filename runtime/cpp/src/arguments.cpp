#include "arguments.h"

#include <charconv>
#include <functional>
#include <map>
#include <string>

#include "errors.h"

namespace vlmprune {
namespace {

int64_t count_of(const std::string& option, const std::string& word) {
  int64_t number = 0;
  const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (failure != std::errc() || end != word.data() + word.size() || number < 1) {
    throw bad_request(option + ": got '" + shorten(word) + "', allowed: 1 or more");
  }
  return number;
}

void check(const Arguments& arguments) {
  if (arguments.bundle.empty()) throw bad_request("BUNDLE is missing; --help shows the usage");
  if (arguments.pixels.empty()) throw bad_request("--pixels is missing; --help shows the usage");
  if (arguments.prompt_ids.empty()) throw bad_request("--prompt-ids is missing; --help shows the usage");
  if (arguments.json && !arguments.prune)
    throw bad_request("--json measures both modes; it does not go with --no-prune");
  if (arguments.json && arguments.follow_ups.size() > 1) {
    throw bad_request("--json measures one --follow-up, got more");
  }
  if (arguments.kept && (arguments.json || !arguments.prune))
    throw bad_request("--kept goes with neither --json nor --no-prune");
}

}  // namespace

const char* const kHelp =
    R"(usage: vlmprune-runner BUNDLE --pixels FILE --prompt-ids FILE [options]

Answer a question with an ExecuTorch bundle; the token ids of the answer go to stdout.

  BUNDLE              folder that vlmprune-export has written
  --pixels FILE       pixels.f32 of `vlmprune-run ... --dump DIR`
  --prompt-ids FILE   prompt_ids.json of the same
  --follow-up FILE    follow_up_1.json of the same: go on behind the answer; repeated for several
  --json              measure both modes, pruned and unpruned, in turn; print a benchmark record
  --max-tokens N      default: the bundle's limit, or 32; with --json every answer has this many, stop tokens or not
  --repetitions N     with --json: measured pairs of runs, default 10, after 2 warm-up pairs
  --kept              also print which visual tokens were kept, one line an image
  --no-prune          keep all visual tokens
  --greedy            always the likeliest token, where the bundle would sample
  --no-verify         do not check the hashes of the bundle's files
)";

Arguments parse_arguments(int count, char** words) {
  Arguments arguments;
  const std::map<std::string, std::function<void()>> flags = {
      {"--json", [&] { arguments.json = true; }},         {"--kept", [&] { arguments.kept = true; }},
      {"--no-prune", [&] { arguments.prune = false; }},   {"--greedy", [&] { arguments.greedy = true; }},
      {"--no-verify", [&] { arguments.verify = false; }}, {"--help", [&] { arguments.help = true; }}};
  using Take = std::function<void(const std::string&)>;
  const std::map<std::string, Take> options = {
      {"--pixels", [&](const std::string& word) { arguments.pixels = word; }},
      {"--prompt-ids", [&](const std::string& word) { arguments.prompt_ids = word; }},
      {"--follow-up", [&](const std::string& word) { arguments.follow_ups.emplace_back(word); }},
      {"--max-tokens", [&](const std::string& word) { arguments.max_tokens = count_of("--max-tokens", word); }},
      {"--repetitions", [&](const std::string& word) { arguments.repetitions = count_of("--repetitions", word); }}};
  for (int nth = 1; nth < count; ++nth) {
    const std::string word = words[nth];
    if (const auto flag = flags.find(word); flag != flags.end()) {
      flag->second();
    } else if (const auto option = options.find(word); option != options.end()) {
      if (++nth >= count) throw bad_request(word + " needs a value");
      option->second(words[nth]);
    } else if (word.rfind("--", 0) == 0 || !arguments.bundle.empty()) {
      throw bad_request("unknown argument '" + shorten(word) + "'; --help shows the usage");
    } else {
      arguments.bundle = word;
    }
  }
  if (!arguments.help) check(arguments);
  return arguments;
}

}  // namespace vlmprune
