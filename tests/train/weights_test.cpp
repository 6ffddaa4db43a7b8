// What stands in a file of weights and what becomes of it: nothing is dropped, nothing that is no number is taken.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tolerances.h"
#include "train/models/convert.h"
#include "train/models/import.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kImport = WAVETAPE_SOURCE_DIR "/tests/fixtures/import/";
const std::string kTiedHead = WAVETAPE_SOURCE_DIR "/tests/fixtures/reports/tied_head";

// The model folder `from` with its tensors changed; its config patched.
void rewrite(const std::string& from, const std::string& to,
             const std::function<void(std::vector<StoredTensor>&)>& edit, const std::string& patch = "{}") {
  fs::create_directories(to);
  Json config = Json::parse(read_file(from + "/config.json"));
  config.merge_patch(Json::parse(patch));
  write_file(to + "/config.json", config.dump());
  const SafetensorsFile file = SafetensorsFile::open(from + "/model.safetensors");
  std::vector<StoredTensor> tensors;
  for (const std::string& name : file.names()) tensors.push_back(file.stored(name));
  edit(tensors);
  write_stored_tensors(to + "/model.safetensors", tensors);
}

ProgramResult forward(const std::string& model, const std::string& input, const std::string& output,
                      const std::string& more = "--dtype f64") {
  return run_program("forward " + model + " --input " + input + " --output " + output + " " + more);
}

void expect_logits(const std::string& model, const std::string& expected) {
  const TempFolder folder;
  const ProgramResult ran = forward(model, expected, folder / "out.safetensors");
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto numbers = [](const std::string& path) {
    return SafetensorsFile::open(path).tensor("logits").to(Stream{}, DType::kF64).to_vector<double>();
  };
  const std::vector<double> got = numbers(folder / "out.safetensors"), want = numbers(expected);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], kGoldenLogitsF32) << model << ", " << i;
}

StoredTensor filled(const std::string& name, const std::string& dtype, const Shape& shape, double value) {
  const std::vector<double> values(static_cast<std::size_t>(shape.numel()), value);
  return stored_as(name, dtype, Tensor::from<double>(shape, values));
}

StoredTensor& named(std::vector<StoredTensor>& tensors, const std::string& name) {
  for (StoredTensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw Error("no tensor " + name);
}

TEST(Weights, AHeadThatDiffersFromTheTableIsKept) {
  const TempFolder folder;
  const std::string expected = kTiedHead + "/expected.safetensors";
  expect_logits(kTiedHead, expected);
  EXPECT_FALSE(config_of(find_model(kTiedHead)).tie_word_embeddings);
  ASSERT_EQ(run_program("export " + kTiedHead + " " + (folder / "exported")).code, 0);
  expect_logits(folder / "exported", expected);
  convert_model(kTiedHead, {}, folder / "converted");
  expect_logits(folder / "converted", expected);
  ImportOptions options;
  options.armt = {64, 2, 4};
  import_model(kTiedHead, options, folder / "imported");
  expect_logits(folder / "imported", expected);
  for (const char* name : {"exported", "converted", "imported"}) {
    EXPECT_FALSE(read_model_config(folder / name).tie_word_embeddings) << name;
  }
  // One that holds the table's own numbers, in another dtype too, is the table.
  rewrite(kImport + "llama_biases", folder / "same", [](std::vector<StoredTensor>& tensors) {
    const SafetensorsFile file = SafetensorsFile::open(kImport + "llama_biases/model.safetensors");
    tensors.push_back(stored_as("lm_head.weight", "F64", file.tensor("model.embed_tokens.weight")));
  });
  EXPECT_TRUE(config_of(find_model(folder / "same")).tie_word_embeddings);
  expect_logits(folder / "same", kImport + "llama_biases/expected.safetensors");
}

TEST(Weights, NamesOfEveryLibraryLeadToTheSameModel) {
  const TempFolder folder;
  const auto renamed = [&](const std::string& fixture, const std::string& to,
                           const std::function<std::string(const std::string&)>& rename) {
    rewrite(kImport + fixture, folder / to, [&](std::vector<StoredTensor>& tensors) {
      for (StoredTensor& tensor : tensors) tensor.name = rename(tensor.name);
    });
    expect_logits(folder / to, kImport + fixture + "/expected.safetensors");
  };
  const auto without_model = [](const std::string& name) { return name.substr(std::string("model.").size()); };
  renamed("llama_biases", "bare", without_model);
  renamed("llama_biases", "parallel", [](const std::string& name) { return "module." + name; });
  renamed("llama_biases", "compiled", [](const std::string& name) { return "_orig_mod." + name; });
  renamed("gpt2", "gpt2", [](const std::string& name) { return "transformer." + name; });
  // Wrapped in memory, too.
  ImportOptions options;
  options.armt = {16, 2, 4};
  import_model(folder / "bare", options, folder / "armt");
  expect_logits(folder / "armt", kImport + "llama_biases/expected.safetensors");
}

TEST(Weights, BuffersAreNamedAndUnknownTensorsRefused) {
  const TempFolder folder;
  const std::string input = kImport + "gpt2/expected.safetensors";
  rewrite(kImport + "gpt2", folder / "buffers", [](std::vector<StoredTensor>& tensors) {
    tensors.push_back(filled("h.0.attn.bias", "F32", {1, 1, 4, 4}, 1));
    tensors.push_back(filled("h.0.attn.masked_bias", "F32", {1}, -1e4));
  });
  const ProgramResult ran = forward(folder / "buffers", input, folder / "out");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("ignored 2 buffers, which the configuration makes anew: h.0.attn.bias and others"),
            std::string::npos)
      << ran.err;
  // A buffer's name alone does not make one.
  const auto refused = [&](const StoredTensor& tensor) {
    rewrite(kImport + "gpt2", folder / "more", [&](std::vector<StoredTensor>& tensors) { tensors.push_back(tensor); });
    const ProgramResult result = forward(folder / "more", input, folder / "out");
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find(cat("tensor ", tensor.name, " is not part of this gpt2")), std::string::npos)
        << result.err;
    EXPECT_ERROR(convert_model(folder / "more", {}, folder / "x"), Error, tensor.name);
    ImportOptions options;
    options.armt = {8, 2, 4};
    EXPECT_ERROR(import_model(folder / "more", options, folder / "x"), Error, tensor.name);
  };
  refused(filled("h.0.attn.bias", "F32", {8}, 1));
  refused(filled("score.weight", "F32", {2, 8}, 1));
  refused(filled("h.0.attn.c_attn.scales", "F32", {8}, 1));
}

TEST(Weights, ValuesThatAreNotFiniteAreNamed) {
  const TempFolder folder;
  const std::string input = kImport + "llama_biases/expected.safetensors", out = folder / "out";
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto with = [&](const std::string& dtype, double value) {
    rewrite(kImport + "llama_biases", folder / "model", [&](std::vector<StoredTensor>& tensors) {
      StoredTensor& tensor = named(tensors, name);
      std::vector<double> values(static_cast<std::size_t>(tensor.shape.numel()), 0.25);
      values[70] = value;
      tensor = stored_as(name, dtype, Tensor::from<double>(tensor.shape, values));
    });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const std::string message = cat("tensor ", name, " holds a value that is not finite (element 70 of [12,8])");
  for (const char* dtype : {"F64", "F32", "BF16", "F16"}) {
    for (const double value : {nan, infinity, -infinity}) {
      with(dtype, value);
      const ProgramResult result = forward(folder / "model", input, out);
      EXPECT_EQ(result.code, 1) << dtype;
      EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
      EXPECT_FALSE(fs::exists(out));
    }
  }
  EXPECT_ERROR(convert_model(folder / "model", {}, folder / "x"), Error, message);
  ImportOptions options;
  options.armt = {8, 2, 4};
  EXPECT_ERROR(import_model(folder / "model", options, folder / "x"), Error, message);
  // Large, but a number where it is computed in f64.
  with("F64", 1e300);
  EXPECT_ERROR(load_model(find_model(folder / "model"), DType::kF32), Error, "is not finite in f32 (element 70");
  EXPECT_NO_THROW(load_model(find_model(folder / "model"), DType::kF64));
  with("F16", 65504);
  EXPECT_NO_THROW(load_model(find_model(folder / "model"), DType::kF32));
}

TEST(Weights, LogitsThatAreNotFiniteAreAnError) {
  const TempFolder folder;
  rewrite(kImport + "llama_dynamic", folder / "model", [](std::vector<StoredTensor>& tensors) {
    named(tensors, "model.norm.weight") = filled("model.norm.weight", "F32", {8}, 1e30);
    named(tensors, "lm_head.weight") = filled("lm_head.weight", "F32", {24, 8}, 1e30);
  });
  const ProgramResult ran =
      forward(folder / "model", kImport + "llama_dynamic/expected.safetensors", folder / "out", "--dtype f32");
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("the logits at token 0 of sample 0 are not finite (f32)"), std::string::npos) << ran.err;
  EXPECT_FALSE(fs::exists(folder / "out"));
  for (const char* how : {"", " --temperature 0.7"}) {
    const ProgramResult generated =
        run_program("generate " + (folder / "model") + " --input-ids 1,2,3 --max-new-tokens 4" + how);
    EXPECT_EQ(generated.code, 1);
    EXPECT_NE(generated.err.find("model.safetensors: the model's logits are not finite (f32)"), std::string::npos)
        << generated.err;
  }
}

TEST(Weights, GitLfsPointersAreCalledSo) {
  const TempFolder folder;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\n"
      "oid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 2471645608\n";
  const std::string message =
      "a git-lfs pointer, not the file itself (of 2471645608 bytes); fetch it with git lfs pull";
  ImportOptions options;
  options.armt = {8, 2, 4};
  for (const char* name : {"model.safetensors", "config.json"}) {
    fs::remove_all(folder / "model");
    fs::copy(kImport + "llama_biases", folder / "model");
    write_file(folder / (std::string("model/") + name), pointer);
    EXPECT_ERROR(load_model(find_model(folder / "model"), DType::kF32), Error, message);
    EXPECT_ERROR(import_model(folder / "model", options, folder / "x"), Error, message);
    EXPECT_ERROR(convert_model(folder / "model", {}, folder / "x"), Error, message);
  }
  for (const char* name : {"tokenizer.json", "books.h5", "set.json", "text.txt", "book.state", "part.safetensors"}) {
    write_file(folder / name, pointer);
  }
  for (const std::string& arguments :
       {"tokenize " + (folder / "tokenizer.json") + " --text a", "info " + (folder / "books.h5"),
        "info " + (folder / "set.json"), "info " + (folder / "text.txt"), "info " + (folder / "part.safetensors")}) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_NE(result.err.find(message), std::string::npos) << arguments << ": " << result.err;
  }
}

}  // namespace
}  // namespace wt
