#include "train/config.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "core/error.h"
#include "data/eval_set.h"
#include "layers/families/family.h"

namespace wt {
namespace {

void expand_homes(Config& c) {
  expand_home(c.places, "run.dir", c.run.dir);
  expand_home(c.places, "model.from", c.model_from);
  expand_home(c.places, "data.babi", c.data.babi);
  expand_home(c.places, "data.books", c.data.books);
  expand_home(c.places, "data.tokenizer", c.data.tokenizer);
}

Config read_config(const YamlNode& root) {
  Config config;
  read_fields(root, config.places, [&](Fields& fields) { describe(fields, config); });
  std::erase(config.model.eos_ids, -1);
  config.data.has_retrieval = config.data.has_retrieval || config.data.is_retrieval();
  expand_homes(config);
  fit_schedule(config, config.model);
  check_config(config);
  return config;
}

bool is_right(YamlNode root, const std::vector<std::string>& overrides) {
  try {
    for (const std::string& override : overrides) apply_override(root, override);
    read_config(root);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

}  // namespace

void expand_home(const Places& places, const char* key, std::string& path) {
  if (!path.starts_with('~')) return;
  if (path.size() > 1 && path[1] != '/') {
    places.fail(key, cat("is '", path, "': only ~/ is expanded; write the whole path, or ./", path));
  }
  const char* const home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') places.fail(key, cat("is '", path, "', but HOME is not set"));
  path = home + path.substr(1);
}

std::vector<std::string> DataConfig::tasks() const {
  std::vector<std::string> names;
  names.reserve(task.size());
  for (const WeightedName& entry : task) names.push_back(entry.name);
  return names;
}

std::int64_t StageConfig::max_segments() const {
  return *std::max_element(segments.begin(), segments.end());
}

std::int64_t StageConfig::warmup_steps() const {
  return warmup < 1 ? std::llround(warmup * static_cast<double>(steps)) : std::llround(warmup);
}

std::int64_t TrainConfig::first_sample(std::size_t stage) const {
  std::int64_t first = 0;
  for (std::size_t i = 0; i < stage; ++i) first += stages[i].steps * grad_accumulation * stages[i].batch_size;
  return first;
}

bool TrainConfig::may_end_early(const StageConfig& stage) const {
  const bool can_be_reached = stage.stop_metric == StopMetric::kExactMatch || stage.stop_at > 0;
  return validate_every > 0 && validate_every < stage.steps && (can_be_reached || early_stopping_patience > 0);
}

std::int64_t TrainConfig::total_steps() const {
  std::int64_t total = 0;
  for (const StageConfig& stage : stages) total += stage.steps;
  return total;
}

Config config_of(const YamlNode& root, const std::vector<std::string>& overrides) {
  YamlNode tree = root;
  for (const std::string& override : overrides) apply_override(tree, override);
  try {
    return read_config(tree);
  } catch (const UsageError& error) {
    // What is wrong may stand in the file, and be right there without an override.
    const std::string message = error.what();
    if (message.starts_with("command line: ")) throw;
    for (std::size_t i = 0; i < overrides.size(); ++i) {
      std::vector<std::string> others = overrides;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      if (is_right(root, others)) throw UsageError(cat("command line: '", overrides[i], "': with it, ", message));
    }
    if (!overrides.empty() && is_right(root, {})) {
      throw UsageError(cat("command line: ", overrides.size(), " overrides do not fit: ", message));
    }
    throw;
  }
}

EvalLength parse_eval_length(const std::string& text) {
  EvalLength length;
  try {
    length.is_multiple = text.ends_with('x');
    length.is_pairs = text.ends_with('p');
    const bool counts = length.is_multiple || length.is_pairs;
    length.amount = parse_length(counts ? text.substr(0, text.size() - 1) : text);
    const bool count_with_unit = counts && text.find_first_of("kM") != std::string::npos;
    if (!count_with_unit && (length.amount > 0 || !counts)) return length;
  } catch (const UsageError&) {
    // Said below, multiples included.
  }
  throw UsageError(cat("is '", text, "', expected tokens (0k, 4k, 1M, 5000), pairs (50p) or a multiple (4x)"));
}

Config parse_config(const std::string& text, const std::string& name, const std::vector<std::string>& overrides) {
  return config_of(parse_yaml(text, name), overrides);
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  return config_of(read_yaml(path), overrides);
}

std::vector<FieldValue> config_values(const Config& config) {
  Config copy = config;  // describe() takes what it may write to
  return list_fields([&](Fields& fields) { describe(fields, copy); });
}

std::string config_yaml(const Config& config) {
  Config copy = config;
  return write_fields([&](Fields& fields) { describe(fields, copy); });
}

std::string config_reference() {
  Config defaults;
  std::string text = field_reference([&](Fields& fields) { describe(fields, defaults); });
  // The other families' keys as comments: the text is YAML, with every key once.
  for (const Family& family : families()) {
    if (family.name == defaults.model.family) continue;
    ModelConfig model = new_config(family.name);
    text += cat("\n# With model.type: ", family.name, ", in place of model.vocab_size to model.eos_id:\n");
    std::istringstream lines(field_reference([&](Fields& fields) { family.describe(fields, model); }));
    for (std::string line; std::getline(lines, line);) text += cat("#   ", line, "\n");
  }
  return text;
}

}  // namespace wt
