// A model evaluated: tasks and lengths one after the other, with prompts or without, and the files of the results.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "data/babilong.h"
#include "data/chat.h"
#include "data/eval_set.h"
#include "data/pieces.h"
#include "data/tokenizer.h"
#include "layers/model.h"
#include "train/eval/eval_request.h"
#include "train/eval/evaluate.h"
#include "train/eval/prompts.h"
#include "train/eval/result_files.h"
#include "train/models/model_location.h"
#include "train/progress.h"
#include "train/run/tensorboard.h"
#include "train/signals.h"

namespace wt {

class Evaluation {
 public:
  // Loads tokenizer and model; what can be wrong with the request is said before the model is loaded. Request, location
  // and stream must outlive this. Throws UsageError (a request that does not fit), Error (files).
  Evaluation(const EvalRequest& request, EvalSettings settings, const ModelLocation& location, const Stream& stream);

  // One job after the other. What is done is on disk when the next begins: neither a signal nor an error loses it.
  // Returns the signal that came before the end, or 0. Throws NotFinite, UsageError, Error.
  int run();

  // Of the jobs that are done.
  const std::vector<EvalRow>& rows() const { return rows_; }

 private:
  // One task at one length: a set, or samples made as they are asked for.
  struct Job {
    std::string task, length, set;  // task "" where a set's name does not say it
    TaskPrompt prompt;              // with --prompts
  };
  using Answers = std::vector<EvalAnswer>;

  Job job_of_set(const std::string& path) const;
  void collect_jobs();
  void check_retrieval_request() const;
  std::string file_of(const Job& job) const;

  EvalOptions options_of(const Job& job, Progress& progress, const StopSignals& signals, Answers& answers) const;
  std::vector<std::int32_t> prompted(const Job& job, const std::string& context, const std::string& question) const;
  TokenPieces prompted_pieces(const Job& job, const EvalSet& set, std::int64_t i) const;
  EvalRow run_set(const Job& job, const StopSignals& signals, Answers& answers) const;
  EvalRow run_sampler(const Job& job, const StopSignals& signals, Answers& answers) const;

  void write_to_tensorboard(const Answers& answers);
  void write_results(const Job& job, const Answers& answers);
  void write_official(const Job& job, const Answers& answers) const;

  const EvalRequest& o_;
  EvalSettings s_;
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

}  // namespace wt
