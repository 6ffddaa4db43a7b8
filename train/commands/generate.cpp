// wavetape generate: read texts, continue them.
#include "train/eval/generate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>

#include "core/files.h"
#include "data/chat.h"
#include "data/pieces.h"
#include "data/text_stream.h"
#include "data/tokenizer.h"
#include "train/commands/commands.h"
#include "train/commands/reading_options.h"
#include "train/commands/seed_option.h"
#include "train/eval/prompts_file.h"
#include "train/models/end_tokens.h"
#include "train/models/model_io.h"
#include "train/models/state_file.h"
#include "train/notice.h"
#include "train/output.h"
#include "train/progress.h"
#include "train/signals.h"

namespace wt {
namespace {

struct Options {
  std::string model, prompt, system, tokenizer, dtype = "f32", device = "auto", schedule = "auto";
  std::string input, prompts_file, output, load_state, save_state;
  std::vector<std::int32_t> ids;
  std::vector<std::string> stops;
  GenerateOptions generation;
  ReadingOptions reading;
  std::int64_t batch_size = 8;
  bool has_prompt = false, keep_going = false, chat = false, no_special = false, grow = false;
};

void check(const Options& o) {
  const int given = (o.has_prompt ? 1 : 0) + (o.ids.empty() ? 0 : 1) + (o.prompts_file.empty() ? 0 : 1);
  if (given > 1 || (given == 0 && o.input.empty() && o.load_state.empty())) {
    throw UsageError("generate: give one of --prompt, --input-ids and --prompts-file, or --input or --load-state");
  }
  if (o.generation.max_new_tokens == 0 && o.save_state.empty()) {
    throw UsageError("generate: --max-new-tokens is required (only with --save-state it may be left out)");
  }
  if (!o.prompts_file.empty() && !o.save_state.empty()) {
    throw UsageError("generate: --save-state keeps what one text left behind, --prompts-file has several");
  }
  if (!o.prompts_file.empty() && o.generation.max_new_tokens == 0) {
    throw UsageError("generate: --prompts-file needs --max-new-tokens");
  }
  if (!o.ids.empty() && !o.stops.empty()) throw UsageError("generate: --stop needs text, --input-ids gives none");
}

// Text in, text out: the tokenizer, the chat template, and what ends an answer.
class TextSide {
 public:
  TextSide(const Options& o, const ModelLocation& location) : options_(o), tokenizer_(load(o, location)) {
    if (!o.chat) return;
    chat_ = ChatTemplate::load(std::filesystem::path(location.config).parent_path().string());
    chat_stop_ = chat_->stop_id(tokenizer_);
  }

  const Tokenizer& tokenizer() const { return tokenizer_; }
  std::optional<std::int32_t> chat_stop() const { return chat_stop_; }

  // `goes_on`: there is a text before this one, so that no second beginning is marked.
  EncodeOptions encoding(bool goes_on) const {
    return {.match_added_tokens = true,
            .add_special_tokens = !options_.no_special && !goes_on,
            .leading_space_is_prefix = goes_on};
  }
  std::vector<std::int32_t> encode(const std::string& prompt, bool goes_on) const {
    if (!chat_) return tokenizer_.encode(prompt, encoding(goes_on));
    std::vector<std::int32_t> ids = chat_->encode(chat_with(options_.system, prompt), tokenizer_);
    const auto begin = chat_->begin_id(tokenizer_);
    if (goes_on && begin && !ids.empty() && ids.front() == *begin) ids.erase(ids.begin());
    return ids;
  }

 private:
  static Tokenizer load(const Options& o, const ModelLocation& location) {
    const std::string path = o.tokenizer.empty() ? location.tokenizer : o.tokenizer;
    if (path.empty()) throw UsageError(cat(o.model, ": no tokenizer.json there; name one with --tokenizer"));
    return Tokenizer::load(path);
  }

  const Options& options_;
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> chat_;
  std::optional<std::int32_t> chat_stop_;
};

// A file of any size, in pieces. How far it has got is for standard error: standard output is the continuation's. With
// --save-state, a signal ends the reading after the piece at hand; returns it (0: none) and the bytes that were read.
struct InputEnd {
  int signal = 0;
  std::int64_t bytes = 0;
};
InputEnd read_input(const Options& o, const Model& model, const TextSide& text, Reading& reading) {
  constexpr std::int64_t kUnit = 1000, kShort = 1000;  // shorter ones need no bar
  std::error_code ignored;                             // what cannot be read is said by who reads it
  const bool has_size = std::filesystem::is_regular_file(o.input, ignored);
  const std::int64_t size =
      has_size ? static_cast<std::int64_t>(std::filesystem::file_size(o.input, ignored)) / kUnit : 0;
  std::optional<Progress> progress;
  if (size > kShort) progress.emplace(stderr, cat("read ", o.input, ", kB"), size);
  std::optional<StopSignals> signals;
  if (!o.save_state.empty()) signals.emplace();
  InputEnd end;
  const TextPieces counted = [&, pieces = file_pieces(o.input)]() mutable {
    if (progress) progress->update(end.bytes / kUnit);
    if (signals) end.signal = signals->received();
    std::string piece = end.signal == 0 ? pieces() : "";
    end.bytes += static_cast<std::int64_t>(piece.size());
    return piece;
  };
  read_in_pieces(model, {encoded(text.tokenizer(), text.encoding(reading.tokens(0) > 0), counted)},
                 o.generation.schedule, reading);
  if (signals) end.signal = signals->received();  // one that came behind the last piece counts too
  return end;
}

// What a signal has left of the reading is a state, too: of the text so far.
[[noreturn]] void stop_reading(const Options& o, const Model& model, const std::string& tokenizer,
                               const Reading& reading, const InputEnd& end) {
  if (reading.tokens(0) == 0) {
    print_notice(cat("stopped by signal ", end.signal, " before anything was read"));
  } else {
    const std::string path = unfinished_path(o.save_state);
    save_reading(path, model, tokenizer, reading);
    print_notice(cat("stopped by signal ", end.signal, "; ", path, " holds the state after ", reading.tokens(0),
                     " tokens, with the first ", end.bytes, " bytes of ", o.input));
  }
  throw ExitWith{128 + end.signal};
}

void continue_one(const Options& o, const Model& model, const TextSide* text, Reading& reading) {
  if (!o.ids.empty()) {
    bool first = true;
    generate_after(model, reading, o.generation, [&](int, std::int32_t id) {
      print(cat(first ? "" : ",", id));
      first = false;
      return true;
    });
  } else {
    TextStream stream(text->tokenizer(), o.stops);
    generate_after(model, reading, o.generation, [&](int, std::int32_t id) {
      print(stream.push(id));
      return !stream.stopped();
    });
    print(stream.finish());
  }
  print("\n");
}

// Results of --prompts-file: to standard output as they come, or into a file that is whole at the end.
class Results {
 public:
  explicit Results(const std::string& path) : path_(path) {
    if (!path.empty()) file_.emplace(path);
  }

  void add(const std::string& line) {
    if (file_) {
      file_->write(line);
    } else {
      print(line);
    }
  }
  void finish() {
    if (file_) file_->commit();
  }
  // Keeps the first `count`, all there are, without touching those of an earlier run; says where they are.
  std::string keep(std::size_t count, std::size_t of) {
    if (count == 0) return path_.empty() ? "no result yet" : cat("no result yet, ", path_, " is as it was");
    const std::string where = file_ ? unfinished_path(path_) : "";
    if (file_) file_->commit_as(where);
    return cat("results of the first ", count, " of ", of, " prompts are ", file_ ? cat("in ", where) : "written");
  }

 private:
  std::string path_;
  std::optional<AtomicFile> file_;
};

// The results of some prompts that are computed together, as lines. Empty where a signal came before they were whole.
std::vector<std::string> continue_batch(const Options& o, const Model& model, const TextSide& text,
                                        const Reading& before, std::span<const PromptLine> lines, std::size_t first,
                                        const StopSignals& signals) {
  TokenSequences prompts;
  std::vector<TextStream> streams;
  std::vector<std::string> texts(lines.size());
  for (const PromptLine& line : lines) {
    prompts.push_back(text.encode(line.prompt, before.tokens(0) > 0));
    streams.emplace_back(text.tokenizer(), o.stops);
  }
  Reading reading = repeated(model, before, static_cast<int>(lines.size()));
  read_on(model, prompts, o.generation.schedule, reading);
  GenerateOptions generation = o.generation;
  generation.first_prompt = first;
  const auto ids = generate_after(model, reading, generation, [&](int sample, std::int32_t id) {
    const auto at = static_cast<std::size_t>(sample);
    texts[at] += streams[at].push(id);
    return !streams[at].stopped() && !signals.requested();
  });
  if (signals.requested()) return {};
  std::vector<std::string> results;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto& stop_ids = generation.stop_ids;
    const bool ended = std::find(stop_ids.begin(), stop_ids.end(), ids[i].back()) != stop_ids.end();
    const char* finish = streams[i].stopped() ? "stop" : ended ? "end" : "length";
    texts[i] += streams[i].finish();
    results.push_back(result_line(lines[i], texts[i], static_cast<std::int64_t>(ids[i].size()), finish));
  }
  return results;
}

// Each prompt stands behind what was read, for itself; `batch_size` of them are computed together. A signal ends it
// after the results that are whole, and neither that nor an error loses them.
void continue_each(const Options& o, const Model& model, const TextSide& text, const Reading& before) {
  const std::vector<PromptLine> lines = read_prompts_file(o.prompts_file);
  Results results(o.output);
  std::optional<Progress> progress;
  if (!o.output.empty()) progress.emplace(stdout, "generate", static_cast<std::int64_t>(lines.size()));
  const StopSignals signals;
  for (std::size_t first = 0; first < lines.size();) {
    const std::size_t count = std::min(lines.size() - first, static_cast<std::size_t>(o.batch_size));
    std::vector<std::string> batch;
    try {
      batch = continue_batch(o, model, text, before, std::span(lines).subspan(first, count), first, signals);
    } catch (const Error& error) {
      progress.reset();
      if (first == 0) throw;
      throw Error(cat(error.what(), " (", results.keep(first, lines.size()), ")"));
    }
    if (batch.empty()) {
      progress.reset();
      print_notice(cat("stopped by signal ", signals.received(), "; ", results.keep(first, lines.size())));
      throw ExitWith{128 + signals.received()};
    }
    for (const std::string& line : batch) results.add(line);
    first += count;
    if (progress) progress->update(static_cast<std::int64_t>(first));
  }
  results.finish();
}

void run(Options o) {
  check(o);
  o.generation.close_segments = !o.grow;
  const DType dtype = dtype_from_name(o.dtype);
  const Stream stream(device_for(o.device, dtype));
  const ModelLocation location = find_model(o.model);
  const auto model = load_model(location, dtype, stream, WeightUse::kInference, o.reading);
  o.generation.schedule = choose_schedule(o.schedule, model->one_after_another());
  std::optional<TextSide> text;
  if (o.ids.empty() || !o.input.empty()) text.emplace(o, location);
  const std::string tokenizer = text ? text->tokenizer().fingerprint() : "";
  if (o.ids.empty()) TextStream(text->tokenizer(), o.stops);  // complains of a bad one before anything is read
  if (!o.keep_going && o.ids.empty()) {
    if (text->chat_stop()) o.generation.stop_ids.push_back(*text->chat_stop());
    for (const std::int32_t id : end_tokens(location, text->tokenizer())) o.generation.stop_ids.push_back(id);
  }
  for (const std::int32_t id : o.ids) {
    if (id < 0 || id >= model->config().vocab_size) {
      throw UsageError(cat("generate: id ", id, " is not in the vocabulary of ", model->config().vocab_size));
    }
  }
  Reading reading = o.load_state.empty() ? new_reading(*model, 1) : load_reading(o.load_state, *model, tokenizer);
  if (!o.input.empty()) {
    const InputEnd end = read_input(o, *model, *text, reading);
    if (end.signal != 0) stop_reading(o, *model, tokenizer, reading, end);
  }
  if (!o.prompts_file.empty()) return continue_each(o, *model, *text, reading);

  const bool goes_on = reading.tokens(0) > 0;
  if (o.has_prompt) o.ids = text->encode(o.prompt, goes_on);
  read_on(*model, {o.ids}, o.generation.schedule, reading);
  if (reading.tokens(0) == 0) throw UsageError("generate: the prompt is empty");
  if (!o.save_state.empty()) {
    save_reading(o.save_state, *model, tokenizer, reading);
    if (o.generation.max_new_tokens == 0)
      print(cat(o.save_state, ": the state after ", reading.tokens(0), " tokens\n"));
  }
  if (o.has_prompt) o.ids.clear();
  if (o.generation.max_new_tokens > 0) continue_one(o, *model, text ? &*text : nullptr, reading);
}

}  // namespace

void add_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt");
  command->add_option("MODEL", o->model, "Model or run folder")->required();
  auto* prompt =
      command->add_option("--prompt", o->prompt, "Text to continue; the continuation is printed as it comes");
  auto* ids = command->add_option("--input-ids", o->ids, "Token ids to continue; new ids are printed, comma-separated");
  ids->delimiter(',')->excludes(prompt);
  auto* prompts = command->add_option("--prompts-file", o->prompts_file,
                                      "JSON lines, each a string or {\"prompt\": …}; results are JSON lines too");
  prompts->excludes(prompt)->excludes(ids);
  command
      ->add_option(
          "--output", o->output,
          "With --prompts-file: where the results go, instead of standard output; unfinished ones stand beside "
          "those of an earlier run, as FILE.partial")
      ->needs(prompts);
  command->add_option("--batch-size", o->batch_size, "With --prompts-file: prompts that are computed together")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command->add_option("--input", o->input, "A text file of any size, read before the prompt");
  command->add_option("--load-state", o->load_state, "Go on where --save-state stopped, at no reading cost");
  command->add_option(
      "--save-state", o->save_state,
      "Write what the model keeps of --input and the prompt to this file; a signal while --input is read "
      "keeps what was read so far");
  // By a callback: a vector option would take "[a,b]" and "{}" for lists, and the words behind a stop string too.
  const CLI::callback_t set_stops = [o](const CLI::results_t& texts) {
    o->stops = texts;
    return true;
  };
  command->add_option("--stop", set_stops, "End before this text; may be given several times")
      ->type_name("TEXT")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--grow-last-segment", o->grow,
                    "Let the last segment grow past its size, as the published code does, instead of closing it");
  auto* chat = command->add_flag("--chat", o->chat,
                                 "The prompt is what a user says: put it into the model's chat template "
                                 "(chat_template.jinja or tokenizer_config.json)");
  chat->excludes(ids);
  command->add_option("--system", o->system, "With --chat: the system message")->needs(chat);
  command->add_flag("--no-special", o->no_special, "Without the tokens that the tokenizer puts around a text (BOS)")
      ->excludes(ids);
  o->generation.max_new_tokens = 0;
  command
      ->add_option("--max-new-tokens", o->generation.max_new_tokens, "Tokens to generate at most; needed to generate")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--temperature", o->generation.temperature, "0: greedy; else draw from the softened distribution")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-p", o->generation.top_p, "Draw from the likeliest tokens of this total probability")
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1.0));
  command->add_option("--seed", o->generation.seed, "Seed of the draws")->check(seed_check())->capture_default_str();
  command->add_flag("--ignore-eos", o->keep_going, "Go on behind end-of-text");
  command->add_option("--tokenizer", o->tokenizer, "A tokenizer.json, or a folder with one (default: the model's)");
  add_segment_size(command, o->reading);
  command->add_option("--schedule", o->schedule, "auto, sequential, diagonal or streaming")->capture_default_str();
  command->add_option("--dtype", o->dtype, "What to compute in; on a CPU bf16 only rounds the weights")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f64", "bf16"}));
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->footer(
      "Example:\n  wavetape generate runs/quickstart --prompt ' Mary went to the office. Where is Mary?<|gen|>' \\\n"
      "    --max-new-tokens 4\n"
      "  wavetape generate MODEL --input book.txt --save-state book.state\n"
      "  wavetape generate MODEL --load-state book.state --prompts-file questions.jsonl --stop . \\\n"
      "    --max-new-tokens 20");
  command->callback([o, prompt] {
    o->has_prompt = prompt->count() > 0;
    try {
      run(*o);
    } catch (const NotFinite& error) {
      // What a state holds may be finite, and too large.
      throw Error(cat(o->load_state.empty() ? find_model(o->model).weights : o->load_state, ": ", error.what()));
    }
  });
}

}  // namespace wt
