// A run's whole configuration, from one YAML file and key=value overrides. Keys, defaults, ranges and their meaning are
// listed once, in config_keys.cpp; `wavetape info --config-reference` prints them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "core/dtype.h"
#include "data/associative_retrieval.h"
#include "layers/model_config.h"
#include "schedulers/plan.h"
#include "train/fields.h"

namespace wt {

// Every kind of chance has a seed of its own: another data seed leaves the initial weights as they were.
struct SeedConfig {
  std::int64_t weights = 1;
  std::int64_t data = 1;
  std::int64_t dropout = 1;
};

struct RunSettings {
  std::string dir;
  std::string device = "auto";  // auto, cpu, cuda
  DType dtype = DType::kF32;    // f32, f64, bf16
  std::int64_t threads = 0;     // 0: one per core
};

// What samples are like, in `data` and, where a stage says so, in that stage.
struct SampleConfig {
  double inline_question_rate = 0;
  bool ask_everyone = false;
  std::int64_t min_facts = 0;
  std::int64_t max_facts = 0;
  double background_ratio = 1;
  double task_start_pct = 0;
  double task_end_pct = 1;
  double mixed_length_ratio = 0;
  std::int64_t length_jitter = 0;
};

struct DataConfig : SampleConfig {
  std::vector<WeightedName> task{{"qa1", 1}};  // drawn for every sample of training and validation, by weight
  std::string babi = "simulate";               // or a folder with bAbI's files
  std::string books;                           // a books.h5, a .txt, a folder of .txt, or "none"
  std::string tokenizer;                       // tokenizer.json, or a folder that holds one
  std::int64_t min_sentence_len = 10;
  std::int64_t max_sentence_len = 0;
  double holdout_pct = 0.1;
  std::int64_t loader_threads = 1;
  bool has_retrieval = false;  // whether the group is there; without it the options are the defaults
  RetrievalOptions retrieval;  // of the task associative_retrieval

  bool is_retrieval() const { return task.size() == 1 && task.front().name == kAssociativeRetrieval; }
  bool has_books() const { return books != "none" && !is_retrieval(); }
  std::vector<std::string> tasks() const;
};

enum class LrSchedule : std::uint8_t { kConstant, kLinear, kCosine };
enum class StopMetric : std::uint8_t { kExactMatch, kLoss };
enum class StartFrom : std::uint8_t { kBest, kLast };

struct OptimizerConfig {  // AdamW
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.01;
};

// One step of the curriculum. Keys that a stage leaves out have the values of `train` and `data`.
struct StageConfig : SampleConfig {
  std::string name;
  std::vector<std::int64_t> segments{1};  // a sample's number of segments is drawn from these
  bool vary_n_segments = false;           // 1 ... the largest of `segments`
  std::int64_t steps = 0;
  std::int64_t batch_size = 0;
  double lr = 0;
  LrSchedule lr_schedule = LrSchedule::kConstant;
  double warmup = 0;
  double min_lr_ratio = 0;
  StopMetric stop_metric = StopMetric::kExactMatch;
  double stop_at = 1;
  std::int64_t validation_samples = 0;
  std::int64_t validation_tokens = 0;
  StartFrom start_from = StartFrom::kBest;
  bool reset_optimizer = true;

  std::int64_t max_segments() const;
  // `warmup` in steps: itself from 1 on, a share of the stage's steps below.
  std::int64_t warmup_steps() const;
};

struct TrainConfig {
  std::int64_t batch_size = 32;
  std::int64_t grad_accumulation = 1;
  Schedule wave_schedule = Schedule::kDiagonal;
  Activations activations = Activations::kKeep;
  std::int64_t k2 = 0;
  double clip_norm = 1;
  double clip_value = 0;
  OptimizerConfig optimizer;
  LrSchedule lr_schedule = LrSchedule::kLinear;
  double warmup = 0.1;
  double min_lr_ratio = 0;
  bool reset_optimizer = true;
  std::int64_t log_every = 10;
  std::int64_t validate_every = 100;
  std::int64_t validation_samples = 200;
  std::int64_t validation_tokens = 0;
  std::int64_t early_stopping_patience = 0;
  std::int64_t checkpoint_every = 100;
  std::int64_t keep_checkpoints = 2;
  std::int64_t max_skipped = 20;
  std::vector<std::string> freeze;  // patterns of published names (train/run/freeze.h)
  std::vector<StageConfig> stages;

  std::int64_t total_steps() const;
  // Whether a validation before the stage's last step can end it.
  bool may_end_early(const StageConfig& stage) const;
  // The number of a stage's first training sample: stages share none.
  std::int64_t first_sample(std::size_t stage) const;
};

struct EvalConfig {
  std::vector<std::string> tasks;    // none: all of data.task
  std::vector<std::string> lengths;  // "0k", "4k", "1M" in tokens, "50p" pairs, or "4x" times the longest trained
  std::int64_t samples = 100;
  std::int64_t max_new_tokens = 12;  // a list of all objects (qa8) has 10 of the own tokenizer
  std::int64_t batch_size = 16;
};

// A length of EvalConfig: tokens, pairs (associative retrieval), or a multiple of the trained length.
struct EvalLength {
  bool is_multiple = false;
  bool is_pairs = false;
  std::int64_t amount = 0;  // tokens (k = 1000, M = 1000000), pairs, or the multiple
};
// Throws UsageError, without a place, for any other text.
EvalLength parse_eval_length(const std::string& text);

struct Config {
  SeedConfig seed;
  RunSettings run;
  // A model folder or run folder to start from; `model` then holds dropout, adapters and, if has_memory(), the memory
  // to add.
  std::string model_from;
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  EvalConfig eval;
  Places places;  // for later checks: config.places.fail("data.books", "...")
};

// The keys of everything, in the file's order.
void describe(Fields& fields, Config& config);
// The keys of a model: shared by config_keys.cpp and others that read or show one.
void describe(Fields& fields, ModelConfig& model, std::string& from);

// Reads the file, applies the overrides in order, checks every key and that they fit together. Throws UsageError, which
// names the override without which all were right.
Config load_config(const std::string& path, const std::vector<std::string>& overrides = {});
Config parse_config(const std::string& text, const std::string& name, const std::vector<std::string>& overrides = {});
// The same from a tree of keys.
Config config_of(const YamlNode& root, const std::vector<std::string>& overrides = {});

// All keys with their values, but in a stage those that it has from elsewhere; loading it gives an equal configuration.
std::string config_yaml(const Config& config);
// All keys that have a value, stages whole.
std::vector<FieldValue> config_values(const Config& config);
// All keys with their meaning, what is allowed, and their defaults.
std::string config_reference();

// ~/x, which a shell leaves in key=~/x, as the path it stands for. Throws UsageError with the key's place for ~name.
void expand_home(const Places& places, const char* key, std::string& path);

// Whether keys fit together. Throws UsageError with a key's place.
void check_config(const Config& config);

// Throws UsageError with the key's place where data.babi or data.books names what is not there.
void check_data_files(const Config& config, bool babi = true, bool books = true);

// RMT runs on the sequential schedule: sets it where the configuration says nothing, and throws UsageError, with the
// key's place, where it says another.
void fit_schedule(Config& config, const ModelConfig& model);

}  // namespace wt
