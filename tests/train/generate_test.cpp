// Generation over several segments, state files, and the command around them.
#include "train/eval/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "data/tokenizer.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/eval/prompts_file.h"
#include "train/models/model_io.h"
#include "train/models/state_file.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

GenerateOptions greedy(std::int64_t tokens) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  return options;
}

TEST(Generation, OverSegmentsIsReadingAgainForEveryToken) {
  for (const std::string_view type : {"llama", "gpt2", "hybrid"}) {
    const std::unique_ptr<Model> model = tiny_model(tiny_config(type, 3));  // segments of 5
    const TokenSequences prompts = random_batch({13, 5, 1}, 3, 11).sequences;
    const auto together = generate(*model, prompts, greedy(23));
    for (std::size_t q = 0; q < prompts.size(); ++q) {
      std::vector<std::int32_t> text = prompts[q];
      for (int step = 0; step < 23; ++step) text.push_back(generate(*model, {text}, greedy(1))[0][0]);
      EXPECT_EQ(together[q], std::vector<std::int32_t>(text.end() - 23, text.end())) << type << q;
    }
  }
}

TEST(Generation, GoesOnWithWhatItWrote) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama", 3));
  const std::vector<std::int32_t> prompt = random_batch({8}, 1, 11).sequences[0];
  const auto whole = generate(*model, {prompt}, greedy(20))[0];
  Reading reading = new_reading(*model, 1);
  read_on(*model, {prompt}, Schedule::kDiagonal, reading);
  auto parts = generate_after(*model, reading, greedy(9))[0];
  EXPECT_EQ(reading.tokens(0), 8 + 8);
  read_on(*model, {{parts.back()}}, Schedule::kDiagonal, reading);
  const auto more = generate_after(*model, reading, greedy(11))[0];
  parts.insert(parts.end(), more.begin(), more.end());
  EXPECT_EQ(parts, whole);
}

TEST(Generation, TheListenerEndsASample) {
  const std::unique_ptr<Model> model = tiny_model(tiny_config("llama"));
  std::vector<int> heard(2, 0);
  const auto ids = generate(*model, {{1, 2}, {3}}, greedy(9), [&](int sample, std::int32_t) {
    return ++heard[static_cast<std::size_t>(sample)] < (sample == 0 ? 3 : 100);
  });
  EXPECT_EQ(ids[0].size(), 3u);
  EXPECT_EQ(ids[1].size(), 9u);
  EXPECT_EQ(heard, (std::vector<int>{3, 9}));
}

class States : public testing::Test {
 protected:
  States() {
    read_on(*model_, {random_batch({27}, 1, 11).sequences[0]}, Schedule::kDiagonal, reading_);
    save_reading(path_, *model_, "aaaa", reading_);
  }
  // The saved file with other metadata or tensors.
  void rewrite(const std::map<std::string, std::string>& changes, const NamedTensors& tensors = {}) {
    const SafetensorsFile file = SafetensorsFile::open(path_);
    std::map<std::string, std::string> metadata = file.metadata();
    for (const auto& [key, value] : changes) metadata[key] = value;
    NamedTensors all = tensors;
    for (const std::string& name : file.names()) {
      const bool given = std::any_of(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
      if (!given) all.emplace_back(name, file.tensor(name));
    }
    write_safetensors(bad_, all, metadata);
  }
  void refused(const std::string& message) {
    EXPECT_ERROR(load_reading(bad_, *model_, "aaaa"), Error, bad_ + ": " + message);
  }

  TempFolder folder_;
  std::string path_ = folder_ / "book.state", bad_ = folder_ / "bad.state";
  std::unique_ptr<Model> model_ = tiny_model(tiny_config("llama", 3));
  Reading reading_ = new_reading(*model_, 1);
};

TEST_F(States, ComeBackAsTheyWere) {
  Reading loaded = load_reading(path_, *model_, "");
  EXPECT_EQ(loaded.open, reading_.open);
  EXPECT_EQ(loaded.closed, reading_.closed);
  EXPECT_EQ(values_of(loaded.memory), values_of(reading_.memory));
  std::vector<std::int32_t> text = random_batch({27}, 1, 11).sequences[0];
  const std::vector<std::int32_t> question{4, 5, 6, 7};
  text.insert(text.end(), question.begin(), question.end());
  read_on(*model_, {question}, Schedule::kDiagonal, loaded);
  EXPECT_EQ(generate_after(*model_, loaded, greedy(12)), generate(*model_, {text}, greedy(12)));
}

TEST_F(States, OfOthersAreRefused) {
  EXPECT_ERROR(load_reading(path_, *tiny_model(tiny_config("llama", 3), DType::kF64, 2), ""), Error,
               "the state of another model (other weights)");
  ModelConfig config = tiny_config("llama", 3);
  config.attention().rope_theta = 200;
  EXPECT_ERROR(load_reading(path_, *tiny_model(config), ""), Error, "the state of another model (other config)");
  config.armt->segment_size = 6;
  EXPECT_ERROR(load_reading(path_, *tiny_model(config), ""), Error, "segments of 5 tokens, this one's have 6");
  EXPECT_ERROR(load_reading(path_, *model_, "bbbb"), Error, "read with another tokenizer");
  rewrite({{"version", "3"}});
  refused("a state file of version 3, this program reads up to 2");
  rewrite({{"format", "pt"}});
  refused("not a state file");
}

TEST_F(States, DamagedAreRefused) {
  const std::string whole = read_file(path_);
  for (std::size_t length = 0; length < whole.size(); length += 41) {
    write_file(bad_, whole.substr(0, length));
    EXPECT_THROW(load_reading(bad_, *model_, ""), Error) << length;
  }
  rewrite({{"tokens_read", "28"}});
  refused("tokens_read is 28 with 2 in an open segment of 5");
  for (const char* text : {"-5", "x", "", "99999999999999999999"}) {
    rewrite({{"tokens_read", text}});
    refused("tokens_read is not a number of at least 1");
  }
  rewrite({}, {{"open_ids", Tensor::from<std::int32_t>({2}, {1, 11})}});
  refused("id 11 in open_ids is not in the vocabulary of 11");
  rewrite({}, {{"open_ids", Tensor::from<std::int32_t>({6}, {1, 1, 1, 1, 1, 1})}});
  refused("tensor open_ids is I32[6], expected 1 to 5 ids");
  const Shape shape = model_->state_specs()[1].shape;
  rewrite({},
          {{"z.1", Tensor::from<double>(shape, std::vector<double>(static_cast<std::size_t>(shape.numel()), NAN))}});
  refused("tensor z.1 holds a value that is not finite");
  rewrite({}, {{"z.1", Tensor::from<double>({1}, {1})}});
  refused("tensor z.1 is F64[1], expected F32 or F64");
  rewrite({}, {{"more", Tensor::from<double>({1}, {1})}});
  refused("8 tensors, expected 7");
}

TEST_F(States, NothingToSave) {
  EXPECT_ERROR(save_reading(bad_, *model_, "", new_reading(*model_, 1)), UsageError, "nothing was read");
  ModelConfig config = tiny_config("llama");
  config.armt.reset();
  const std::unique_ptr<Model> plain = tiny_model(config);
  EXPECT_ERROR(save_reading(bad_, *plain, "", new_reading(*plain, 1)), UsageError, "this model has no memory");
  EXPECT_ERROR(save_reading("/nonexistent/x", *model_, "", reading_), Error, "/nonexistent/x");
  EXPECT_FALSE(std::filesystem::exists(bad_));
}

TEST(PromptsFile, Lines) {
  const TempFolder folder;
  const std::string path = folder / "p.jsonl";
  write_file(path, "\"one\"\n\n{\"id\": 7, \"prompt\": \"two\\n\"}\n");
  const auto lines = read_prompts_file(path);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1].prompt, "two\n");
  EXPECT_EQ(result_line(lines[1], "x", 3, "end"),
            "{\"prompt\":\"two\\n\",\"id\":7,\"text\":\"x\",\"tokens\":3,\"finish\":\"end\"}\n");
  for (const auto& [text, message] : {std::pair("\"a\"\nno\n", ":2: not valid JSON near byte 2, expected a string"),
                                      {"7", ":1: expected a JSON string"},
                                      {"{\"text\": 1, \"prompt\": \"\"}", "result's"},
                                      {"\"\"", ":1: the prompt is empty"},
                                      {"\n\n", "no prompts in it"},
                                      {"{\"prompt\": 3}", "the string \"prompt\""}}) {
    write_file(path, text);
    EXPECT_ERROR(read_prompts_file(path), Error, message);
  }
}

// A model folder whose vocabulary is our tokenizer's.
class GenerateCommand : public testing::Test {
 protected:
  GenerateCommand() {
    make_model(model_, 16);
    for (int i = 0; i < 500; ++i) book_ += cat("Mary went to room ", i, ". ");
    write_file(folder_ / "book.txt", book_ + "Where");
  }
  static void make_model(const std::string& folder, std::int64_t segment_size) {
    const std::string tokenizer = std::string(WAVETAPE_SOURCE_DIR) + "/data/tokenizer/tokenizer.json";
    ModelConfig config = tiny_config("llama");
    config.vocab_size = Tokenizer::load(tokenizer).vocab_size();
    config.armt->segment_size = segment_size;
    export_model(*tiny_model(config, DType::kF32), tokenizer, folder);
  }
  std::string run(const std::string& arguments) const {
    const ProgramResult result = run_program(cat("generate ", model_, " --max-new-tokens 20 ", arguments));
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }
  void fails(const std::string& arguments, int code, const std::string& message) const {
    const ProgramResult result = run_program(cat("generate ", model_, " ", arguments));
    EXPECT_EQ(result.code, code) << arguments;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  }

  TempFolder folder_;
  std::string model_ = folder_ / "model", state_ = folder_ / "book.state", book_;
};

TEST_F(GenerateCommand, ABookIsReadOnceAndAskedOften) {
  const std::string book = "--input " + (folder_ / "book.txt");
  const ProgramResult saved = run_program(cat("generate ", model_, " ", book, " --save-state ", state_));
  EXPECT_EQ(saved.code, 0) << saved.err;
  EXPECT_NE(saved.out.find("the state after "), std::string::npos) << saved.out;
  EXPECT_EQ(run("--load-state " + state_), run(book));
  const std::string answer = run("--load-state " + state_ + " --prompt ' is Mary?'");
  EXPECT_EQ(answer, run(book + " --prompt ' is Mary?'"));
  EXPECT_EQ(answer, run("--prompt '" + book_ + "Where is Mary?'"));

  write_file(folder_ / "q.jsonl", "{\"prompt\": \" is Mary?\", \"id\": 1}\n\" was John?\"\n\" is Mary?\"\n");
  run("--load-state " + state_ + " --batch-size 2 --prompts-file " + (folder_ / "q.jsonl") + " --output " +
      (folder_ / "a.jsonl"));
  const std::string lines = read_file(folder_ / "a.jsonl");
  const auto first = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  EXPECT_EQ(first["text"].get<std::string>() + "\n", answer);
  EXPECT_EQ(first["id"], 1);
  EXPECT_EQ(first["finish"], "length");
  EXPECT_EQ(first["tokens"], 20);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 3);
}

TEST_F(GenerateCommand, SampledLinesAreTheSameInAnyBatch) {
  const std::string prompts = folder_ / "p.jsonl";
  write_file(prompts, "\"Where\"\n\" is Mary?\"\n\"Mary went to room 7.\"\n\" is Mary?\"\n\"a\"\n");
  const auto lines = [&](const std::string& options) {
    return run("--temperature 1 --top-p 0.9 --dtype f64 --prompts-file " + prompts + options);
  };
  const std::string all = lines(" --seed 3");
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 5);
  for (const char* size : {"1", "2", "3"}) EXPECT_EQ(lines(std::string(" --seed 3 --batch-size ") + size), all);
  EXPECT_NE(lines(" --seed 4"), all);
}

// A state belongs to the weights that made it, all of them, in whatever dtype they are computed.
TEST_F(GenerateCommand, AStateFitsNoOtherWeights) {
  run_program(cat("generate ", model_, " --input ", folder_ / "book.txt", " --save-state ", state_));
  for (const char* dtype : {"f64", "bf16"}) {
    EXPECT_EQ(
        run_program(cat("generate ", model_, " --load-state ", state_, " --max-new-tokens 1 --dtype ", dtype)).code, 0)
        << dtype;
  }
  const SafetensorsFile file = SafetensorsFile::open(model_ + "/model.safetensors");
  for (const std::string& name : file.names()) {
    // One number in the middle, by one step of bf16.
    NamedTensors tensors;
    for (const std::string& other : file.names()) {
      Tensor values = Tensor::from<float>(file.shape(other), file.tensor(other).to_vector<float>());
      if (other == name) {
        float& value = values.data<float>()[values.numel() / 2];
        value = value == 0 ? 1 : value * 1.01F;
      }
      tensors.emplace_back(other, values);
    }
    fs::remove_all(folder_ / "other");
    fs::copy(model_, folder_ / "other");
    write_safetensors(folder_ / "other/model.safetensors", tensors);
    const auto other = load_model(find_model(folder_ / "other"), DType::kF32);
    EXPECT_ERROR(load_reading(state_, *other, ""), Error, "the state of another model (other weights)");
  }
  const auto model = load_model(find_model(model_), DType::kF32);
  Reading reading = load_reading(state_, *model, "");
  reading.memory[0].data<float>()[0] = NAN;
  EXPECT_ERROR(save_reading(folder_ / "nan.state", *model, "", reading), Error,
               "the model's memory after this text is not finite (W_mem.0)");
  EXPECT_FALSE(fs::exists(folder_ / "nan.state"));
  const SafetensorsFile state = SafetensorsFile::open(state_);
  NamedTensors tensors;
  for (const std::string& name : state.names()) tensors.emplace_back(name, state.tensor(name));
  auto metadata = state.metadata();
  metadata["version"] = "1";
  write_safetensors(folder_ / "old.state", tensors, metadata);
  fails("--load-state " + (folder_ / "old.state") + " --max-new-tokens 1", 1,
        "a state file of version 1, which knew its model by two rows of each tensor only: read the text again");
}

// Ctrl-C amid very many prompts: whole results only, and the program says how many.
TEST_F(GenerateCommand, ResultsSoFarAreKept) {
  const std::string prompts = folder_ / "many.jsonl", results = folder_ / "some.jsonl";
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "\" is Mary?\"\n";
  write_file(prompts, text);
  const ProgramResult result =
      run_program(cat("generate ", model_, " --batch-size 4 --max-new-tokens 3 --prompts-file ", prompts, " --output ",
                      results, " & pid=$!; for i in {1..600}; do ls ", folder_ / ".some.jsonl.*",
                      " >/dev/null 2>&1 && break; sleep 0.05; done; sleep 0.3; kill -INT $pid; wait $pid"),
                  "set +e; set -m;");
  EXPECT_EQ(result.code, 130) << result.err;
  const std::string lines = read_file(results);
  const auto count = std::count(lines.begin(), lines.end(), '\n');
  EXPECT_EQ(count % 4, 0);
  EXPECT_LT(count, 20'000);
  EXPECT_TRUE(lines.empty() || lines.back() == '\n');
  const std::string said =
      cat("stopped by signal 2; results of the first ", count, " of 20000 prompts are in ", results, "\n");
  EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
}

// Ctrl-C before anything is there to be written.
TEST_F(GenerateCommand, EarlierResultsStayUntilThereAreOthers) {
  const std::string prompts = folder_ / "slow.jsonl", results = folder_ / "old.jsonl";
  std::string text;
  for (int i = 0; i < 400; ++i) text += "\" is Mary?\"\n";
  write_file(prompts, text);
  write_file(results, "all of it\n");
  const std::string start = cat("generate ", model_, " --batch-size 400 --max-new-tokens 100000 --ignore-eos ",
                                "--prompts-file ", prompts, " --output ", results);
  const std::string stop = cat(" & pid=$!; for i in {1..600}; do ls ", folder_ / ".old.jsonl.*",
                               " >/dev/null 2>&1 && break; sleep 0.05; done; sleep 0.3; kill -INT $pid; wait $pid");
  const ProgramResult result = run_program(start + stop, "set +e; set -m;");
  EXPECT_EQ(result.code, 130) << result.err;
  EXPECT_NE(result.err.find(cat("stopped by signal 2; no result yet, ", results, " is as it was\n")), std::string::npos)
      << result.err;
  EXPECT_EQ(read_file(results), "all of it\n");
  EXPECT_FALSE(std::filesystem::exists(results + ".partial"));
}

// Ctrl-C while a book is read for --save-state. The book comes through a pipe, which holds less than each half of it: a
// half that is in the pipe as a whole has been read in part.
TEST_F(GenerateCommand, AStateOfTheTextSoFarIsKept) {
  model_ = folder_ / "wide";  // reads in fewer and larger steps
  make_model(model_, 512);
  std::string half = book_;
  while (half.size() < 70'000) half += book_;
  write_file(folder_ / "half.txt", half);
  const std::string pipe = folder_ / "pipe";
  const ProgramResult result = run_program(
      cat("generate ", model_, " --input ", pipe, " --save-state ", state_, " & pid=$!; exec 3>", pipe, "; cat ",
          folder_ / "half.txt", " >&3; kill -INT $pid; cat ", folder_ / "half.txt", " >&3; exec 3>&-; wait $pid"),
      cat("set +e; set -m; mkfifo ", pipe, ";"));
  ASSERT_EQ(result.code, 130) << result.err;
  const std::string said = cat("wavetape: stopped by signal 2; ", state_, " holds the state after ");
  ASSERT_NE(result.err.find(said), std::string::npos) << result.err;
  EXPECT_NE(run_program("info " + state_).out.find(": the state after "), std::string::npos);
  // The same as after those bytes alone.
  const std::string with = "with the first ";
  const std::size_t bytes = std::stoul(result.err.substr(result.err.find(with) + with.size()));
  write_file(folder_ / "part.txt", (half + half).substr(0, bytes));
  EXPECT_EQ(run(cat("--load-state ", state_, " --prompt ' is Mary?'")),
            run(cat("--input ", folder_ / "part.txt", " --prompt ' is Mary?'")));
}

TEST_F(GenerateCommand, StopsAtText) {
  // What random weights write is decided by their seed but may be anything: a stop string is taken from where three
  // plain letters stand.
  const std::string all = run("--prompt Mary");
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::size_t at = 1;
  while (at + 3 < all.size() && !(letter(all[at]) && letter(all[at + 1]) && letter(all[at + 2]))) ++at;
  ASSERT_LT(at + 3, all.size()) << all;
  const std::string stop = all.substr(at, 3);
  const std::string cut = run("--prompt Mary --stop nowhere --stop " + stop);
  EXPECT_EQ(cut, all.substr(0, all.find(stop)) + "\n");
  // Brackets, commas and quotes in a stop string are its own: it is no list.
  EXPECT_EQ(run("--prompt Mary --stop '[" + stop + "]' --stop '[[x]]' --stop '" + stop.substr(0, 1) + ",'"), all);
  EXPECT_EQ(run("--prompt Mary --stop '{}'"), all);
  EXPECT_EQ(run("--prompt Mary --stop=" + stop), cut);
}

TEST_F(GenerateCommand, Refusals) {
  fails("", 2, "give one of --prompt");
  fails("--prompt a", 2, "--max-new-tokens is required");
  fails("--prompt a --stop '' --max-new-tokens 1", 2, "a stop string is empty");
  fails("--input-ids 1 --stop a --max-new-tokens 1", 2, "--stop needs text");
  fails("--prompts-file x --save-state y --max-new-tokens 1", 2, "--prompts-file has several");
  fails("--load-state " + (folder_ / "none") + " --max-new-tokens 1", 1, "none");
  fails("--load-state " + model_ + "/model.safetensors --max-new-tokens 1", 1, "not a state file");
}

}  // namespace
}  // namespace wt
