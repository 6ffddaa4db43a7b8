// wavetape eval: exact match of generated answers, by task and length.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "core/files.h"
#include "data/eval_set.h"
#include "train/commands/commands.h"
#include "train/config.h"
#include "train/curriculum.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/model_io.h"
#include "train/progress.h"
#include "train/signals.h"

namespace wt {
namespace {

struct Options {
  std::string model, babi, books, tokenizer, output, dtype = "f32", device = "auto", schedule = "diagonal";
  std::vector<std::string> tasks, lengths, sets;
  std::int64_t samples = 0, batch_size = 0, max_new_tokens = 0, seed = 0;
  bool show = false;
};

// The run's own settings where the folder is a run, else defaults; command-line options come before both.
struct Settings {
  DataConfig data;
  EvalConfig eval;
  std::int64_t seed = 1;
  std::int64_t trained_segments = 1;
};

Settings resolve(const Options& o, const ModelLocation& location) {
  Settings s;
  s.data.books = "none";
  if (is_run_folder(o.model)) {
    const Config config = load_config(o.model + "/config.yaml");
    s.data = config.data;
    s.eval = config.eval;
    s.seed = config.seed.data;
    for (const StageConfig& stage : config.train.stages) {
      s.trained_segments = std::max(s.trained_segments, stage.max_segments());
    }
  }
  if (!location.tokenizer.empty()) s.data.tokenizer = location.tokenizer;
  if (!o.tokenizer.empty()) s.data.tokenizer = o.tokenizer;
  if (s.data.tokenizer.empty()) throw UsageError(cat(o.model, ": no tokenizer.json there; name one with --tokenizer"));
  if (!o.babi.empty()) s.data.babi = o.babi;
  if (!o.books.empty()) s.data.books = o.books;
  if (!o.tasks.empty()) s.eval.tasks = o.tasks;
  if (s.eval.tasks.empty()) s.eval.tasks = s.data.tasks();
  if (!o.lengths.empty()) s.eval.lengths = o.lengths;
  if (s.eval.lengths.empty()) s.eval.lengths = {"0k"};
  if (o.samples > 0) s.eval.samples = o.samples;
  if (o.batch_size > 0) s.eval.batch_size = o.batch_size;
  if (o.max_new_tokens > 0) s.eval.max_new_tokens = o.max_new_tokens;
  if (o.seed > 0) s.seed = o.seed;
  return s;
}

void run(const Options& o) {
  const DType dtype = dtype_from_name(o.dtype);
  const Stream stream(device_for(o.device, dtype));
  const auto report = [](const std::string& line) { std::fprintf(stderr, "wavetape: %s\n", line.c_str()); };
  const ModelLocation location = find_model(o.model, report);
  const Settings s = resolve(o, location);
  const Tokenizer tokenizer = Tokenizer::load(s.data.tokenizer);
  const auto model = load_model(location, dtype, stream);
  if (model->config().vocab_size < tokenizer.vocab_size()) {
    throw UsageError(cat(s.data.tokenizer, ": ids up to ", tokenizer.vocab_size() - 1, ", the model's vocabulary has ",
                         model->config().vocab_size));
  }
  EvalOptions options;
  options.batch_size = s.eval.batch_size;
  options.max_new_tokens = s.eval.max_new_tokens;
  options.schedule = schedule_from_name(o.schedule);

  std::vector<EvalRow> rows;
  const StopSignals signals;
  const auto with_progress = [&](const std::string& title, std::int64_t count, const auto& compute) {
    Progress progress(stdout, "eval " + title, count);
    options.progress = [&](std::int64_t done, const EvalAnswer& answer) {
      if (o.show) {
        progress.line(
            cat(answer.correct ? "right " : "WRONG ", answer.question, " ", answer.output, " (", answer.target, ")"));
      }
      progress.update(done);
      return !signals.requested();
    };
    rows.push_back(compute());
  };
  const BabilongConfig style;  // how questions are tokenised
  for (const std::string& path : o.sets) {
    std::vector<EvalSample> samples = read_eval_set(path, tokenizer);
    const auto count = o.samples > 0 ? std::min(o.samples, static_cast<std::int64_t>(samples.size()))
                                     : static_cast<std::int64_t>(samples.size());
    const auto item = [&](std::int64_t i) {
      const EvalSample& sample = samples[static_cast<std::size_t>(i)];
      return EvalItem{prompt_tokens(sample, tokenizer, style), sample.question, sample.target};
    };
    with_progress(path, count,
                  [&] { return evaluate(*model, tokenizer, find_end_token(tokenizer), count, item, options); });
    rows.back().task = "-";
    rows.back().length = std::filesystem::path(path).stem().string();
    if (signals.requested()) throw ExitWith{128 + signals.received()};
  }
  if (o.sets.empty()) {
    std::shared_ptr<const BookText> books;
    if (s.data.has_books()) books = load_books(s.data.books, tokenizer);
    const ModelConfig& m = model->config();
    for (const std::string& task : s.eval.tasks) {
      for (const std::string& length : s.eval.lengths) {
        const BabilongSampler sampler =
            make_test_sampler(s.data, static_cast<std::uint64_t>(s.seed), tokenizer, books, task, length,
                              m.has_armt ? m.armt.segment_size : m.max_positions, s.trained_segments);
        with_progress(task + " " + length, s.eval.samples,
                      [&] { return evaluate(*model, sampler, s.eval.samples, options); });
        rows.back().length = length;
        if (signals.requested()) throw ExitWith{128 + signals.received()};
      }
    }
  }
  std::printf("%s", eval_table(rows).c_str());
  if (o.output.empty()) return;
  std::filesystem::create_directories(o.output);
  write_file(o.output + "/eval.csv", eval_csv(rows));
  write_file(o.output + "/eval.json", eval_json(rows));
}

}  // namespace

void add_eval(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("eval", "Generate answers and count exact matches, by task and length");
  command->add_option("model", o->model, "Model folder, or run folder (then its settings are the defaults)")
      ->required();
  command->add_option("--task", o->tasks, "bAbI tasks: qa1 qa2 …");
  command->add_option("--length", o->lengths, "0k, 4k, 1M, tokens, or 4x: times the trained length");
  command->add_option("--samples", o->samples, "Samples per task and length (default: the run's, else 100)")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--set", o->sets, "Evaluation sets to use instead: JSON lists or HDF5 from 'data babilong'");
  command->add_option("--babi", o->babi, "simulate, or a folder with bAbI's files (their test split is used)");
  command->add_option("--books", o->books, "books.h5, a .txt, a folder of .txt, or none");
  command->add_option("--tokenizer", o->tokenizer, "Default: the folder's own");
  command->add_option("--batch-size", o->batch_size, "Samples computed together (default: the run's, else 16)")
      ->check(CLI::Range(1, 100000));
  command->add_option("--max-new-tokens", o->max_new_tokens, "Longest answer (default: the run's, else 12)")
      ->check(CLI::Range(1, 100000));
  command->add_option("--seed", o->seed, "Seed of the samples (default: the run's, else 1)");
  command->add_option("--output", o->output, "Folder for eval.csv and eval.json");
  command->add_option("--schedule", o->schedule, "sequential, diagonal or streaming")->capture_default_str();
  command->add_option("--dtype", o->dtype, "f32, f64, or bf16 (weights rounded to bf16)")->capture_default_str();
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->add_flag("--show", o->show, "Print every question with the model's answer");
  command->footer("Example: wavetape eval runs/quickstart --length 4x 16x 64x --samples 100 --output results");
  command->callback([o] { run(*o); });
}

}  // namespace wt
