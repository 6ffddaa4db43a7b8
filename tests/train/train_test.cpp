// The program from a configuration to an exported model: training, interruption, resumption, export, evaluation.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <sstream>
#include <thread>

#include "core/safetensors.h"
#include "layers/families/family.h"
#include "tests/support/golden.h"
#include "tests/support/run_program.h"
#include "tests/support/tolerances.h"
#include "train/costs.h"
#include "train/eval/generate.h"
#include "train/models/model_io.h"
#include "train/run/checkpoint.h"
#include "train/run/optimizer.h"
#include "train/run/run_state.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// A run of seconds: two layers, 24 steps in two stages with a validation between, varying segments, dropout on, a
// mixture of tasks.
std::string tiny_config(const std::string& run, const std::string& type = "llama") {
  return cat("seed: {weights: 3, data: 5, dropout: 7}\n", "run: {dir: ", run, ", device: cpu, threads: 1}\n",
             "model:\n  type: ", type,
             "\n  hidden_size: 16\n  intermediate_size: 24\n  num_layers: 2\n  num_heads: 2\n  dropout: 0.1\n",
             "  max_positions: 64\n", "  armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4, nu: 3}\n",
             "data:\n  task: {qa1: 2, qa4: 1}\n  books: none\n", "  tokenizer: ", WAVETAPE_SOURCE_DIR,
             "/data/tokenizer/tokenizer.json\n", "  inline_question_rate: 0.5\n  max_facts: 6\n",
             "train:\n  batch_size: 3\n  grad_accumulation: 2\n",
             "  validate_every: 5\n  validation_samples: 6\n  checkpoint_every: 3\n  log_every: 4\n",
             "  stages:\n    - {segments: 2, steps: 14, lr: 3e-3}\n",
             "    - {segments: 3, vary_n_segments: true, steps: 10, lr: 2e-3}\n",
             "eval: {lengths: [0k], samples: 4, batch_size: 2}\n");
}

void write_config(const TempFolder& folder, const std::string& run, const std::string& name = "config.yaml") {
  write_file(folder / name, tiny_config(run));
}

// Bytes of the weights and moments of a run's last checkpoint.
std::pair<std::string, std::string> final_bytes(const std::string& run) {
  const CheckpointStore store(run, StoreMode::kRead);
  const std::string at = store.folder_of(store.steps().back());
  return {read_file(at + "/weights.safetensors"), read_file(at + "/optimizer.safetensors")};
}

TEST(Train, RunsEvaluatesExportsAndReloadsBitEqual) {
  const TempFolder folder;
  write_config(folder, folder / "run");
  const ProgramResult trained = run_program("train " + folder / "config.yaml");
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.out.find("step 24/24 stage 2/2 loss "), std::string::npos) << trained.out;
  EXPECT_NE(trained.out.find("exact match"), std::string::npos);
  for (const char* name : {"config.yaml", "config.json", "metrics.jsonl", "log.txt", "eval.csv", "eval.json"}) {
    EXPECT_TRUE(fs::exists(folder / "run/" + name)) << name;
  }
  const ProgramResult exported = run_program("export " + folder / "run" + " " + folder / "model");
  ASSERT_EQ(exported.code, 0) << exported.err;

  const CheckpointStore store(folder / "run", StoreMode::kRead);
  const SafetensorsFile best = SafetensorsFile::open(store.folder_of(*store.best_step()) + "/weights.safetensors");
  const SafetensorsFile published = SafetensorsFile::open(folder / "model/model.safetensors");
  const auto reloaded = load_model(find_model(folder / "model"), DType::kF32);
  ASSERT_EQ(published.names(), best.names());
  std::size_t compared = 0;
  for (const PublishedTensor& tensor : reloaded->parameters().published()) {
    EXPECT_EQ(tensor.value.to_vector<float>(), best.tensor(tensor.name).to_vector<float>()) << tensor.name;
    EXPECT_EQ(published.shape(tensor.name), tensor.value.shape());
    ++compared;
  }
  EXPECT_EQ(compared, published.names().size());
  // The published names, spelled out.
  for (const char* name : {"memory_cell.memory", "memory_cell.model.model.embed_tokens.weight",
                           "memory_cell.model.model.layers.1.W_mq.weight", "memory_cell.model.model.layers.0.W_mb.bias",
                           "memory_cell.model.model.layers.1.layer.self_attn.k_proj.weight",
                           "memory_cell.model.model.layers.0.layer.mlp.down_proj.weight",
                           "memory_cell.model.model.layers.0.layer.post_attention_layernorm.weight",
                           "memory_cell.model.model.norm.weight"}) {
    EXPECT_TRUE(published.contains(name)) << name;
  }
  EXPECT_TRUE(fs::exists(folder / "model/tokenizer.json"));
  const ProgramResult twice = run_program("export " + folder / "run" + " " + folder / "model");
  EXPECT_EQ(twice.code, 2);
  EXPECT_NE(twice.err.find("exists already"), std::string::npos) << twice.err;

  const ProgramResult evaluated =
      run_program("eval " + folder / "model" + " --length 0k --samples 3 --output " + folder / "results");
  EXPECT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_NE(read_file(folder / "results/eval.csv").find("qa1,0k,3,"), std::string::npos);
}

TEST(Train, SamePlanSameBytesAndStreamingAgrees) {
  const TempFolder folder;
  write_config(folder, folder / "a");
  for (const char* run : {"a", "b"}) {
    const ProgramResult result =
        run_program(cat("train ", folder / "config.yaml", " --no-eval run.dir=", folder / run));
    ASSERT_EQ(result.code, 0) << result.err;
  }
  EXPECT_EQ(final_bytes(folder / "a"), final_bytes(folder / "b"));
  const ProgramResult threads = run_program(
      cat("train ", folder / "config.yaml", " --no-eval run.threads=3 data.loader_threads=3 run.dir=", folder / "c"));
  ASSERT_EQ(threads.code, 0) << threads.err;
  EXPECT_EQ(final_bytes(folder / "a"), final_bytes(folder / "c"));
  const ProgramResult recompute = run_program(
      cat("train ", folder / "config.yaml", " --no-eval train.activations=recompute run.dir=", folder / "d"));
  ASSERT_EQ(recompute.code, 0) << recompute.err;
  EXPECT_EQ(final_bytes(folder / "a"), final_bytes(folder / "d"));
}

TEST(Train, KilledTwentyTimesAtRandomEndsBitEqual) {
  const TempFolder folder;
  write_config(folder, folder / "calm");
  ASSERT_EQ(run_program("train " + folder / "config.yaml" + " --no-eval").code, 0);

  std::mt19937 random(20);
  const std::string run = folder / "killed";
  int kills = 0, starts = 0;
  bool finished = false;
  while (!finished) {
    ASSERT_LT(++starts, 400) << "the run does not get anywhere";
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::string dir = "run.dir=" + run;
      const std::string config = folder / "config.yaml";
      if (std::freopen("/dev/null", "w", stdout) == nullptr ||
          std::freopen((folder / "err").c_str(), "a", stderr) == nullptr) {
        _exit(3);
      }
      if (fs::exists(run + "/config.yaml")) {
        execl(WAVETAPE_PROGRAM, "wavetape", "train", config.c_str(), dir.c_str(), "--no-eval", "--resume", nullptr);
      } else {
        execl(WAVETAPE_PROGRAM, "wavetape", "train", config.c_str(), dir.c_str(), "--no-eval", nullptr);
      }
      _exit(3);
    }
    if (kills < 20) {
      std::this_thread::sleep_for(std::chrono::milliseconds(40 + random() % 400));
      ::kill(child, SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
      ++kills;
      continue;
    }
    if (WEXITSTATUS(status) != 0) {
      // Killed while the folder was being made: it holds no run yet, and is begun again.
      ASSERT_FALSE(fs::exists(run + "/checkpoints")) << read_file(folder / "err");
      fs::remove_all(run);
      continue;
    }
    if (kills >= 20) {
      finished = true;
    } else {
      fs::remove_all(run);  // it was done before the twentieth kill: once more
    }
  }
  EXPECT_EQ(final_bytes(folder / "calm"), final_bytes(run));
}

TEST(Train, TerminationSavesAndExitsWithItsSignal) {
  const TempFolder folder;
  write_config(folder, folder / "run");
  const ProgramResult stopped =
      run_program(cat("train ", folder / "config.yaml",
                      " train.stages.0.steps=100000 & pid=$!; sleep 1.5; kill -TERM $pid; wait $pid"),
                  "set +e;");
  EXPECT_EQ(stopped.code, 143) << stopped.err;
  EXPECT_NE(stopped.out.find("by signal 15; go on with --resume"), std::string::npos) << stopped.out;
  EXPECT_TRUE(CheckpointStore(folder / "run", StoreMode::kRead).load_newest([](const std::string&) {}).has_value());
}

// The validation after step 3 takes seconds; Ctrl-C does not wait for it, and --resume makes up for it.
TEST(Train, AValidationCutShortIsMadeUpFor) {
  const TempFolder folder;
  write_config(folder, folder / "calm");
  const std::string train = cat("train ", folder / "config.yaml",
                                " --no-eval 'train.stages=[{segments: 2, steps: 4, lr: 3e-3}]' train.validate_every=3 "
                                "train.validation_samples=4000 train.log_every=3");
  ASSERT_EQ(run_program(train).code, 0);

  const std::string run = folder / "cut", at = cat(" run.dir=", run);
  const std::string first_line = cat("for i in {1..3000}; do grep -q '\"step\": 3' ", run,
                                     "/metrics.jsonl 2>/dev/null && break; sleep 0.02; done");
  const ProgramResult cut =
      run_program(cat(train, at, " & pid=$!; ", first_line, "; kill -INT $pid; wait $pid"), "set +e; set -m;");
  EXPECT_EQ(cut.code, 130) << cut.err;
  EXPECT_NE(cut.out.find("stopped at step 3 by signal 2"), std::string::npos) << cut.out;
  EXPECT_EQ(read_file(run + "/metrics.jsonl").find("validation_loss"), std::string::npos) << "it was cut short";
  const CheckpointStore store(run, StoreMode::kRead);
  const std::string state = store.folder_of(store.steps().back()) + "/state.json";
  EXPECT_TRUE(TrainState::from_json(read_file(state), state).validation_due);

  const ProgramResult resumed = run_program(train + at + " --resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(final_bytes(folder / "calm"), final_bytes(run));
  const auto validations = [&](const std::string& name) {
    std::vector<std::string> lines;
    std::istringstream text(read_file(folder / (name + "/metrics.jsonl")));
    for (std::string line; std::getline(text, line);) {
      if (line.find("validation_loss") != std::string::npos) lines.push_back(line.substr(0, line.find(", \"time\"")));
    }
    return lines;
  };
  EXPECT_EQ(validations("calm").size(), 2u);
  EXPECT_EQ(validations("calm"), validations("cut"));
}

TEST(Train, SecondRunInTheSameFolderIsRefused) {
  const TempFolder folder;
  write_config(folder, folder / "run");
  ASSERT_EQ(run_program("train " + folder / "config.yaml" + " --no-eval").code, 0);
  const ProgramResult again = run_program("train " + folder / "config.yaml" + " --no-eval");
  EXPECT_NE(again.code, 0);
  EXPECT_NE(again.err.find("--resume"), std::string::npos) << again.err;
}

TEST(Train, Gpt2TrainsToo) {
  const TempFolder folder;
  write_file(folder / "config.yaml", tiny_config(folder / "run", "gpt2"));
  const ProgramResult result = run_program("train " + folder / "config.yaml" + " --no-eval");
  ASSERT_EQ(result.code, 0) << result.err;
  const auto model = load_model(find_model(folder / "run"), DType::kF64);
  EXPECT_EQ(model->config().family, "gpt2");
  // Position table: 64 rows and two memory rows.
  const SafetensorsFile file = SafetensorsFile::open(find_model(folder / "run").weights);
  EXPECT_EQ(file.shape("memory_cell.model.transformer.wpe.weight"), (Shape{66, 16}));
}

TEST(Train, DryRunWritesNothing) {
  const TempFolder folder;
  write_config(folder, folder / "run");
  const ProgramResult result = run_program("train " + folder / "config.yaml" + " --dry-run");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("Waves of the last stage"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(Train, DryRunSaysHowLittleMemoryAutoCanDoWith) {
  const TempFolder folder;
  write_config(folder, folder / "run");
  const auto last_figure = [&](const std::string& activations) {
    const ProgramResult result =
        run_program("train " + folder / "config.yaml" + " --dry-run train.activations=" + activations);
    EXPECT_EQ(result.code, 0) << result.err;
    std::string row = result.out.substr(result.out.find("\n# 1 ") + 1);  // of the first stage
    row.resize(row.find('\n'));
    return row.substr(row.rfind(' ', row.rfind(' ') - 1) + 1);
  };
  EXPECT_NE(last_figure("keep"), last_figure("recompute"));
  EXPECT_EQ(last_figure("auto"), last_figure("recompute"));
}

TEST(Train, EveryShippedConfigurationRuns) {
  const std::string source = WAVETAPE_SOURCE_DIR;
  const TempFolder folder;
  // Stand for the pretrained models that some of them start from.
  for (const std::string_view type : {"gpt2", "llama"}) {
    ModelConfig small = new_config(type);
    small.hidden_size = 16;
    small.num_layers = 2;
    small.attention().num_heads = 2;
    small.max_positions = 1024;
    small.vocab_size = Tokenizer::load(source + "/data/tokenizer/tokenizer.json").vocab_size();
    small.feed_forward.intermediate_size = type == "llama" ? 24 : 0;
    export_model(Model(small, DType::kF32), source + "/data/tokenizer/tokenizer.json", folder / std::string(type));
  }
  std::string book;
  for (int i = 0; i < 400; ++i) {
    book += cat("The traveller counted ", i, " steps between the river and the old mill, and then he slept. ");
  }
  write_file(folder / "walk.txt", book);
  int count = 0;
  for (const auto& entry : fs::directory_iterator(source + "/configs")) {
    std::string arguments = cat("train '", entry.path().string(),
                                "' --dry-run run.device=cpu run.dtype=f32 'run.dir=", folder / "run", "'");
    const Config config = load_config(entry.path().string());
    if (!config.model_from.empty()) {
      const std::string model = folder / (config.model_from.ends_with("gpt2") ? "gpt2" : "llama");
      arguments += " model.from='" + model + "' data.tokenizer='" + model + "'";
    } else {
      // Some are for a GPU's memory.
      arguments += " model.hidden_size=16 model.intermediate_size=24 model.num_heads=2";
    }
    if (config.data.has_books()) arguments += " 'data.books=" + folder / "walk.txt" + "'";
    const ProgramResult result = run_program(arguments, "cd '" + source + "';");
    EXPECT_EQ(result.code, 0) << entry.path() << "\n" << result.err;
    EXPECT_NE(result.out.find("Waves of the last stage"), std::string::npos) << entry.path();
    EXPECT_FALSE(fs::exists(folder / "run"));
    ++count;
  }
  EXPECT_GE(count, 7);
}

TEST(Train, TheChatTemplateStaysWithTheModel) {
  const std::string source = WAVETAPE_SOURCE_DIR;
  const TempFolder folder;
  ModelConfig small;
  small.hidden_size = 16;
  small.feed_forward.intermediate_size = 24;
  small.num_layers = 1;
  small.attention().num_heads = 2;
  small.vocab_size = Tokenizer::load(source + "/data/tokenizer/tokenizer.json").vocab_size();
  export_model(Model(small, DType::kF32), source + "/data/tokenizer/tokenizer.json", folder / "base");
  const std::string settings = R"({"chat_template": "<|im_start|>system\nBe kind<|im_end|>"})";
  write_file(folder / "base/tokenizer_config.json", settings);
  write_file(folder / "config.yaml",
             cat("run: {dir: ", folder / "run", ", device: cpu, threads: 1}\n", "model:\n  from: ", folder / "base",
                 "\n  armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4, nu: 3}\n",
                 "  lora: {rank: 1, alpha: 1, targets: [q_proj]}\n", "data: {books: none, tokenizer: ", folder / "base",
                 ", max_facts: 4}\ntrain:\n  batch_size: 1\n  validation_samples: 1\n",
                 "  stages:\n    - {segments: 1, steps: 1}\n"));
  const ProgramResult trained = run_program("train " + folder / "config.yaml" + " --no-eval");
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(read_file(folder / "run/tokenizer_config.json"), settings);
  for (const std::string option : {"", " --adapters"}) {
    const std::string made = folder / (option.empty() ? "merged" : "adapters");
    const ProgramResult exported = run_program("export " + folder / "run" + " " + made + option);
    ASSERT_EQ(exported.code, 0) << exported.err;
    EXPECT_EQ(read_file(made + "/tokenizer_config.json"), settings) << made;
  }
}

TEST(Train, AModelToStartFromThatIsNotThereIsSaidAtItsKey) {
  const std::string source = WAVETAPE_SOURCE_DIR;
  const TempFolder folder;
  const std::string config = source + "/configs/babilong_qa1_gpt2.yaml";
  const ProgramResult result =
      run_program("train '" + config + "' --dry-run run.dir='" + folder / "run" + "'", "cd '" + folder.path() + "';");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err, "wavetape: " + config +
                            ":14: model.from: no folder models/gpt2; expected config.json, model.safetensors and "
                            "tokenizer.json in it: 'model.from=DIR data.tokenizer=DIR' names yours\n");
  EXPECT_FALSE(fs::exists(folder / "run"));
}

// The published files in the other layouts that a model folder may have.
struct GoldenFolder {
  TempFolder folder;
  explicit GoldenFolder(const std::string& name, bool other_names = false) {
    const SafetensorsFile file =
        SafetensorsFile::open(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/" + name + ".safetensors");
    const auto meta = nlohmann::json::parse(file.metadata().at("meta"));
    nlohmann::json config = meta.at("config");
    config["armt"] = meta.at("armt");
    write_file(folder / "config.json", config.dump());
    NamedTensors tensors;
    for (const std::string& full : file.names()) {
      if (full.rfind("param.", 0) != 0) continue;
      const std::string key = full.substr(6);
      const bool wrapped = key.rfind("memory_cell.layers.", 0) == 0;
      const bool inner = key.find(".layers.") != std::string::npos && !wrapped;
      const bool inner_h = key.find(".h.") != std::string::npos;
      if (other_names ? (inner || inner_h) : wrapped) continue;
      tensors.emplace_back(key, file.tensor(full));
    }
    write_safetensors(folder / "model.safetensors", tensors);
    NamedTensors input;
    const std::string n = std::to_string(meta.at("lens").back().get<int>());
    input.emplace_back("input_ids", file.tensor("len" + n + ".input_ids"));
    input.emplace_back("labels_mask", file.tensor("len" + n + ".labels_mask"));
    write_safetensors(folder / "input.safetensors", input);
    length = n;
  }
  std::string length;
};

TEST(Forward, GoldenFilesThroughTheProgramUnderEitherNames) {
  for (const std::string name : {"armt_llama_tiny", "armt_llama_tied_nocorrection", "armt_gpt2_tiny"}) {
    const GoldenModel golden(name, DType::kF64);
    for (const bool other_names : {false, true}) {
      const GoldenFolder g(name, other_names);
      const ProgramResult result =
          run_program(cat("forward ", g.folder.path(), " --input ", g.folder / "input.safetensors", " --output ",
                          g.folder / "out.safetensors", " --backward --dtype f64 --schedule diagonal --device cpu"));
      ASSERT_EQ(result.code, 0) << result.err;
      const SafetensorsFile out = SafetensorsFile::open(g.folder / "out.safetensors");
      const std::string key = "len" + g.length + ".";
      EXPECT_LT(relative_error(out.tensor("logits"), golden.expected(key + "logits")), kGoldenF64);
      EXPECT_NEAR(out.tensor("loss").to_vector<double>()[0], golden.expected(key + "loss")[0], kGoldenF64);
      EXPECT_LT(relative_error(out.tensor("W_mem.2"), golden.expected(key + "W_mem.2")), kGoldenF64);
      int gradients = 0;
      for (const std::string& tensor : out.names()) {
        if (tensor.rfind("grad.", 0) != 0) continue;
        const auto expected = golden.gradient(key, tensor.substr(5));
        if (!expected) continue;
        EXPECT_LT(relative_error(out.tensor(tensor), *expected), kGoldenF64) << tensor;
        ++gradients;
      }
      EXPECT_GT(gradients, 20);
    }
  }
}

TEST(Forward, Bf16RoundsTheWeights) {
  const GoldenFolder g("armt_llama_tiny");
  const std::string base = cat("forward ", g.folder.path(), " --input ", g.folder / "input.safetensors", " --output ");
  ASSERT_EQ(run_program(base + g.folder / "f32.safetensors").code, 0);
  ASSERT_EQ(run_program(base + g.folder / "bf16.safetensors --dtype bf16").code, 0);
  const SafetensorsFile exact = SafetensorsFile::open(g.folder / "f32.safetensors");
  const SafetensorsFile rounded = SafetensorsFile::open(g.folder / "bf16.safetensors");
  const double error =
      relative_error(rounded.tensor("logits"), exact.tensor("logits").to(Stream{}, DType::kF64).to_vector<double>());
  EXPECT_GT(error, 1e-5);
  EXPECT_LT(error, 0.1);
}

TEST(Forward, BadInputIsOneClearLine) {
  const GoldenFolder g("armt_llama_tiny");
  write_safetensors(g.folder / "bad.safetensors", {{"input_ids", Tensor::from<std::int64_t>({1, 2}, {1, 4000})}});
  const std::string output = " --output " + g.folder / "out.safetensors";
  const ProgramResult bad =
      run_program(cat("forward ", g.folder.path(), " --input ", g.folder / "bad.safetensors", output));
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.err.find("input_ids has 4000, the vocabulary 97 tokens"), std::string::npos) << bad.err;
  EXPECT_FALSE(fs::exists(g.folder / "out.safetensors"));
  const ProgramResult none = run_program(cat("forward /nowhere --input x", output));
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("/nowhere: no such folder"), std::string::npos) << none.err;
  const ProgramResult cuda = run_program(
      cat("forward ", g.folder.path(), " --device cuda:63 --input ", g.folder / "input.safetensors", output));
  EXPECT_EQ(cuda.code, 1);
  EXPECT_NE(cuda.err.find("device cuda:63: "), std::string::npos) << cuda.err;
  EXPECT_NE(cuda.err.find("use --device cpu"), std::string::npos) << cuda.err;
}

TEST(Generate, GoldenContinuationsAndStories) {
  const GoldenFolder g("armt_llama_tiny");
  const SafetensorsFile file =
      SafetensorsFile::open(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/armt_llama_tiny.safetensors");
  std::string ids, expected;
  for (const std::int64_t id : file.tensor("len" + g.length + ".input_ids").select(0).to_vector<std::int64_t>()) {
    ids += (ids.empty() ? "" : ",") + std::to_string(id);
  }
  for (const std::int64_t id : file.tensor("len" + g.length + ".generated").to_vector<std::int64_t>()) {
    expected += (expected.empty() ? "" : ",") + std::to_string(id);
  }
  const ProgramResult result =
      run_program(cat("generate ", g.folder.path(), " --grow-last-segment --input-ids ", ids, " --max-new-tokens 8"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, expected + "\n");

  const std::string stories = std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/stories260K";
  const auto greedy = nlohmann::json::parse(read_file(stories + "/greedy.json")).at("greedy").get<std::vector<int>>();
  std::string told;
  for (const int id : greedy) told += (told.empty() ? "" : ",") + std::to_string(id);
  const ProgramResult story = run_program(cat("generate ", stories, " --input-ids 1 --max-new-tokens ", greedy.size()));
  ASSERT_EQ(story.code, 0) << story.err;
  EXPECT_EQ(story.out, told + "\n");
}

TEST(LearningRate, WarmsUpAndFalls) {
  StageConfig stage;
  stage.steps = 110;
  stage.lr = 2;
  stage.warmup = 10;
  stage.lr_schedule = LrSchedule::kLinear;
  EXPECT_DOUBLE_EQ(learning_rate(stage, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(stage, 9), 2);
  EXPECT_DOUBLE_EQ(learning_rate(stage, 10), 2);
  EXPECT_DOUBLE_EQ(learning_rate(stage, 60), 1);
  stage.min_lr_ratio = 0.5;
  stage.lr_schedule = LrSchedule::kCosine;
  EXPECT_DOUBLE_EQ(learning_rate(stage, 60), 1.5);
  EXPECT_NEAR(learning_rate(stage, 109), 1, 1e-3);
  stage.lr_schedule = LrSchedule::kConstant;
  EXPECT_DOUBLE_EQ(learning_rate(stage, 109), 2);
}

TEST(Costs, MemoryEstimateIsNearWhatTheTapeKeeps) {
  ModelConfig config;
  config.vocab_size = 64;
  config.hidden_size = 64;
  config.feed_forward.intermediate_size = 160;
  config.num_layers = 3;
  config.attention().num_heads = 4;
  config.armt.emplace();
  config.armt = {.segment_size = 32, .num_mem_tokens = 4, .d_mem = 8};
  Model model(config, DType::kF32);
  model.parameters().initialize(1);
  model.parameters().zero_grad();
  TokenBatch batch;
  batch.batch = 2;
  for (int b = 0; b < 2; ++b) {
    batch.add(std::vector<std::int32_t>(32 * 5, 7), std::vector<std::uint8_t>(32 * 5, 1));
  }
  for (const Activations activations : {Activations::kKeep, Activations::kRecompute}) {
    Executor executor(model);
    ExecutorOptions options;
    options.gradients = true;
    options.activations = activations;
    State state = model.new_state(2);
    run_language_model(executor, model, batch, Schedule::kDiagonal, options, 1, state);
    double kept = 0;
    for (const std::uint64_t bytes : executor.saved_bytes()) kept += static_cast<double>(bytes);
    const double estimate =
        static_cast<double>(estimate_memory(config, model.parameters().count(), 2, 5, activations, 4).activations);
    if (activations == Activations::kKeep) {
      EXPECT_NEAR(estimate / kept, 1, 0.15);
    } else {
      EXPECT_GT(estimate, kept);  // and one wave run again
      EXPECT_LT(estimate, 5 * kept);
    }
  }
}

}  // namespace
}  // namespace wt
