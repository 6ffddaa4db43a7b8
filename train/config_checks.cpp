// What single keys cannot know: whether they fit together, and what there is on disk.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "data/babi/stories.h"
#include "data/inline_questions.h"
#include "train/config.h"

namespace wt {
namespace {

bool is_task(const std::string& task) {
  const std::vector<std::string> tasks = babi_tasks();
  return std::find(tasks.begin(), tasks.end(), task) != tasks.end();
}

void check_retrieval_run(const Config& c) {
  const Places& places = c.places;
  check_retrieval(c.data.retrieval,
                  [&](const std::string& key, const std::string& what) { places.fail("data.retrieval." + key, what); });
  if (c.eval.max_new_tokens <= c.data.retrieval.value_length) {
    places.fail("eval.max_new_tokens", cat("is ", c.eval.max_new_tokens, ", an answer with its end has ",
                                           c.data.retrieval.value_length + 1, " tokens"));
  }
  for (std::size_t i = 0; i < c.eval.tasks.size(); ++i) {
    if (c.eval.tasks[i] != kAssociativeRetrieval) {
      places.fail(cat("eval.tasks.", i), cat("is '", c.eval.tasks[i], "', but data.task is ", kAssociativeRetrieval));
    }
  }
}

void check_tasks(const Places& places, const std::vector<std::string>& tasks) {
  if (tasks == std::vector<std::string>{std::string(kAssociativeRetrieval)}) return;
  if (std::find(tasks.begin(), tasks.end(), kAssociativeRetrieval) != tasks.end()) {
    places.fail("data.task", cat("mixes ", kAssociativeRetrieval, " with others: it has a tokenizer of its own"));
  }
  if (tasks.empty()) places.fail("data.task", "is empty, expected qa1 to qa20");
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (!is_task(tasks[i]))
      places.fail("data.task", cat("is '", tasks[i], "', expected qa1 to qa20 or associative_retrieval"));
    if (std::find(tasks.begin(), tasks.begin() + static_cast<std::ptrdiff_t>(i), tasks[i]) !=
        tasks.begin() + static_cast<std::ptrdiff_t>(i)) {
      places.fail("data.task", cat("has ", tasks[i], " twice, expected a weight: {", tasks[i], ": 2}"));
    }
  }
}

// How many facts a sample has and where they stand, in `data` or in a stage.
void check_facts(const Places& places, const std::string& path, const SampleConfig& c) {
  if (c.max_facts > 0 && c.min_facts > c.max_facts) {
    places.fail(path + ".min_facts", cat("is ", c.min_facts, ", above max_facts ", c.max_facts));
  }
  if (c.task_start_pct >= c.task_end_pct) {
    places.fail(path + ".task_start_pct",
                cat("is ", c.task_start_pct, ", expected below task_end_pct ", c.task_end_pct));
  }
}

// Questions between the facts are asked where a rule answers them.
void check_known_questions(const Places& places, const std::string& path, const SampleConfig& c,
                           const std::vector<std::string>& tasks) {
  if (std::any_of(tasks.begin(), tasks.end(), has_known_questions)) return;
  constexpr const char* kWhy = ", but such questions have known answers in qa1 alone, and data.task has none of it: ";
  if (c.inline_question_rate > 0) {
    places.fail(path + ".inline_question_rate",
                cat("is ", c.inline_question_rate, kWhy, "0 here and in data.inline_question_rate"));
  }
  if (c.ask_everyone) places.fail(path + ".ask_everyone", cat("is true", kWhy, "false here and in data.ask_everyone"));
}

}  // namespace

void check_config(const Config& c) {
  const Places& places = c.places;
  if (c.model.lora && c.model.lora->targets.empty()) {
    places.fail("model.lora.targets", "is missing or empty, expected modules, such as [q_proj, v_proj]");
  }
  if (c.model_from.empty()) {
    check_model(c.model, [&](const std::string& key, const std::string& what) { places.fail("model." + key, what); });
  }
  if (c.run.dir.empty()) places.fail("run.dir", "is empty, expected a folder's name");
  check_tasks(places, c.data.tasks());
  if (c.data.babi.empty()) places.fail("data.babi", "is empty, expected simulate or a folder");
  const bool retrieval = c.data.is_retrieval();
  if (retrieval) check_retrieval_run(c);
  if (!retrieval && c.data.has_retrieval) {
    places.fail("data.retrieval", cat("is for data.task: ", kAssociativeRetrieval));
  }
  if (!retrieval && c.data.books.empty()) places.fail("data.books", "is empty, expected a file, a folder or none");
  if (!retrieval && c.data.tokenizer.empty()) places.fail("data.tokenizer", "is empty, expected a file or a folder");
  if (c.data.max_sentence_len > 0 && c.data.min_sentence_len > c.data.max_sentence_len) {
    places.fail("data.min_sentence_len",
                cat("is ", c.data.min_sentence_len, ", above max_sentence_len ", c.data.max_sentence_len));
  }
  check_facts(places, "data", c.data);

  if (c.model.armt && c.model.rmt) places.fail("model.rmt", "is there beside model.armt: choose one memory");
  if (c.model.has_memory() && c.model.window > 0) {
    places.fail("model.window", "is for a plain backbone: a model with memory reads everything, by segments");
  }
  if (c.train.k2 > 0 && c.model_from.empty() && !c.model.recurrent()) {
    places.fail("train.k2",
                "cuts the gradient through memory, but neither model.armt nor model.rmt is there, nor do "
                "the layers carry a state (model.segment_size)");
  }
  for (std::size_t i = 0; i < c.train.stages.size(); ++i) {
    const StageConfig& stage = c.train.stages[i];
    const std::string path = cat("train.stages.", i);
    if (stage.segments.empty()) places.fail(path + ".segments", "is an empty list, expected at least one number");
    const bool reads_on = c.model.recurrent() || c.model.window > 0 || retrieval;
    if (stage.max_segments() > 1 && c.model_from.empty() && !reads_on) {
      places.fail(path + ".segments",
                  "a model without model.armt, model.rmt, model.segment_size or model.window reads one segment only");
    }
    if (stage.warmup >= 1 && stage.warmup != std::floor(stage.warmup)) {
      places.fail(path + ".warmup", cat("is ", stage.warmup, ", expected whole steps, or a share below 1"));
    }
    if (stage.warmup_steps() > stage.steps) {
      places.fail(path + ".warmup", cat("is ", stage.warmup, ", more than the stage's ", stage.steps, " steps"));
    }
    if (!retrieval && !c.data.has_books() && stage.background_ratio > 0) {
      places.fail(path + ".background_ratio", cat("is ", stage.background_ratio, ", but data.books is none"));
    }
    check_facts(places, path, stage);
    if (!retrieval) check_known_questions(places, path, stage, c.data.tasks());
    if (stage.stop_metric == StopMetric::kExactMatch && stage.stop_at > 1) {
      places.fail(path + ".stop_at", cat("is ", stage.stop_at, ", but an exact match is at most 1"));
    }
  }
  for (std::size_t i = 0; i < c.eval.tasks.size(); ++i) {
    if (!retrieval && !is_task(c.eval.tasks[i])) {
      places.fail(cat("eval.tasks.", i), cat("is '", c.eval.tasks[i], "', expected qa1 to qa20"));
    }
  }
  for (std::size_t i = 0; i < c.eval.lengths.size(); ++i) {
    const std::string path = cat("eval.lengths.", i);
    EvalLength length;
    try {
      length = parse_eval_length(c.eval.lengths[i]);
    } catch (const UsageError& error) {
      places.fail(path, error.what());
    }
    if (retrieval && !length.is_pairs && !length.is_multiple) {
      places.fail(path, cat("is '", c.eval.lengths[i], "', expected pairs (50p) or a multiple (4x)"));
    }
    if (!retrieval && length.is_pairs) {
      places.fail(path, cat("is '", c.eval.lengths[i], "': pairs are for data.task: ", kAssociativeRetrieval));
    }
    if (!retrieval && !c.data.has_books() && length.amount > 0) {
      places.fail(path, cat("is '", c.eval.lengths[i], "', but data.books is none: only 0k needs no background"));
    }
  }
}

void check_data_files(const Config& config, bool babi, bool books) {
  const auto check = [&](const char* key, const std::string& path, const char* expected) {
    if (std::error_code error; !std::filesystem::exists(path, error)) {
      config.places.fail(key, cat("is '", path, "', and there is no such file or folder; ", expected));
    }
  };
  if (config.data.is_retrieval()) return;
  if (babi && config.data.babi != "simulate")
    check("data.babi", config.data.babi, "expected a folder with bAbI's files, or simulate");
  if (books && config.data.has_books()) {
    check("data.books", config.data.books,
          "data.books=DIR names a folder of .txt, and 'wavetape data books' makes a file of one");
  }
}

void fit_schedule(Config& config, const ModelConfig& model) {
  Schedule& schedule = config.train.wave_schedule;
  if (!model.rmt || schedule == Schedule::kSequential) return;
  if (config.places.has("train.wave_schedule")) {
    config.places.fail("train.wave_schedule", why_sequential(name_of(schedule)));
  }
  schedule = Schedule::kSequential;
}

}  // namespace wt
