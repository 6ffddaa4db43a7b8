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
  if (c.model.has_lora && c.model.lora.targets.empty()) {
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

  if (c.model.has_armt && c.model.has_rmt) places.fail("model.rmt", "is there beside model.armt: choose one memory");
  if (c.model.has_memory() && c.model.window > 0) {
    places.fail("model.window", "is for a plain backbone: a model with memory reads everything, by segments");
  }
  if (c.train.k2 > 0 && c.model_from.empty() && !c.model.has_memory()) {
    places.fail("train.k2", "cuts the gradient through memory, but neither model.armt nor model.rmt is there");
  }
  for (std::size_t i = 0; i < c.train.stages.size(); ++i) {
    const StageConfig& stage = c.train.stages[i];
    const std::string path = cat("train.stages.", i);
    if (stage.segments.empty()) places.fail(path + ".segments", "is an empty list, expected at least one number");
    const bool reads_on = c.model.has_memory() || c.model.window > 0 || retrieval;
    if (stage.max_segments() > 1 && c.model_from.empty() && !reads_on) {
      places.fail(path + ".segments", "a model without model.armt, model.rmt or model.window reads one segment only");
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
  if (!model.has_rmt || schedule == Schedule::kSequential) return;
  if (config.places.has("train.wave_schedule")) {
    config.places.fail("train.wave_schedule", why_sequential(name_of(schedule)));
  }
  schedule = Schedule::kSequential;
}

void check_model(const ModelConfig& m, const std::function<void(const std::string&, const std::string&)>& fail) {
  if (m.hidden_size < 1) fail("hidden_size", "is missing");
  if (m.num_layers < 1) fail("num_layers", "is missing");
  if (m.num_heads < 1) fail("num_heads", "is missing");
  // Beyond every model there is, and small enough that no product of them overflows.
  const struct {
    const char* key;
    std::int64_t value, most;
  } sizes[] = {{"hidden_size", m.hidden_size, 1 << 20},
               {"intermediate_size", m.intermediate_size, 1 << 24},
               {"num_layers", m.num_layers, 10'000},
               {"num_heads", m.num_heads, 1 << 16},
               {"num_kv_heads", m.num_kv_heads, 1 << 16},
               {"head_dim", m.head_dim, 1 << 16},
               {"vocab_size", m.vocab_size, 1 << 26},
               {"max_positions", m.max_positions, std::int64_t{1} << 40},
               {"window", m.window, std::int64_t{1} << 40},
               {"armt.segment_size", m.has_armt ? m.armt.segment_size : 0, 1 << 26},
               {"armt.num_mem_tokens", m.has_armt ? m.armt.num_mem_tokens : 0, 1 << 20},
               {"armt.d_mem", m.has_armt ? m.armt.d_mem : 0, 1 << 16},
               {"rmt.segment_size", m.has_rmt ? m.rmt.segment_size : 0, 1 << 26},
               {"rmt.num_mem_tokens", m.has_rmt ? m.rmt.num_mem_tokens : 0, 1 << 20},
               {"lora.rank", m.has_lora ? m.lora.rank : 0, 1 << 16}};
  for (const auto& size : sizes) {
    if (size.value > size.most) fail(size.key, cat("is ", size.value, ", expected at most ", size.most));
  }
  const bool llama = m.type == BackboneType::kLlama;
  if ((m.head_dim == 0 || !llama) && m.hidden_size % m.num_heads != 0) {
    fail("hidden_size", cat("is ", m.hidden_size, ", not a multiple of num_heads ", m.num_heads));
  }
  if (llama) {
    if (m.num_heads % m.kv_heads() != 0) {
      fail("num_kv_heads", cat("is ", m.kv_heads(), ", expected a divisor of num_heads ", m.num_heads));
    }
    if (m.head_width() % 2 != 0) {
      fail("head_dim", cat("is ", m.head_width(), ", expected an even number: rotary positions turn pairs"));
    }
    if (m.rope_scaling.type == "llama3" && m.rope_scaling.low_freq_factor >= m.rope_scaling.high_freq_factor) {
      fail("rope_scaling.low_freq_factor", cat("is ", m.rope_scaling.low_freq_factor,
                                               ", expected below high_freq_factor ", m.rope_scaling.high_freq_factor));
    }
  } else {
    if (m.num_kv_heads != 0 && m.num_kv_heads != m.num_heads) {
      fail("num_kv_heads", cat("is ", m.num_kv_heads, ", but gpt2 has as many as num_heads ", m.num_heads));
    }
    if (m.head_dim != 0 && m.head_dim * m.num_heads != m.hidden_size) {
      fail("head_dim", cat("is ", m.head_dim, ", but gpt2's is hidden_size / num_heads"));
    }
    if (m.rope_scaling.type != "default") fail("rope_scaling.type", "gpt2 has no rotary positions");
    if (m.attention_bias) fail("attention_bias", "is for llama; gpt2 always has its biases");
    if (m.mlp_bias) fail("mlp_bias", "is for llama; gpt2 always has its biases");
    if (m.has_rmt && m.segment_rows() > m.max_positions) {
      fail("rmt.segment_size", cat("is ", m.rmt.segment_size, ", with twice ", m.rmt.num_mem_tokens,
                                   " memory tokens above gpt2's max_positions ", m.max_positions));
    }
    if (m.window > m.max_positions) {
      fail("window", cat("is ", m.window, ", above gpt2's max_positions ", m.max_positions));
    }
    if (m.has_armt && m.armt.segment_size > m.max_positions) {
      fail("armt.segment_size", cat("is ", m.armt.segment_size, ", above gpt2's max_positions ", m.max_positions));
    }
  }
  if (m.has_armt && m.armt.nu >= 2 * m.armt.d_mem) {
    fail("armt.nu", cat("is ", m.armt.nu, ", expected below 2 d_mem = ", 2 * m.armt.d_mem,
                        ": further rotations repeat the first"));
  }
}

}  // namespace wt
