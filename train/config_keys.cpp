// Every key of a configuration: where its value lives, what is allowed, what it means.
#include "layers/families/family.h"
#include "train/config.h"

namespace wt {
namespace {

Range count() {
  return count_from(0);
}
Range positive() {
  return count_from(1);
}
Range share() {
  return from_to(0, 1);
}

const std::vector<std::pair<std::string, LrSchedule>> kLrSchedules = {
    {"constant", LrSchedule::kConstant}, {"linear", LrSchedule::kLinear}, {"cosine", LrSchedule::kCosine}};

void describe(Fields& f, SeedConfig& c) {
  f.integer("weights", c.weights, at_least(0), "Initial weights");
  f.integer("data", c.data, at_least(0), "Stories, background and their order");
  f.integer("dropout", c.dropout, at_least(0), "Dropout masks");
}

void describe(Fields& f, RunSettings& c) {
  f.text("dir", c.dir, "Folder for checkpoints, metrics and the log", Presence::kRequired);
  f.choice<std::string>("device", c.device, {{"auto", "auto"}, {"cpu", "cpu"}, {"cuda", "cuda"}}, "Where to compute");
  f.choice<DType>("dtype", c.dtype, {{"f32", DType::kF32}, {"f64", DType::kF64}, {"bf16", DType::kBF16}},
                  "Type of activations and GEMM inputs; master weights, gradients and memory stay f32 under bf16");
  f.integer("threads", c.threads, from_to(0, 4096), "CPU threads, 0 for one per core; results do not depend on it");
}

const char* const kNoStories = "is for bAbI's tasks: associative_retrieval has no stories, no books, its own tokenizer";

void describe(Fields& f, RetrievalOptions& c) {
  f.integer("key_length", c.key_length, from_to(1, 60), "Symbols of a key");
  f.integer("value_length", c.value_length, from_to(1, 1000), "Symbols of a value");
  f.text("key_alphabet", c.key_alphabet, "Symbols that keys are made of");
  f.text("value_alphabet", c.value_alphabet, "Symbols that values are made of");
  f.boolean("rewrite", c.rewrite, "Keys may come again with another value; the last one counts");
  f.integer("pairs_per_segment", c.pairs_per_segment, positive(),
            "Pairs in a segment; a stage's segments hold pairs, the question comes in one more");
}

void describe_stories(Fields& f, DataConfig& c) {
  f.text("babi", c.babi, "simulate, or a folder with bAbI's files");
  f.text("books", c.books,
         "A books.h5, a .txt, a folder of .txt (tokenised once, kept in ~/.cache/wavetape or $WAVETAPE_CACHE), or none "
         "for stories without background",
         Presence::kRequired);
  f.text("tokenizer", c.tokenizer, "A tokenizer.json, or a folder with one or with GPT-2's files", Presence::kRequired);
  f.real("inline_question_rate", c.inline_question_rate, share(), "Chance of a question, answered at once, per fact");
  f.boolean("ask_everyone", c.ask_everyone, "Ask about every known person before the last question");
  f.integer("min_facts", c.min_facts, count(), "Samples with fewer facts are left out, 0 for no limit");
  f.integer("max_facts", c.max_facts, count(), "Samples with more facts are left out, 0 for no limit");
  f.real("background_ratio", c.background_ratio, share(), "Share of samples with book text between the facts");
  f.integer("min_sentence_len", c.min_sentence_len, count(), "Shorter book sentences (in tokens) are skipped");
  f.integer("max_sentence_len", c.max_sentence_len, count(), "Longer book sentences are skipped, 0 for no limit");
  f.real("task_start_pct", c.task_start_pct, share(), "Facts stand only from this share of the sample on");
  f.real("task_end_pct", c.task_end_pct, share(), "Facts stand only before this share of the sample");
  f.integer("length_jitter", c.length_jitter, count(),
            "Samples are shorter by up to this many tokens, so that the question stands anywhere in the last segment");
  f.real("holdout_pct", c.holdout_pct, from_to_below(0, 1),
         "Share of the books kept for validation and test: the end of each, whole ones of short texts");
}

void describe(Fields& f, DataConfig& c) {
  f.weights("task", c.task,
            "bAbI tasks, qa1 to qa20; with several, each sample's is drawn by weight. Or associative_retrieval");
  if (c.is_retrieval()) {
    f.excluded([&](Fields& g) { describe_stories(g, c); }, kNoStories);
  } else {
    describe_stories(f, c);
  }
  f.optional_group("retrieval", c.has_retrieval, "associative_retrieval: keys with values, then a key",
                   [&](Fields& g) { describe(g, c.retrieval); });
  f.real("mixed_length_ratio", c.mixed_length_ratio, share(), "Chance that a batch has the stage's full length");
  f.integer("loader_threads", c.loader_threads, from_to(0, 256),
            "Threads that prepare batches; the stream is the same");
}

void describe(Fields& f, OptimizerConfig& c) {
  f.real("lr", c.lr, above(0), "Highest learning rate");
  f.real("beta1", c.beta1, from_to_below(0, 1), "Decay of the mean gradient");
  f.real("beta2", c.beta2, from_to_below(0, 1), "Decay of the mean squared gradient");
  f.real("eps", c.eps, above(0), "Added to the root of the mean square");
  f.real("weight_decay", c.weight_decay, at_least(0), "Decoupled decay, times lr; none on norms, biases, memory");
}

void describe_stage_stories(Fields& f, StageConfig& c) {
  f.real("inline_question_rate", c.inline_question_rate, share(), "Like data.inline_question_rate");
  f.boolean("ask_everyone", c.ask_everyone, "Like data.ask_everyone");
  f.integer("min_facts", c.min_facts, count(), "Like data.min_facts");
  f.integer("max_facts", c.max_facts, count(), "Like data.max_facts");
  f.real("background_ratio", c.background_ratio, share(), "Like data.background_ratio");
  f.real("task_start_pct", c.task_start_pct, share(), "Like data.task_start_pct");
  f.real("task_end_pct", c.task_end_pct, share(), "Like data.task_end_pct");
  f.integer("length_jitter", c.length_jitter, count(), "Like data.length_jitter");
}

void describe(Fields& f, StageConfig& c, bool is_retrieval) {
  f.text("name", c.name, "Shown in the log");
  f.integers("segments", c.segments, from_to(1, 1e6), "Segments of a sample; one of these is drawn for each batch");
  f.boolean("vary_n_segments", c.vary_n_segments, "Draw from 1 to the largest of segments instead");
  f.integer("steps", c.steps, positive(), "Optimizer steps at most", Presence::kRequired);
  f.integer("batch_size", c.batch_size, positive(), "Like train.batch_size");
  f.real("lr", c.lr, above(0), "Like train.optimizer.lr");
  f.choice<LrSchedule>("lr_schedule", c.lr_schedule, kLrSchedules, "Like train.lr_schedule");
  f.real("warmup", c.warmup, at_least(0), "Like train.warmup");
  f.real("min_lr_ratio", c.min_lr_ratio, share(), "Like train.min_lr_ratio");
  if (is_retrieval) {
    f.excluded([&](Fields& g) { describe_stage_stories(g, c); }, kNoStories);
  } else {
    describe_stage_stories(f, c);
  }
  f.real("mixed_length_ratio", c.mixed_length_ratio, share(), "Like data.mixed_length_ratio");
  f.choice<StopMetric>("stop_metric", c.stop_metric,
                       {{"exact_match", StopMetric::kExactMatch}, {"loss", StopMetric::kLoss}},
                       "Validation figure that ends the stage early");
  f.real("stop_at", c.stop_at, at_least(0),
         "The stage ends when the figure is this good; a loss of 0 never is: the stage takes all its steps");
  f.integer("validation_samples", c.validation_samples, positive(), "Like train.validation_samples");
  f.integer("validation_tokens", c.validation_tokens, from_to(0, 1e12), "Like train.validation_tokens");
  f.choice<StartFrom>("start_from", c.start_from, {{"best", StartFrom::kBest}, {"last", StartFrom::kLast}},
                      "Which weights of the stage before to go on from");
  f.boolean("reset_optimizer", c.reset_optimizer, "Like train.reset_optimizer");
}

StageConfig inherited_stage(const Config& c) {
  StageConfig stage;
  static_cast<SampleConfig&>(stage) = c.data;
  if (!c.data.has_books()) stage.background_ratio = 0;
  stage.batch_size = c.train.batch_size;
  stage.lr = c.train.optimizer.lr;
  stage.lr_schedule = c.train.lr_schedule;
  stage.warmup = c.train.warmup;
  stage.min_lr_ratio = c.train.min_lr_ratio;
  stage.validation_samples = c.train.validation_samples;
  stage.validation_tokens = c.train.validation_tokens;
  stage.reset_optimizer = c.train.reset_optimizer;
  return stage;
}

void describe_train(Fields& f, Config& config) {
  TrainConfig& c = config.train;
  f.integer("batch_size", c.batch_size, positive(), "Samples computed together");
  f.integer("grad_accumulation", c.grad_accumulation, positive(), "Batches per optimizer step");
  f.choice<Schedule>(
      "wave_schedule", c.wave_schedule,
      {{"diagonal", Schedule::kDiagonal}, {"sequential", Schedule::kSequential}, {"streaming", Schedule::kStreaming}},
      "Which cells run together; results agree to rounding. RMT has only sequential, its default");
  f.choice<Activations>(
      "activations", c.activations,
      {{"keep", Activations::kKeep}, {"recompute", Activations::kRecompute}, {"auto", Activations::kAuto}},
      "Keep every wave's activations for backward, compute them again, or keep as many as fit");
  f.integer("k2", c.k2, count(), "Segments between cuts of the gradient through memory, 0 for none");
  f.real("clip_norm", c.clip_norm, at_least(0), "Largest gradient norm, 0 for no limit");
  f.real("clip_value", c.clip_value, at_least(0), "Largest gradient element, 0 for no limit");
  f.group("optimizer", "AdamW", [&](Fields& g) { describe(g, c.optimizer); });
  f.choice<LrSchedule>("lr_schedule", c.lr_schedule, kLrSchedules, "Learning rate over a stage, after the warm-up");
  f.real("warmup", c.warmup, at_least(0), "Steps of rising learning rate; below 1, a share of the stage's steps");
  f.real("min_lr_ratio", c.min_lr_ratio, share(), "Where the schedule ends, as a share of lr");
  f.boolean("reset_optimizer", c.reset_optimizer, "A stage starts with empty AdamW moments, not with the last one's");
  f.integer("log_every", c.log_every, positive(), "Steps between lines");
  f.integer("validate_every", c.validate_every, count(), "Steps between validations, 0 for stage ends only");
  f.integer("validation_samples", c.validation_samples, positive(), "Samples of a validation");
  f.integer("validation_tokens", c.validation_tokens, from_to(0, 1e12),
            "Tokens of a validation at most, but one sample at least; 0 for no limit");
  f.integer("early_stopping_patience", c.early_stopping_patience, count(),
            "Validations without a new best that end a stage, 0 for no such limit");
  f.integer("checkpoint_every", c.checkpoint_every, count(), "Steps between checkpoints, 0 for stage ends only");
  f.integer("keep_checkpoints", c.keep_checkpoints, positive(), "Newest checkpoints kept, the best one beside them");
  f.integer("max_skipped", c.max_skipped, count(),
            "Steps in a row without a finite loss and gradient that end the run, 0 for no such limit");
  f.texts("freeze", c.freeze, "Tensors to leave as they are, by published name; * stands for any text");
  f.groups<StageConfig>(
      "stages", c.stages, inherited_stage(config), "The curriculum",
      [retrieval = config.data.is_retrieval()](Fields& g, StageConfig& stage) { describe(g, stage, retrieval); });
}

void describe(Fields& f, EvalConfig& c) {
  f.texts("tasks", c.tasks, "bAbI tasks, none for those of data.task");
  f.texts("lengths", c.lengths, "Tokens (0k, 4k, 1M), pairs (50p), or multiples of the trained length (4x)");
  f.integer("samples", c.samples, positive(), "Samples per task and length");
  f.integer("max_new_tokens", c.max_new_tokens, positive(), "Longest answer");
  f.integer("batch_size", c.batch_size, positive(), "Samples computed together");
}

}  // namespace

void describe(Fields& f, ModelConfig& c, std::string& from) {
  f.text("from", from, "A model or run folder to start from; its sizes then hold");
  if (from.empty()) {
    describe_architecture(f, c);
  } else {
    f.excluded([&](Fields& g) { describe_architecture(g, c); }, "comes from the model.from folder; leave it out here");
  }
  f.real("dropout", c.dropout, from_to_below(0, 1), "Rate for embeddings, attention and residuals");
  f.optional_group("armt", c.armt, "Associative recurrent memory; without armt and rmt, a plain backbone");
  f.optional_group("rmt", c.rmt, "Recurrent memory: rows carried from segment to segment");
  f.integer("window", c.window, count(),
            "Plain backbone: of longer texts only the last so many tokens are read, 0: all");
  f.integer("segment_size", c.own_segment_size, count(),
            "Without armt and rmt: tokens that are read at once, 0: 1024 where the layers carry what a text was "
            "(mamba2, attention of span text), else all; a llama with it attends all of its text");
  if (from.empty()) family_of(c).fix(c);
  f.optional_group("lora", c.lora, "Low-rank adapters; with them only they and the memory train");
}

void describe(Fields& f, Config& c) {
  f.group("seed", "Seeds", [&](Fields& g) { describe(g, c.seed); });
  f.group("run", "Where and how to run", [&](Fields& g) { describe(g, c.run); });
  f.group("model", "The model", [&](Fields& g) { describe(g, c.model, c.model_from); });
  f.group("data", "The samples", [&](Fields& g) { describe(g, c.data); });
  f.group("train", "The training", [&](Fields& g) { describe_train(g, c); });
  f.group("eval", "Evaluation after training", [&](Fields& g) { describe(g, c.eval); });
}

}  // namespace wt
