#include "train/eval/evaluation.h"

#include <cstdio>
#include <filesystem>
#include <set>
#include <span>

#include "core/files.h"
#include "core/text.h"
#include "data/babi/stories.h"
#include "train/eval/generate.h"
#include "train/eval/official_results.h"
#include "train/eval/tensorboard_eval.h"
#include "train/metrics.h"
#include "train/models/end_tokens.h"
#include "train/models/model_io.h"
#include "train/notice.h"
#include "train/run/checkpoint.h"
#include "train/run/curriculum.h"
#include "train/run/open_books.h"
#include "train/units.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPromptedNewTokens = 20;              // as BABILong's own script
constexpr std::int64_t kLongSample = std::int64_t{4} << 20;  // bytes: longer ones are read in pieces
constexpr EncodeOptions kPromptText{.add_special_tokens = true};

EvalLength length_of(const std::string& text) {
  try {
    return parse_eval_length(text);
  } catch (const UsageError& error) {
    throw UsageError(cat("--length: ", error.what()));
  }
}

}  // namespace

Evaluation::Evaluation(const EvalRequest& o, EvalSettings settings, const ModelLocation& location, const Stream& stream)
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
  model_ = load_model(location, dtype, stream, WeightUse::kInference, o.reading);
  if (model_->config().vocab_size < tokenizer_.vocab_size()) {
    throw UsageError(cat(s_.data.tokenizer, ": ids up to ", tokenizer_.vocab_size() - 1,
                         ", the model's vocabulary has ", model_->config().vocab_size));
  }
  options_.batch_size = s_.eval.batch_size;
  options_.max_new_tokens = s_.eval.max_new_tokens;
  options_.schedule = choose_eval_schedule(o.schedule, *model_);
}

int Evaluation::run() {
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

// "qa1_4k.json" and "qa1/4k.json", as sets are usually called, say what is in them.
Evaluation::Job Evaluation::job_of_set(const std::string& path) const {
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
  if (o_.tasks.size() == 1) job.task = o_.tasks.front();
  return job;
}

void Evaluation::check_retrieval_request() const {
  if (!s_.data.is_retrieval()) {
    throw UsageError(cat(o_.model, ": not a run of ", kAssociativeRetrieval, ", whose options say what to ask"));
  }
  if (!o_.prompts.empty() || o_.layout == "official") {
    throw UsageError(cat("--prompts and --layout official are for BABILong, not for ", kAssociativeRetrieval));
  }
}

void Evaluation::collect_jobs() {
  for (const std::string& path : o_.sets) jobs_.push_back(job_of_set(path));
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

std::string Evaluation::file_of(const Job& job) const {
  return official_file_name(job.task, job.length,
                            o_.name.empty() ? official_config_name(job.prompt, {o_.chat, o_.system}) : o_.name);
}

EvalOptions Evaluation::options_of(const Job& job, Progress& progress, const StopSignals& signals,
                                   Answers& answers) const {
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
std::vector<std::int32_t> Evaluation::prompted(const Job& job, const std::string& context,
                                               const std::string& question) const {
  const std::string text = format_prompt(job.prompt, context, question);
  return chat_ ? chat_->encode(chat_with(o_.system, text), tokenizer_) : tokenizer_.encode(text, kPromptText);
}

TokenPieces Evaluation::prompted_pieces(const Job& job, const EvalSet& set, std::int64_t i) const {
  const TextPieces text = format_prompt(
      job.prompt, [&] { return set.input(i); }, set.question(i));
  return chat_ ? chat_->pieces(chat_with(o_.system, whole(text)), tokenizer_) : encoded(tokenizer_, kPromptText, text);
}

EvalRow Evaluation::run_set(const Job& job, const StopSignals& signals, Answers& answers) const {
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
  return evaluate(*model_, tokenizer_, end_ids_.front(), set.size(), item, options_of(job, progress, signals, answers));
}

EvalRow Evaluation::run_sampler(const Job& job, const StopSignals& signals, Answers& answers) const {
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
void Evaluation::write_to_tensorboard(const Answers& answers) {
  std::error_code none;
  if (o_.output.empty() || !is_run_folder(o_.model) || !fs::equivalent(o_.output, o_.model, none)) return;
  if (!tensorboard_) tensorboard_.emplace(o_.model);
  write_evaluation(*tensorboard_, rows_.back(), answers, prompts_.has_value(),
                   fs::path(location_.weights).parent_path().filename().string(),
                   CheckpointStore(o_.model, StoreMode::kRead).steps().back());
}

void Evaluation::write_results(const Job& job, const Answers& answers) {
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

void Evaluation::write_official(const Job& job, const Answers& answers) const {
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

}  // namespace wt
