// What earlier versions wrote goes on as it would have then: interrupted runs, states of texts, configurations
// (tests/fixtures/old_runs, made by the commit that its README names).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/json.h"
#include "core/safetensors.h"
#include "tests/support/run_program.h"
#include "tests/support/tolerances.h"
#include "train/config.h"
#include "train/run/checkpoint.h"
#include "train/yaml.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

const std::string kOld = std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/old_runs/";

struct OldRun {
  const char* name;
  const char* dtype;
  double tolerance;
  std::int64_t read;  // tokens of read.state, and of what is read behind it
};

void PrintTo(const OldRun& run, std::ostream* out) {
  *out << run.name;
}

// Tensors of two files, those of integers exactly; others to `tolerance` of the largest number in the tensor.
void expect_same_tensors(const std::string& path, const std::string& expected_path, double tolerance) {
  const SafetensorsFile file = SafetensorsFile::open(path), expected = SafetensorsFile::open(expected_path);
  ASSERT_EQ(file.names(), expected.names());
  for (const std::string& name : expected.names()) {
    SCOPED_TRACE(name);
    ASSERT_EQ(file.shape(name), expected.shape(name));
    ASSERT_EQ(file.stored_dtype(name), expected.stored_dtype(name));
    if (expected.stored_dtype(name) == "I32") {
      EXPECT_EQ(file.tensor(name).to_vector<std::int32_t>(), expected.tensor(name).to_vector<std::int32_t>());
      continue;
    }
    const auto values = file.tensor(name).to(Stream{}, DType::kF64).to_vector<double>();
    const auto wanted = expected.tensor(name).to(Stream{}, DType::kF64).to_vector<double>();
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      largest = std::max(largest, std::abs(wanted[i]));
      error = std::max(error, std::abs(values[i] - wanted[i]));
    }
    EXPECT_LE(error, tolerance * largest);
  }
}

std::vector<nlohmann::json> records(const std::string& path) {
  std::vector<nlohmann::json> all;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) all.push_back(parse_json(line, path));
  return all;
}

std::string ids(std::int64_t count) {
  std::string list;
  for (std::int64_t i = 0; i < count; ++i) list += cat(i > 0 ? "," : "", 1 + i * 7 % 13);
  return list;
}

class OldRuns : public ::testing::TestWithParam<OldRun> {
 protected:
  void SetUp() override { fs::copy(old_ + "/run", run_, fs::copy_options::recursive); }
  std::string generate(const std::string& options) const {
    const ProgramResult result =
        run_program(cat("generate ", run_, " --device cpu --dtype ", GetParam().dtype, " --load-state ", old_,
                        "/read.state --input-ids ", ids(GetParam().read), " ", options));
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }

  const std::string old_ = kOld + GetParam().name;
  TempFolder folder_;
  const std::string run_ = folder_ / "run";
};

TEST_P(OldRuns, GoOnToTheSameWeights) {
  const ProgramResult resumed = run_program("train " + run_ + " --resume --no-eval");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  const CheckpointStore store(run_, StoreMode::kRead);
  expect_same_tensors(store.folder_of(store.steps().back()) + "/weights.safetensors",
                      old_ + "/expected/weights.safetensors", GetParam().tolerance);

  const std::vector<nlohmann::json> now = records(run_ + "/metrics.jsonl"),
                                    then = records(old_ + "/expected/losses.jsonl");
  ASSERT_EQ(now.size(), then.size());
  for (std::size_t i = 0; i < then.size(); ++i) {
    for (const auto& [key, value] : then[i].items()) {
      ASSERT_TRUE(now[i].contains(key)) << now[i] << " has no " << key;
      EXPECT_NEAR(now[i][key].get<double>(), value.get<double>(), GetParam().tolerance * std::abs(value.get<double>()))
          << then[i];
    }
  }
}

// The state knows its model by fingerprints of its configuration and weights, which are what they were, too.
TEST_P(OldRuns, ReadOnFromAState) {
  generate("--save-state " + folder_ / "read_on.state");
  const std::string expected = old_ + "/expected/read_on.state";
  expect_same_tensors(folder_ / "read_on.state", expected, GetParam().tolerance);
  EXPECT_EQ(SafetensorsFile::open(folder_ / "read_on.state").metadata(), SafetensorsFile::open(expected).metadata());
}

// Drawn, not greedy: the draws depend on all of the distribution.
TEST_P(OldRuns, GenerateTheSameTokens) {
  EXPECT_EQ(generate("--max-new-tokens 16 --ignore-eos --temperature 1 --seed 3"),
            read_file(old_ + "/expected/generated.txt"));
}

INSTANTIATE_TEST_SUITE_P(All, OldRuns,
                         ::testing::Values(OldRun{"armt_llama", "f32", kOldRunF32, 20},
                                           OldRun{"rmt_gpt2", "f64", kOldRunF64, 20},
                                           OldRun{"lora", "f32", kOldRunF32, 300}),
                         [](const auto& test) { return std::string(test.param.name); });

// Dotted paths of a tree's scalars and their texts. A list of scalars is one text.
void flatten(const YamlNode& node, const std::string& path, std::map<std::string, std::string>& out) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      out[path] = "null";
      break;
    case YamlNode::Kind::kScalar:
      out[path] = node.text;
      break;
    case YamlNode::Kind::kList:
      out[path] = cat(node.items.size(), " entries");
      for (std::size_t i = 0; i < node.items.size(); ++i) flatten(node.items[i], cat(path, ".", i), out);
      break;
    case YamlNode::Kind::kMap:
      for (const YamlField& field : node.fields) {
        flatten(field.node, path.empty() ? field.name : path + "." + field.name, out);
      }
      break;
  }
}

// Beside each file NAME.yaml lies what --print-config made of it then. Every key that was there is there with its
// value; there may be more now.
TEST(OldConfigs, MeanWhatTheyMeantThen) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kOld + "configs")) {
    const std::string path = entry.path().string();
    if (path.ends_with(".resolved.yaml")) continue;
    ++count;
    SCOPED_TRACE(entry.path().filename().string());
    const std::string resolved = path.substr(0, path.size() - 5) + ".resolved.yaml";
    const std::string now = config_yaml(load_config(path));
    EXPECT_EQ(now, config_yaml(load_config(resolved))) << "as a run of then has it in config.yaml";
    std::map<std::string, std::string> values, values_then;
    flatten(parse_yaml(now, "now"), "", values);
    flatten(read_yaml(resolved), "", values_then);
    EXPECT_GT(values_then.size(), 50u);
    values_then.erase("model.layer_norm_eps");  // was every family's, and is GPT-2's; these are Llama
    for (const auto& [key, value] : values_then) {
      const auto found = values.find(key);
      EXPECT_EQ(found == values.end() ? "not there" : found->second, value) << key;
    }
  }
  EXPECT_EQ(count, 7);
}

}  // namespace
}  // namespace wt
