// wavetape gptscore: answers of systems, scored by how likely a model takes them to say what the references say.
#include "train/eval/gptscore.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "core/files.h"
#include "train/commands/commands.h"
#include "train/eval/generate.h"
#include "train/eval/gptscore_results.h"
#include "train/eval/result_files.h"
#include "train/models/model_io.h"
#include "train/notice.h"
#include "train/output.h"
#include "train/progress.h"
#include "train/signals.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model, instructions, output, tokenizer, first_label = "keep";
  std::string schedule = "auto", dtype = "f32", device = "auto";
  std::vector<std::string> inputs;
  GptScoreOptions scores;
  bool max_tokens_given = false, no_special = false;
};

// A file's lines belong to the system that it is named after, or, where two would have one name, that its path names.
std::vector<ScoreLine> read_inputs(const std::vector<std::string>& paths) {
  const auto stem = [](const std::string& path) { return fs::path(path).stem().string(); };
  std::vector<ScoreLine> lines;
  for (const std::string& path : paths) {
    const auto is_same = [&](const std::string& other) { return stem(other) == stem(path); };
    const bool is_alone = std::count_if(paths.begin(), paths.end(), is_same) == 1;
    for (ScoreLine& line : read_score_lines(path, is_alone ? stem(path) : path)) lines.push_back(std::move(line));
  }
  return lines;
}

bool has_instruction(const ScoreLine& line) {
  return !line.instruction.empty();
}

std::vector<Aspect> aspects_for(const Options& o, const std::vector<ScoreLine>& lines) {
  if (!o.instructions.empty()) return read_aspects(o.instructions);
  const auto without = std::find_if_not(lines.begin(), lines.end(), has_instruction);
  if (without != lines.end()) {
    throw UsageError(cat(without->place, ": no \"instruction\" in it: name a file of them with --instructions"));
  }
  return {{"instruction", std::nullopt}};
}

// The default is no more than the model reads.
void choose_max_tokens(Options& o, const Model& model) {
  const std::int64_t limit = longest_text(model);
  if (limit == 0 || o.scores.max_tokens <= limit) return;
  if (o.max_tokens_given) {
    throw UsageError(cat("--max-tokens ", o.scores.max_tokens, ": the model reads at most ", limit, " tokens"));
  }
  o.scores.max_tokens = limit;
}

// What was not taken as it was given.
void say_what_was_left_out(const Options& o, const ScoredLines& scored, const GptScores& scores, const Model& model) {
  if (const std::string missing = without_score(scored); !missing.empty()) print_notice(missing);
  const auto own = std::count_if(scored.lines.begin(), scored.lines.end(), has_instruction);
  if (own > 0 && !o.instructions.empty()) {
    print_notice(cat("--instructions stands for the \"instruction\" of ", own, own == 1 ? " line" : " lines"));
  }
  const std::int64_t most = o.scores.max_tokens;
  if (scores.cut_texts > 0) {
    print_notice(cat(scores.cut_texts, " of ", scores.texts, " texts were cut to ", most,
                     most == longest_text(model) ? " tokens, all that the model reads" : " tokens"));
  }
  if (scores.cut_sources > 0) {
    print_notice(cat("for reference_nll ", scores.cut_sources, scores.cut_sources == 1 ? " text was" : " texts were",
                     " cut to what the model reads"));
  }
}

std::string name_of_folder(const std::string& path) {
  return fs::weakly_canonical(path).filename().string();
}

// A signal ends it after the batch at hand.
GptScores compute(const Options& o, const Model& model, const Tokenizer& tokenizer, const ScoredLines& scored,
                  const StopSignals& signals) {
  GptScoreOptions options = o.scores;
  std::unique_ptr<Progress> progress;
  options.progress = [&](std::int64_t done, std::int64_t texts) {
    if (!progress) progress = std::make_unique<Progress>(stdout, "gptscore", texts);
    progress->update(done);
    if (progress->lost() && o.output.empty()) throw ReaderGone("no file holds the scores");
    return !signals.requested();
  };
  return gpt_scores(model, tokenizer, scored.lines, scored.aspects, options);
}

// Returns " (in …)" where unfinished results do not stand under their own names.
std::string write_results(const Options& o, const ScoredLines& scored, const GptScoreSettings& settings, bool whole) {
  ResultFiles files;
  files.write(o.output + "/scores.csv", gptscore_csv(scored), whole);
  files.write(o.output + "/scores.json", gptscore_json(scored, settings), whole);
  files.write(o.output + "/gptscore.svg", gptscore_chart(scored, name_of_folder(o.model)), whole);
  return files.where();
}

void run(Options o) {
  ScoredLines scored;
  scored.lines = read_inputs(o.inputs);
  scored.aspects = aspects_for(o, scored.lines);
  const DType dtype = dtype_from_name(o.dtype);
  const Stream stream(device_for(o.device, dtype));
  const ModelLocation location = find_model(o.model, print_notice);
  const std::string vocabulary = o.tokenizer.empty() ? location.tokenizer : o.tokenizer;
  if (vocabulary.empty()) throw UsageError(cat(o.model, ": no tokenizer.json there; name one with --tokenizer"));
  const Tokenizer tokenizer = Tokenizer::load(vocabulary);
  const auto model = load_model(location, dtype, stream);
  if (model->config().vocab_size < tokenizer.vocab_size()) {
    throw UsageError(cat(vocabulary, ": ids up to ", tokenizer.vocab_size() - 1, ", the model's vocabulary has ",
                         model->config().vocab_size));
  }
  choose_max_tokens(o, *model);
  o.scores.first_label = o.first_label == "drop" ? FirstLabel::kDrop : FirstLabel::kKeep;
  o.scores.special_tokens = !o.no_special;
  o.scores.schedule = choose_schedule(o.schedule, model->one_after_another());
  const StopSignals signals;
  if (!o.output.empty()) make_folders(o.output);

  GptScores scores;
  try {
    scores = compute(o, *model, tokenizer, scored, signals);
  } catch (const NotFinite& error) {
    throw Error(cat(location.weights, ": ", error.what()));
  }
  scored.scores = std::move(scores.lines);
  const bool whole = scored.scores.size() == scored.lines.size();
  const bool has_scores = std::any_of(scored.scores.begin(), scored.scores.end(), has_score);
  if (whole && !has_scores) throw Error(cat(o.inputs.front(), ": ", without_score(scored)));
  std::string where;
  if (has_scores && !o.output.empty()) {
    where = write_results(o, scored, {o.model, vocabulary, o.dtype, o.scores}, whole);
  }
  if (has_scores) print(gptscore_table(scored));
  say_what_was_left_out(o, scored, scores, *model);
  if (whole) return;
  print_notice(cat("stopped by signal ", signals.received(), "; finished before it: ", scored.scores.size(), " of ",
                   scored.lines.size(), " lines", where));
  throw ExitWith{128 + signals.received()};
}

}  // namespace

void add_gptscore(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "gptscore", "Compare systems' answers by how likely a model takes them to say what references say");
  command->add_option("--model", o->model, "The evaluator: a model or run folder")->required();
  command
      ->add_option("--input", o->inputs,
                   "JSON lines, each {\"hypothesis\": …, \"reference\": text or a list of texts} and perhaps \"id\", "
                   "\"system\" (which made the hypothesis; default: the file's name), \"source\", \"instruction\"")
      ->required();
  command->add_option("--instructions", o->instructions,
                      "JSON or YAML of aspects and their sentences, {\"quality\": \"…\"} (or that under "
                      "\"asp_definition\"); default: each line's \"instruction\", as the aspect of that name");
  command->add_option("--output", o->output,
                      "Folder for scores.csv, scores.json and gptscore.svg, a box plot (default: the table is printed "
                      "alone)");
  command
      ->add_option("--first-label", o->first_label,
                   "The first label of a target, which is tokenised without the blank before it and so is mostly not "
                   "the token that was read: keep, or drop, as GPTScore's original code does")
      ->capture_default_str()
      ->check(CLI::IsMember({"keep", "drop"}));
  CLI::Option* max_tokens =
      command
          ->add_option("--max-tokens", o->scores.max_tokens,
                       "Longer texts are cut, as published: first the end of what is rephrased, then of the whole; "
                       "at most what the model reads")
          ->capture_default_str()
          ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 24));
  command->add_flag("--no-special", o->no_special, "Without the tokens that the tokenizer puts before a text (BOS)");
  command->add_option("--batch-size", o->scores.batch_size, "Texts computed together")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command->add_option("--tokenizer", o->tokenizer, "A tokenizer.json, or a folder with one (default: the model's)");
  command->add_option("--schedule", o->schedule, "auto, sequential, diagonal or streaming")->capture_default_str();
  command->add_option("--dtype", o->dtype, "What to compute in; on a CPU bf16 only rounds the weights")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f64", "bf16"}));
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->footer(
      "score(a -> t) is the mean log probability of t's tokens behind: the aspect's sentence, a line break, a,\n"
      "\" In other words , \"; a and t are detokenised by Moses' rules and end in a full stop. ref_hypo is\n"
      "score(reference -> hypothesis), hypo_ref the reverse, avg_f their mean, harm_f a b / (a + b); of several\n"
      "references the largest. All are below 0, and closer to 0 is better.\n"
      "reference_nll, where a line has a source: the mean negative log-likelihood of the reference behind its source,\n"
      "lower is better. It depends on no sampled answer, which makes it the fairer measure of variants of one model:\n"
      "give each of them as --model.\n"
      "Example:\n  wavetape gptscore --model gpt2-medium --input default.jsonl chunked.jsonl \\\n"
      "    --instructions aspects.json --output scores");
  command->callback([o, max_tokens] {
    o->max_tokens_given = max_tokens->count() > 0;
    run(*o);
  });
}

}  // namespace wt
