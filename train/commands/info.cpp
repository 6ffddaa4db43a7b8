#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file_reader.h"
#include "core/files.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "core/text.h"
#include "data/babi/stories.h"
#include "data/hdf5_file.h"
#include "data/tokenizer.h"
#include "train/commands/commands.h"
#include "train/config.h"
#include "train/metrics.h"
#include "train/models/lora.h"
#include "train/models/model_config_json.h"
#include "train/models/model_location.h"
#include "train/models/state_file.h"
#include "train/run/checkpoint.h"
#include "train/units.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// "model.layers.3.mlp.up_proj.weight": the same tensor of other layers differs in its number only.
std::string kind_of(const std::string& name) {
  std::string kind;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    const std::string part = name.substr(at, end - at);
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    kind += cat(at == 0 ? "" : ".", number ? "{l}" : part);
    at = end + 1;
  }
  return kind;
}

// A line for each kind of tensor, or with `each` for every tensor, in the order of the names.
void show_tensor_lines(const SafetensorsFile& file, bool each) {
  struct Kind {
    std::string name, text;
    std::int64_t count = 0;
  };
  std::vector<Kind> kinds;
  std::map<std::string, std::size_t> places;  // in `kinds`
  for (const std::string& name : file.names()) {
    const std::string text = fmt::format("{:<5} {}", file.stored_dtype(name), file.shape(name).str());
    const std::string kind = each ? name : kind_of(name);
    const auto [place, is_new] = places.try_emplace(cat(kind, " ", text), kinds.size());
    if (is_new) kinds.push_back({printable_line(kind), text});
    ++kinds[place->second].count;
  }
  std::size_t widest = 4;
  for (const Kind& kind : kinds) widest = std::max(widest, kind.name.size());
  for (const Kind& kind : kinds) {
    fmt::print("  {:<{}}  {}{}\n", kind.name, widest, kind.text, kind.count > 1 ? cat(" × ", kind.count) : "");
  }
}

// A file's tensors in sum, the text beside them, and what they are.
void show_tensors(const SafetensorsFile& file, bool each) {
  std::int64_t parameters = 0;
  std::map<std::string, std::int64_t> by_dtype;
  for (const std::string& name : file.names()) {
    parameters += file.shape(name).numel();
    by_dtype[file.stored_dtype(name)] += 1;
  }
  std::string dtypes;
  for (const auto& [dtype, count] : by_dtype)
    dtypes += fmt::format("{}{} {}", dtypes.empty() ? "" : ", ", count, dtype);
  fmt::print("{}: {} tensors ({}), {} elements, {}\n", file.path(), file.names().size(),
             dtypes.empty() ? "none" : dtypes, human_count(static_cast<double>(parameters)),
             human_bytes(fs::file_size(file.path())));
  for (const auto& [key, value] : file.metadata()) {
    fmt::print("  metadata {}: {}\n", key, value.size() > 70 ? value.substr(0, 67) + "..." : value);
  }
  show_tensor_lines(file, each);
}

// A safetensors file: a state that `generate --save-state` wrote, or weights.
void show_safetensors(const std::string& path, bool each) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  if (!is_state_file(file)) {
    show_tensors(file, each);
    return;
  }
  const StateFileInfo state = state_file_info(file);
  fmt::print("{}: the state after {} tokens, {}\n", path, state.tokens_read, human_bytes(fs::file_size(path)));
  fmt::print("  segments of {} tokens: {} closed, {} tokens in the open one\n", state.segment_size,
             (state.tokens_read - state.open_tokens) / state.segment_size, state.open_tokens);
  fmt::print("  of the model with configuration {} and weights {}, tokenizer {}\n", state.config, state.weights,
             state.tokenizer.empty() ? "not named" : state.tokenizer);
  show_tensor_lines(file, each);
}

void show_model(const ModelConfig& c) {
  if (c.lora) {
    fmt::print("  adapters: rank {}, alpha {}, dropout {}, on {}\n", c.lora->rank, c.lora->alpha, c.lora->dropout,
               fmt::join(c.lora->targets, ", "));
  }
  const bool alike = c.kinds.size() == 1;
  const bool alone = c.feed_forward.kind == FeedForwardConfig::Kind::kNone;
  fmt::print("  {}: {} layers, width {}, {}, {}vocabulary {}\n", c.family, c.num_layers, c.hidden_size,
             alike ? summary(c.kinds.front(), c.hidden_size) : fmt::format("{} kinds of mixers", c.kinds.size()),
             alone ? "" : fmt::format("feed-forward {}, ", c.mlp_width()),
             c.vocab_size == 0 ? "of the tokenizer" : std::to_string(c.vocab_size));
  for (std::size_t k = 0; k < c.kinds.size() && !alike; ++k) {
    std::vector<int> layers;
    const std::vector<int> kinds = c.kind_of_layer();
    for (std::size_t layer = 0; layer < kinds.size(); ++layer) {
      if (kinds[layer] == static_cast<int>(k)) layers.push_back(static_cast<int>(layer));
    }
    fmt::print("    {}: {}, layers {}\n", c.kinds[k].name, summary(c.kinds[k], c.hidden_size), fmt::join(layers, " "));
  }
  if (c.rmt) {
    fmt::print("  recurrent memory: segments of {} tokens, {} memory tokens, aligned {}\n", c.rmt->segment_size,
               c.rmt->num_mem_tokens, name_of(c.rmt->segment_alignment));
  } else if (c.armt) {
    fmt::print("  memory: segments of {} tokens, {} memory tokens, d_mem {}, nu {} ({} features), {}, aligned {}\n",
               c.armt->segment_size, c.armt->num_mem_tokens, c.armt->d_mem, c.armt->nu, c.armt->num_features(),
               c.armt->correction ? "corrected" : "not corrected", name_of(c.armt->segment_alignment));
  } else if (c.recurrent()) {
    fmt::print("  read by segments of {} tokens{}\n", c.segment_size(),
               c.layers_carry_text() ? ", each layer with the text's state" : "");
  } else {
    const std::string window = c.window > 0 ? fmt::format(" over the last {} tokens", c.window) : "";
    fmt::print("  no memory: a plain backbone{}\n", window);
  }
}

void show_config(const Config& c) {
  if (c.model_from.empty()) {
    show_model(c.model);
  } else {
    fmt::print("  model from {}\n", c.model_from);
  }
  std::string tasks;
  for (const WeightedName& task : c.data.task) {
    tasks += fmt::format("{}{}", tasks.empty() ? "" : ", ", task.name);
    if (task.weight != 1) tasks += fmt::format(" (weight {})", task.weight);
  }
  if (c.data.is_retrieval()) {
    const RetrievalOptions& r = c.data.retrieval;
    fmt::print("  data: {}{}, keys of {} symbols, values of {}, {} pairs in a segment\n", tasks,
               r.rewrite ? " with rewriting" : "", r.key_length, r.value_length, r.pairs_per_segment);
  } else {
    fmt::print("  data: {}, stories {}, books {}, tokenizer {}\n", tasks, c.data.babi, c.data.books, c.data.tokenizer);
  }
  fmt::print("  training: {} stages, {} steps at most, run folder {}\n", c.train.stages.size(), c.train.total_steps(),
             c.run.dir);
  for (const StageConfig& stage : c.train.stages) {
    std::string segments;
    for (const std::int64_t count : stage.segments) segments += fmt::format("{}{}", segments.empty() ? "" : ",", count);
    fmt::print("    {}: {} segments, {} steps, batch {}, lr {}\n", stage.name.empty() ? "stage" : stage.name,
               stage.vary_n_segments ? "1 to " + std::to_string(stage.max_segments()) : segments, stage.steps,
               stage.batch_size, stage.lr);
  }
}

// "step 1234 (best)", and what is wrong with it if something is.
void show_checkpoint_line(const CheckpointStore& store, std::int64_t step) {
  std::string state = "whole";
  try {
    store.load(step);
  } catch (const Error& error) {
    state = cat("DAMAGED: ", error.what());
  }
  fmt::print("    step {}{}: {}\n", step, store.best_step() == step ? " (best)" : "", state);
}

// How often each text comes, the most frequent first.
void show_counts(const char* title, const std::vector<std::string>& texts) {
  std::map<std::string, int> counts;
  for (const std::string& text : texts) ++counts[text];
  std::vector<std::pair<int, std::string>> order;
  order.reserve(counts.size());
  for (const auto& [text, count] : counts) order.emplace_back(-count, text);
  std::sort(order.begin(), order.end());
  if (order.size() > 20) order.resize(20);
  fmt::print("  {}:", title);
  for (const auto& [count, text] : order) fmt::print(" {} {}", text, -count);
  fmt::print("{}\n", counts.size() > order.size() ? " ..." : "");
}

void show_run(const std::string& path) {
  fmt::print("{}: a run\n", path);
  show_config(load_config(path + "/config.yaml"));
  const CheckpointStore store(path, StoreMode::kRead);
  const std::vector<std::int64_t> steps = store.steps();
  fmt::print("  checkpoints: {}\n", steps.size());
  for (const std::int64_t step : steps) show_checkpoint_line(store, step);
  const std::string metrics = path + "/metrics.jsonl";
  if (!fs::exists(metrics)) return;
  std::string text = read_file(metrics);
  text.resize(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n'));
  const std::size_t last = text.rfind('\n');
  if (!text.empty()) fmt::print("  last metrics: {}\n", last == std::string::npos ? text : text.substr(last + 1));
}

void show_checkpoint(const std::string& path, bool each) {
  // <run>/checkpoints/step_00001234
  const fs::path folder = fs::canonical(path);
  const CheckpointStore store(folder.parent_path().parent_path().string(), StoreMode::kRead);
  for (const std::int64_t step : store.steps()) {
    if (fs::path(store.folder_of(step)).filename() != folder.filename()) continue;
    const Checkpoint checkpoint = store.load(step);
    fmt::print("{}: checkpoint of step {}, whole\n", path, step);
    show_tensors(checkpoint.weights, each);
    fmt::print("{}: {} tensors\n", checkpoint.optimizer.path(), checkpoint.optimizer.names().size());
    fmt::print("state: {}\n", checkpoint.state_json);
    return;
  }
  throw UsageError(cat(path, ": not in the checkpoints folder of a run"));
}

void show_folder(const std::string& path, bool each) {
  if (is_run_folder(path)) {
    show_run(path);
  } else if (fs::exists(path + "/manifest.json")) {
    show_checkpoint(path, each);
  } else if (is_adapter_folder(path)) {
    const std::string base = read_adapter_config(path + "/adapter_config.json").base;
    fmt::print("{}: low-rank adapters for {}\n", path, base.empty() ? "a base model that is not named" : base);
    show_safetensors(path + "/adapter_model.safetensors", each);
  } else if (fs::exists(path + "/config.json")) {
    fmt::print("{}: a model\n", path);
    show_model(read_model_config(path));
    if (fs::exists(path + "/model.safetensors")) show_safetensors(path + "/model.safetensors", each);
  } else {
    throw UsageError(cat(path, ": neither a run, a checkpoint nor a model folder"));
  }
}

// What the data commands write.
void show_hdf5(const std::string& path) {
  try {
    const Hdf5Reader books(path, "wavetape books", 1);
    fmt::print("{}: tokenised books, {}\n", path, human_bytes(fs::file_size(path)));
    fmt::print("  {} books, {} sentences, {} tokens\n", books.size("book_offsets") - 1,
               books.size("sentence_offsets") - 1, books.size("tokens"));
    fmt::print("  vocabulary {}, tokenizer {}\n", books.integer_attribute("vocab_size"),
               books.text_attribute("tokenizer"));
    return;
  } catch (const Error& not_books) {
    try {
      const Hdf5Reader set(path, "wavetape evaluation set", 1);
      fmt::print("{}: evaluation set, {}\n", path, human_bytes(fs::file_size(path)));
      const std::vector<std::string> targets = set.texts("targets");
      fmt::print("  {} samples\n", targets.size());
      show_counts("answers", targets);
    } catch (const Error&) {
      throw Error(not_books.what());
    }
  }
}

void show_json(const std::string& path) {
  const nlohmann::json json = parse_json(read_file(path), path);
  if (json.is_array() && !json.empty() && json[0].is_object() && json[0].contains("target")) {
    std::vector<std::string> targets;
    std::size_t characters = 0;
    for (const auto& sample : json) {
      const bool good = sample.is_object() && sample.value("target", nlohmann::json()).is_string() &&
                        sample.value("input", nlohmann::json()).is_string();
      if (!good) throw Error(cat(path, ": sample ", targets.size(), " is not {\"input\", \"question\", \"target\"}"));
      targets.push_back(sample["target"]);
      characters += sample["input"].get<std::string>().size();
    }
    fmt::print("{}: evaluation set, {} samples, {} characters of input each\n", path, json.size(),
               characters / json.size());
    show_counts("answers", targets);
  } else if (json.is_object() && json.contains("model_type")) {
    fmt::print("{}: a model's configuration\n", path);
    show_model(read_model_config(path));
  } else if (json.is_object() && json.contains("model")) {
    const Tokenizer tokenizer = Tokenizer::load(path);
    fmt::print("{}: a tokenizer, vocabulary {}, fingerprint {}\n", path, tokenizer.vocab_size(),
               tokenizer.fingerprint());
  } else {
    throw Error(cat(path, ": neither an evaluation set, a model's config.json nor a tokenizer.json"));
  }
}

void show_stories(const std::string& path) {
  const std::vector<BabiStory> stories = read_babi(path);
  std::vector<std::string> answers;
  for (const BabiStory& story : stories) {
    for (const BabiLine& line : story.lines) {
      if (line.is_question()) answers.push_back(line.answer);
    }
  }
  fmt::print("{}: {} stories, {} questions\n", path, stories.size(), answers.size());
  show_counts("answers", answers);
}

// The length of the header, then its brace.
bool begins_as_safetensors(const std::string& path) {
  FileReader file(path);
  const std::string_view start = file.next();
  return start.size() > 8 && start[8] == '{' && start.substr(5, 3) == std::string_view("\0\0\0", 3);
}

void show(const std::string& path, bool each) {
  const std::string ending = fs::path(path).extension().string();
  if (!fs::exists(path)) throw UsageError(cat("cannot open ", path, ": No such file or directory"));
  if (fs::is_directory(path)) {
    show_folder(path, each);
  } else if (ending == ".yaml" || ending == ".yml") {
    fmt::print("{}: a configuration\n", path);
    show_config(load_config(path));
  } else if (ending == ".h5" || ending == ".hdf5") {
    show_hdf5(path);
  } else if (ending == ".json") {
    show_json(path);
  } else if (ending == ".txt") {
    show_stories(path);
  } else if (ending == ".safetensors" || begins_as_safetensors(path)) {  // a state file may have any name
    show_safetensors(path, each);
  } else {
    throw UsageError(
        cat(path, ": expected .safetensors, .yaml, .json, .h5, bAbI's .txt, a state file, or a run or model folder"));
  }
}

}  // namespace

void add_info(CLI::App& program) {
  CLI::App* command = program.add_subcommand("info", "Summarise a model, run, checkpoint, configuration or dataset");
  const auto path = std::make_shared<std::string>();
  const auto reference = std::make_shared<bool>(false);
  CLI::Option* option = command->add_option("PATH", *path, "File or folder");
  const auto each = std::make_shared<bool>(false);
  command->add_flag("--tensors", *each, "List every tensor, instead of a line for those that differ in the layer only");
  command->add_flag("--config-reference", *reference, "Print every configuration key with its meaning and default")
      ->excludes(option);
  command->footer("Example:\n  wavetape info runs/babilong_qa1_tiny");
  command->callback([=] {
    if (*reference) {
      fmt::print("{}", config_reference());
    } else if (option->count() == 0) {
      throw UsageError("info: PATH is missing; run 'wavetape info --help'");
    } else {
      show(*path, *each);
    }
  });
}

}  // namespace wt
