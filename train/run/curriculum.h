// The training data of a run's stages, as a pure function of the configuration. Each sample's task is drawn by weight
// from the data seed and the sample's number alone, so that a resumed run goes on with the same tasks; and which of the
// task's samples it is, by how many of the task came before: of files, all are shown once before one is shown again.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "data/associative_retrieval.h"
#include "data/babilong.h"
#include "data/loader.h"
#include "schedulers/language_model.h"
#include "train/config.h"
#include "train/run/task_mixture.h"

namespace wt {

class Curriculum {
 public:
  // `model` gives the segment size. Opens stories and books. Throws UsageError (with the key's place) or Error.
  Curriculum(const Config& config, const ModelConfig& model, const Tokenizer& tokenizer,
             std::shared_ptr<const BookText> books);

  // Where only a small share of the stories is what a stage asks for: a line each.
  const std::vector<std::string>& notices() const { return notices_; }

  // Micro-batch `index` of a stage, counted from 0 in each stage. The number of segments is drawn once per batch, so
  // that no sample of it waits for a longer one; samples never come back in a later stage. `offset` is added to their
  // numbers. `before_sample` is asked before each, and may throw.
  TokenBatch train_batch(std::size_t stage, std::uint64_t index, std::int64_t offset = 0,
                         const std::function<void()>& before_sample = {}) const;
  // Samples of a stage's validation: its validation_samples, or as many as have no more than validation_tokens tokens.
  std::int64_t num_validation_samples(std::size_t stage) const { return stages_[stage].num_validation_samples; }
  // These samples, at the stage's full length with the last question only: batch `index` of them in pieces of the
  // stage's batch size. Empty behind the last.
  TokenBatch validation_batch(std::size_t stage, std::int64_t index) const;

 private:
  // A sample's tokens and mask, cut to the model's window.
  struct Sample {
    std::vector<std::int32_t> tokens;
    std::vector<std::uint8_t> mask;
  };
  // A task's samples in a number of segments.
  struct Source {
    std::function<Sample(std::uint64_t index)> draw;
    std::uint64_t size = 0;         // before they repeat; 0: without end
    double accepted_share = 1;      // of the stories
    std::uint64_t first_index = 0;  // of the stage's first sample of the task
  };
  // Up to where a task's samples are used by the stages so far.
  struct Used {
    std::uint64_t size = 0;  // of the source, at the last stage's full length
    std::uint64_t next = 0;  // index
  };
  struct Stage {
    std::vector<std::int64_t> segments;      // the numbers to draw from, rising
    std::vector<std::vector<Source>> train;  // for each of them, one per task
    std::vector<Source> validation;          // one per task
    std::int64_t num_validation_samples = 0;
    std::uint64_t first_sample = 0;
    std::vector<std::uint64_t> first_ranks;  // of each task: its samples in the stages before
  };
  BabilongConfig stage_config(const std::string& task, const StageConfig& stage, std::int64_t segments) const;
  Source make_source(const std::string& task, std::size_t stage, std::int64_t segments, Split split) const;
  void add_stage(std::size_t number, std::uint64_t first_sample, std::vector<Used>& used);
  void append_sample(TokenBatch& batch, Sample sample) const;
  const Config& config_;
  ModelConfig model_;
  Tokenizer tokenizer_;
  std::shared_ptr<const BookText> books_;
  TaskMixture mixture_;
  std::vector<Stage> stages_;
  std::vector<std::string> notices_;
};

// The sampler for evaluating associative retrieval: `length` in pairs ("50p") or in trained lengths ("4x", of
// `trained_segments` segments of pairs). Segments are filled up for a model with memory. Throws UsageError.
RetrievalSampler make_test_retrieval(const DataConfig& data, std::uint64_t seed, const ModelConfig& model,
                                     const std::string& length, std::int64_t trained_segments);

// The sampler for evaluation, of samples that no training has seen: `length` in tokens ("4k") or in trained lengths
// ("16x", of `trained_segments` segments of `segment_size` tokens). `reserved` tokens are left for a prompt around the
// sample, which `end_id` ends (-1: find_end_token()): a length without room for them is a UsageError; 0k has facts
// alone all the same.
BabilongSampler make_test_sampler(const DataConfig& data, std::uint64_t seed, const Tokenizer& tokenizer,
                                  std::int32_t end_id, std::shared_ptr<const BookText> books, const std::string& task,
                                  const std::string& length, std::int64_t segment_size, std::int64_t trained_segments,
                                  std::int64_t reserved = 0);

}  // namespace wt
