// wavetape eval: generated answers, counted by task and length.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <span>

#include "core/files.h"
#include "core/text.h"
#include "data/babi/stories.h"
#include "data/chat.h"
#include "data/eval_set.h"
#include "train/checkpoint.h"
#include "train/commands/commands.h"
#include "train/commands/seed_option.h"
#include "train/config.h"
#include "train/curriculum.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/metrics.h"
#include "train/models/end_tokens.h"
#include "train/models/model_io.h"
#include "train/notice.h"
#include "train/official_results.h"
#include "train/open_books.h"
#include "train/progress.h"
#include "train/prompts.h"
#include "train/result_files.h"
#include "train/signals.h"
#include "train/tensorboard_eval.h"
#include "train/units.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model, babi, books, tokenizer, output, dtype = "f32", device = "auto", schedule = "auto";
  std::string prompts, system, layout = "plain", name, plot;
  std::vector<std::string> tasks, lengths, sets;
  std::int64_t samples = 0, batch_size = 0, max_new_tokens = 0;
  std::optional<std::int64_t> seed;
  bool show = false, chat = false;
};

// The run's own settings where the folder is a run, else defaults; command-line options come before both.
struct Settings {
  DataConfig data;
  EvalConfig eval;
  std::int64_t seed = 1;
  std::int64_t trained_segments = 1;
};

Settings settings_of(const Config& config) {
  Settings s{config.data, config.eval, config.seed.data};
  if (s.eval.tasks.empty()) s.eval.tasks = s.data.tasks();
  for (const StageConfig& stage : config.train.stages) {
    s.trained_segments = std::max(s.trained_segments, stage.max_segments());
  }
  return s;
}

Settings resolve(const Options& o, const ModelLocation& location) {
  Settings s;
  s.data.books = "none";
  if (is_run_folder(o.model)) {
    const Config config = load_config(o.model + "/config.yaml");
    if (o.sets.empty()) check_data_files(config, o.babi.empty(), o.books.empty());
    s = settings_of(config);
  }
  if (!location.tokenizer.empty()) s.data.tokenizer = location.tokenizer;
  if (!o.tokenizer.empty()) s.data.tokenizer = o.tokenizer;
  if (s.data.tokenizer.empty()) throw UsageError(cat(o.model, ": no tokenizer.json there; name one with --tokenizer"));
  if (!o.babi.empty()) s.data.babi = o.babi;
  if (!o.books.empty()) s.data.books = o.books;
  if (!o.tasks.empty()) s.eval.tasks = o.tasks;
  if (s.eval.tasks.empty()) s.eval.tasks = s.data.tasks();
  if (!o.lengths.empty()) s.eval.lengths = o.lengths;
  if (s.eval.lengths.empty()) s.eval.lengths = {s.data.is_retrieval() ? "1x" : "0k"};
  if (o.samples > 0) s.eval.samples = o.samples;
  if (o.batch_size > 0) s.eval.batch_size = o.batch_size;
  if (o.max_new_tokens > 0) s.eval.max_new_tokens = o.max_new_tokens;
  if (o.seed) s.seed = *o.seed;
  return s;
}

// One task at one length: a set, or samples made as they are asked for.
struct Job {
  std::string task, length, set;  // task "" where a set's name does not say it
  TaskPrompt prompt;              // with --prompts
};

// "qa1_4k.json" and "qa1/4k.json", as sets are usually called, say what is in them.
Job job_of_set(const std::string& path, const Options& o) {
  const fs::path file = fs::absolute(path);
  const std::string stem = file.stem().string();
  Job job{"", stem, path, {}};
  const auto is_task = [](const std::string& name) {
    try {
      return babi_task_number(name) > 0;
    } catch (const UsageError&) {
      return false;
    }
  };
  const std::size_t end = stem.find('_');
  if (end != std::string::npos && is_task(stem.substr(0, end))) {
    job.task = stem.substr(0, end);
    job.length = stem.substr(end + 1);
  } else if (is_task(file.parent_path().filename().string())) {
    job.task = file.parent_path().filename().string();
  }
  if (o.tasks.size() == 1) job.task = o.tasks.front();
  return job;
}

class Evaluation {
 public:
  Evaluation(const Options& o, Settings settings, const ModelLocation& location, const Stream& stream)
      : o_(o), s_(std::move(settings)), location_(location), tokenizer_(Tokenizer::load(s_.data.tokenizer)) {
    const DType dtype = dtype_from_name(o.dtype);
    if (!o.prompts.empty()) {
      prompts_ = Prompts::load(o.prompts);
      if (o.max_new_tokens == 0) s_.eval.max_new_tokens = kPromptedNewTokens;
      // Instruction models end their turn, not the text.
      for (const char* token : {"<|eot_id|>", "<|im_end|>", "<|end|>"}) {
        if (const auto id = tokenizer_.id_of(token)) options_.stop_ids.push_back(*id);
      }
    }
    if (o.chat) {
      chat_ = ChatTemplate::load(fs::path(location.config).parent_path().string());
      if (const auto id = chat_->stop_id(tokenizer_)) options_.stop_ids.push_back(*id);
    }
    collect_jobs();
    end_ids_ = end_tokens(location, tokenizer_);
    if (end_ids_.empty()) end_ids_ = {find_end_token(tokenizer_)};
    options_.stop_ids.insert(options_.stop_ids.end(), end_ids_.begin(), end_ids_.end());
    model_ = load_model(location, dtype, stream);
    if (model_->config().vocab_size < tokenizer_.vocab_size()) {
      throw UsageError(cat(s_.data.tokenizer, ": ids up to ", tokenizer_.vocab_size() - 1,
                           ", the model's vocabulary has ", model_->config().vocab_size));
    }
    options_.batch_size = s_.eval.batch_size;
    options_.max_new_tokens = s_.eval.max_new_tokens;
    options_.schedule = choose_eval_schedule(o.schedule, *model_);
  }

  // One job after the other. What is done is on disk when the next begins: neither a signal nor an error loses it.
  // Returns the signal that came before the end, or 0.
  int run() {
    if (o_.sets.empty() && s_.data.has_books()) books_ = open_books(s_.data.books, tokenizer_);
    if (!o_.output.empty()) make_folders(o_.output);
    const StopSignals signals;
    for (const Job& job : jobs_) {
      std::vector<EvalAnswer> answers;
      EvalRow row = job.set.empty() ? run_sampler(job, signals, answers) : run_set(job, signals, answers);
      row.length = job.length;
      if (signals.requested()) {
        print_notice(cat("stopped by signal ", signals.received(), " in ", job.task.empty() ? "" : job.task + " ",
                         job.length, "; finished before it: ", rows_.size(), " of ", jobs_.size(), files_.where()));
        return signals.received();
      }
      answers_csv_ += answers_csv(row, answers);
      rows_.push_back(std::move(row));
      write_results(job, answers);
      write_to_tensorboard(answers);
    }
    return 0;
  }

  const std::vector<EvalRow>& rows() const { return rows_; }

 private:
  static constexpr std::int64_t kPromptedNewTokens = 20;              // as BABILong's own script
  static constexpr std::int64_t kLongSample = std::int64_t{4} << 20;  // bytes: longer ones are read in pieces
  static constexpr EncodeOptions kPromptText{.add_special_tokens = true};

  void check_retrieval_request() const {
    if (!s_.data.is_retrieval()) {
      throw UsageError(cat(o_.model, ": not a run of ", kAssociativeRetrieval, ", whose options say what to ask"));
    }
    if (!o_.prompts.empty() || o_.layout == "official") {
      throw UsageError(cat("--prompts and --layout official are for BABILong, not for ", kAssociativeRetrieval));
    }
  }

  static EvalLength length_of(const std::string& text) {
    try {
      return parse_eval_length(text);
    } catch (const UsageError& error) {
      throw UsageError(cat("--length: ", error.what()));
    }
  }

  // What can be wrong with the request is said before the model is loaded.
  void collect_jobs() {
    for (const std::string& path : o_.sets) jobs_.push_back(job_of_set(path, o_));
    if (o_.sets.empty()) {
      for (const std::string& task : s_.eval.tasks) {
        const bool retrieval = task == kAssociativeRetrieval;
        if (retrieval) check_retrieval_request();
        if (!retrieval) babi_task_number(task);
        for (const std::string& length : s_.eval.lengths) {
          const EvalLength parsed = length_of(length);
          if (!retrieval && parsed.amount > 0 && !s_.data.has_books()) {
            throw UsageError(
                cat("length ", length, " hides the facts in book text: name some with --books (0k needs none)"));
          }
          jobs_.push_back({task, length, "", {}});
        }
      }
    }
    const bool official = o_.layout == "official";
    if (official && o_.output.empty()) throw UsageError("--layout official needs a folder: --output DIR");
    if (!official && !o_.name.empty()) throw UsageError("--name is for --layout official");
    std::set<std::string> files;
    for (Job& job : jobs_) {
      if (job.task.empty() && (official || prompts_)) {
        throw UsageError(cat(job.set, ": which task is it? Call it qa1_4k.json or qa1/4k.json, or give one --task"));
      }
      if (prompts_) job.prompt = prompts_->of(job.task);
      if (official && !files.insert(file_of(job)).second) {
        throw UsageError(cat(o_.output, "/", file_of(job), ".csv would be written twice"));
      }
    }
  }

  std::string file_of(const Job& job) const {
    return official_file_name(job.task, job.length,
                              o_.name.empty() ? official_config_name(job.prompt, {o_.chat, o_.system}) : o_.name);
  }

  EvalOptions options_of(const Job& job, Progress& progress, const StopSignals& signals,
                         std::vector<EvalAnswer>& answers) const {
    EvalOptions options = options_;
    options.task = job.task;
    options.progress = [&](std::int64_t done, const EvalAnswer& answer) {
      if (o_.show) {
        const bool right = prompts_ ? answer.official : answer.correct;
        progress.line(printable_line(
            cat(right ? "right " : "WRONG ", answer.question, " ", answer.output, " (", answer.target, ")")));
      }
      answers.push_back(answer);
      progress.update(done);
      if (progress.lost() && o_.output.empty() && o_.plot.empty()) throw ReaderGone("no file holds the answers");
      return !signals.requested();
    };
    options.reading = [&](std::int64_t tokens) {
      progress.update(static_cast<std::int64_t>(answers.size()),
                      cat("read ", human_count(static_cast<double>(tokens)), " tokens"));
      return !signals.requested();
    };
    return options;
  }

  // Context and question inside the task's prompt. In a chat that is what the user says, behind the system message, as
  // in BABILong's scripts/run_model_on_babilong.py.
  std::vector<std::int32_t> prompted(const Job& job, const std::string& context, const std::string& question) const {
    const std::string text = format_prompt(job.prompt, context, question);
    return chat_ ? chat_->encode(chat_with(o_.system, text), tokenizer_) : tokenizer_.encode(text, kPromptText);
  }
  TokenPieces prompted_pieces(const Job& job, const EvalSet& set, std::int64_t i) const {
    const TextPieces text = format_prompt(
        job.prompt, [&] { return set.input(i); }, set.question(i));
    return chat_ ? chat_->pieces(chat_with(o_.system, whole(text)), tokenizer_)
                 : encoded(tokenizer_, kPromptText, text);
  }

  EvalRow run_set(const Job& job, const StopSignals& signals, std::vector<EvalAnswer>& answers) const {
    const EvalSet set(job.set, tokenizer_, o_.samples);
    if (prompts_ && set.has_tokens()) {
      throw UsageError(cat(job.set, ": holds tokens, and prompts go around text: make the set as JSON"));
    }
    const BabilongConfig style;  // how questions are tokenised
    const auto item = [&](std::int64_t i) {
      EvalItem next{{}, set.question(i), set.target(i)};
      if (set.bytes(i) > kLongSample) {
        next.pieces = prompts_ ? prompted_pieces(job, set, i) : prompt_pieces(set, i, tokenizer_, style);
        return next;
      }
      const EvalSample sample = set.sample(i);
      next.prompt = prompts_ ? prompted(job, sample.input, sample.question) : prompt_tokens(sample, tokenizer_, style);
      return next;
    };
    Progress progress(stdout, "eval " + job.set, set.size());
    return evaluate(*model_, tokenizer_, end_ids_.front(), set.size(), item,
                    options_of(job, progress, signals, answers));
  }

  EvalRow run_sampler(const Job& job, const StopSignals& signals, std::vector<EvalAnswer>& answers) const {
    const ModelConfig& m = model_->config();
    if (job.task == kAssociativeRetrieval) {
      const RetrievalSampler sampler =
          make_test_retrieval(s_.data, static_cast<std::uint64_t>(s_.seed), m, job.length, s_.trained_segments);
      Progress progress(stdout, cat("eval ", job.task, " ", job.length), s_.eval.samples);
      return evaluate(*model_, sampler, s_.eval.samples, options_of(job, progress, signals, answers));
    }
    const std::int64_t reserved = prompts_ ? static_cast<std::int64_t>(prompted(job, "", "").size()) : 0;
    const BabilongSampler sampler =
        make_test_sampler(s_.data, static_cast<std::uint64_t>(s_.seed), tokenizer_, end_ids_.front(), books_, job.task,
                          job.length, m.data_segment(), s_.trained_segments, reserved);
    Progress progress(stdout, cat("eval ", job.task, " ", job.length), s_.eval.samples);
    const EvalOptions options = options_of(job, progress, signals, answers);
    if (!prompts_) return evaluate(*model_, sampler, s_.eval.samples, options);
    const auto item = [&](std::int64_t i) {
      const BabilongSample sample = sampler.sample(static_cast<std::uint64_t>(i));
      const std::string context =
          tokenizer_.decode(std::span(sample.tokens).first(static_cast<std::size_t>(sample.context_size)));
      return EvalItem{prompted(job, context, sample.question), sample.question, sample.answer};
    };
    return evaluate(*model_, tokenizer_, sampler.end_id(), s_.eval.samples, item, options);
  }

  // A run's evaluation that goes to its own folder belongs to the run's curves.
  void write_to_tensorboard(const std::vector<EvalAnswer>& answers) {
    std::error_code none;
    if (o_.output.empty() || !is_run_folder(o_.model) || !fs::equivalent(o_.output, o_.model, none)) return;
    if (!tensorboard_) tensorboard_.emplace(o_.model);
    write_evaluation(*tensorboard_, rows_.back(), answers, prompts_.has_value(),
                     fs::path(location_.weights).parent_path().filename().string(),
                     CheckpointStore(o_.model, StoreMode::kRead).steps().back());
  }

  void write_results(const Job& job, const std::vector<EvalAnswer>& answers) {
    const bool whole = rows_.size() == jobs_.size();
    if (!o_.plot.empty()) files_.write(o_.plot, eval_chart(rows_, prompts_.has_value()), whole);
    if (o_.output.empty()) return;
    if (o_.layout == "official") {
      write_official(job, answers);
      return;
    }
    files_.write(o_.output + "/eval.csv", eval_csv(rows_), whole);
    files_.write(o_.output + "/eval.json", eval_json(rows_), whole);
    files_.write(o_.output + "/answers.csv", answers_csv_, whole);
  }

  void write_official(const Job& job, const std::vector<EvalAnswer>& answers) const {
    OfficialSettings settings;
    settings.prompt = job.prompt;
    if (!prompts_) settings.prompt.pattern = "{context} {question}";
    settings.chat = {o_.chat, o_.system};
    settings.max_new_tokens = options_.max_new_tokens;
    settings.model = o_.model;
    settings.tokenizer = s_.data.tokenizer;
    settings.dtype = o_.dtype;
    settings.schedule = name_of(options_.schedule);
    settings.set = job.set;
    settings.seed = s_.seed;
    const std::string path = cat(o_.output, "/", file_of(job));
    write_file(path + ".csv", official_csv(answers));
    write_file(path + ".json", official_json(settings));
  }

  const Options& o_;
  Settings s_;
  const ModelLocation& location_;
  Tokenizer tokenizer_;
  std::optional<Prompts> prompts_;
  std::optional<ChatTemplate> chat_;
  std::vector<Job> jobs_;
  std::unique_ptr<Model> model_;
  std::shared_ptr<const BookText> books_;
  EvalOptions options_;
  std::vector<std::int32_t> end_ids_;  // at least one
  std::vector<EvalRow> rows_;
  ResultFiles files_;
  std::optional<TensorBoardWriter> tensorboard_;
  std::string answers_csv_ = answers_csv_heading();
};

void run(const Options& o, const ModelLocation& location, Settings settings) {
  const Stream stream(device_for(o.device, dtype_from_name(o.dtype)));
  Evaluation evaluation(o, std::move(settings), location, stream);
  int signal = 0;
  try {
    signal = evaluation.run();
  } catch (const NotFinite& error) {
    throw Error(cat(location.weights, ": ", error.what()));
  }
  if (!evaluation.rows().empty()) std::printf("%s", eval_table(evaluation.rows()).c_str());
  if (signal != 0) throw ExitWith{128 + signal};
}

}  // namespace

void evaluate_run(const Config& config) {
  Options o;
  o.model = o.output = config.run.dir;
  o.dtype = name_of(config.run.dtype);
  o.device = config.run.device;
  const ModelLocation location = find_model(o.model, print_notice);
  Settings settings = settings_of(config);
  settings.data.tokenizer = location.tokenizer;
  run(o, location, std::move(settings));
}

void add_eval(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("eval", "Generate answers and count exact matches, by task and length");
  command->add_option("MODEL", o->model, "Model folder, or run folder (then its settings are the defaults)")
      ->required();
  command
      ->add_option("--task", o->tasks,
                   "bAbI tasks: qa1 qa2 … or qa1,qa2 (default: the run's, else qa1; with --set: the one it is of)")
      ->delimiter(',');
  command
      ->add_option("--length", o->lengths,
                   "0k, 4k, 1M, tokens, 4x: times the trained length, or 50p: pairs (default: the run's, else 0k)")
      ->delimiter(',');
  command->add_option("--samples", o->samples, "Samples per task and length (default: the run's, else 100)")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--set", o->sets, "Evaluation sets to use instead: JSON lists or HDF5 from 'data babilong'");
  command->add_option(
      "--babi", o->babi,
      "simulate, or a folder with bAbI's files, whose test split is used (default: the run's, else simulate)");
  command->add_option("--books", o->books,
                      "A books.h5, a .txt, a folder of .txt, or none (default: the run's, else none)");
  command->add_option("--tokenizer", o->tokenizer, "A tokenizer.json, or a folder with one (default: the model's)");
  command->add_option("--batch-size", o->batch_size, "Samples computed together (default: the run's, else 16)")
      ->check(CLI::Range(1, 100000));
  command
      ->add_option("--max-new-tokens", o->max_new_tokens,
                   "Longest answer (default: the run's, else 12; with --prompts 20)")
      ->check(CLI::Range(1, 100000));
  command->add_option("--seed", o->seed, "Seed of the samples (default: the run's, else 1)")->check(seed_check());
  auto* prompts =
      command->add_option("--prompts", o->prompts,
                          "Prompts around the samples, for instruction models: data/prompts.yaml or a file like it");
  auto* chat = command->add_flag("--chat", o->chat, "With --prompts: put them into the model's chat template");
  chat->needs(prompts);
  command->add_option("--system", o->system, "With --chat: the system message")->needs(chat);
  command->add_option(
      "--output", o->output,
      "Folder for eval.csv, eval.json and answers.csv, or for the files of --layout official; a run's own gets the "
      "figures for TensorBoard, too (default: the table is printed alone)");
  command
      ->add_option("--layout", o->layout,
                   "plain, or official: the CSV and JSON of each task and length that BABILong's "
                   "leaderboard reads ('wavetape score' too)")
      ->check(CLI::IsMember({"plain", "official"}))
      ->capture_default_str();
  command->add_option("--name", o->name, "Configuration in the official files' names (default: the prompt's parts)");
  command->add_option("--plot", o->plot, "SVG to write: accuracy by length, a line for each task");
  command->add_option("--schedule", o->schedule, "auto (streaming; RMT: sequential), sequential, diagonal or streaming")
      ->capture_default_str();
  command->add_option("--dtype", o->dtype, "What to compute in; on a CPU bf16 only rounds the weights")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f64", "bf16"}));
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->add_flag("--show", o->show, "Print every question with the model's answer");
  command->footer(
      "Example:\n  wavetape eval runs/quickstart --length 4x 16x 64x --samples 100 --output results\n"
      "  wavetape eval MODEL --set qa1/0k.json qa1/4k.json --prompts data/prompts.yaml \\\n"
      "    --layout official --output results/org/model --plot accuracy.svg");
  command->callback([o] {
    const ModelLocation location = find_model(o->model, print_notice);
    run(*o, location, resolve(*o, location));
  });
}

}  // namespace wt
