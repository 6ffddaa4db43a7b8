#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>

#include "core/error.h"
#include "core/files.h"
#include "data/tokenizer.h"
#include "train/commands/commands.h"

namespace wt {
namespace {

struct Options {
  std::string tokenizer, text, file;
  std::string ids;
  bool special = false, plain = false;
};

// Whole numbers with commas or blanks between.
std::vector<std::int32_t> parse_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at != end && (*at == ',' || *at == ' ' || *at == '\n' || *at == '\t')) ++at;
    if (at == end) return ids;
    std::int32_t id = 0;
    const auto [next, problem] = std::from_chars(at, end, id);
    if (problem != std::errc() || (next != end && *next != ',' && *next != ' ' && *next != '\n' && *next != '\t')) {
      throw UsageError(cat("--decode: expected token ids like 1,2,3, got '", text.substr(0, 60), "'"));
    }
    ids.push_back(id);
    at = next;
  }
}

void run(const Options& options, bool decode, bool from_file) {
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  std::string out;
  if (decode) {
    out = tokenizer.decode(parse_ids(options.ids));
  } else {
    const std::string text = from_file ? read_file(options.file) : options.text;
    for (const std::int32_t id :
         tokenizer.encode(text, {.match_added_tokens = !options.plain, .add_special_tokens = options.special})) {
      out += fmt::format("{}{}", out.empty() ? "" : " ", id);
    }
  }
  out += '\n';
  std::fwrite(out.data(), 1, out.size(), stdout);
}

}  // namespace

void add_tokenize(CLI::App& program) {
  CLI::App* command = program.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  const auto options = std::make_shared<Options>();
  command->add_option("TOKENIZER", options->tokenizer, "A tokenizer.json, or a folder with one or with GPT-2's files")
      ->required();
  CLI::Option_group* input = command->add_option_group("Input", "What to turn");
  input->add_option("--text", options->text, "Text to encode");
  CLI::Option* file = input->add_option("--file", options->file, "File whose text to encode");
  CLI::Option* ids = input->add_option("--decode", options->ids, "Ids to decode, with commas or blanks between");
  input->require_option(1);
  command->add_flag("--special", options->special, "Add the tokens the file's post-processor asks for");
  command->add_flag("--plain", options->plain, "Encode the names of added tokens like other text");
  command->footer(
      "Prints ids on one line with blanks between, or the text.\n"
      "Example:\n  wavetape tokenize data/tokenizer/tokenizer.json --text \"Mary went to the office.\"");
  command->callback([=] { run(*options, ids->count() > 0, file->count() > 0); });
}

}  // namespace wt
