// Which tokens end a text, what a run keeps of its tokenizer, and ids that no token has: from outside, with the
// program.
#include "train/models/end_tokens.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/models/model_config_json.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

const std::string kReports = WAVETAPE_SOURCE_DIR "/tests/fixtures/reports";

std::string succeed(const std::string& arguments) {
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.code, 0) << arguments << "\n" << result.err;
  return result.out;
}

Json config_of(const std::string& folder) {
  return Json::parse(read_file(folder + "/config.json"));
}

// A model whose config.json names tokens 256 and 61, in a folder that may be changed.
class EndTokens : public testing::Test {
 protected:
  EndTokens() { fs::copy(kReports + "/eos_list", model_); }

  void set(const std::string& file, const Json& changes) const {
    const std::string path = cat(model_, "/", file);
    Json json = fs::exists(path) ? Json::parse(read_file(path)) : Json::object();
    json.update(changes);
    write_file(path, json.dump());
  }
  Ids found() const {
    const ModelLocation location = find_model(model_);
    return end_tokens(location, Tokenizer::load(location.tokenizer));
  }
  // The result of the prompt whose continuation reaches token 61.
  Json result() const {
    write_file(folder_ / "p.jsonl", "\"Where is Mary?\"\n");
    return Json::parse(succeed(cat("generate ", model_, " --max-new-tokens 12 --prompts-file ", folder_ / "p.jsonl")));
  }

  TempFolder folder_;
  std::string model_ = folder_ / "model";
};

TEST_F(EndTokens, GenerationEndsAtAnyOfThem) {
  const Json line = result();
  EXPECT_EQ(line["tokens"], 4);
  EXPECT_EQ(line["finish"], "end");
}

TEST_F(EndTokens, AreThoseOfTheFirstFileThatNamesAny) {
  EXPECT_EQ(found(), (Ids{256, 61}));
  set("generation_config.json", {{"eos_token_id", {259, 61}}});
  EXPECT_EQ(found(), (Ids{259, 61}));
  EXPECT_EQ(result()["finish"], "end");
  set("generation_config.json", {{"eos_token_id", 259}});
  EXPECT_EQ(found(), Ids{259});
  EXPECT_EQ(result()["finish"], "length");
  set("generation_config.json", {{"eos_token_id", nullptr}});
  EXPECT_EQ(found(), (Ids{256, 61}));
  set("config.json", {{"eos_token_id", nullptr}});
  EXPECT_EQ(found(), Ids{});
  set("tokenizer_config.json", {{"eos_token", {{"content", "<|im_end|>"}}}});
  EXPECT_EQ(found(), Ids{259});
  set("tokenizer_config.json", {{"eos_token", "<|endoftext|>"}});
  EXPECT_EQ(found(), Ids{256});
  // A library's default that is far above this vocabulary ends nothing.
  set("config.json", {{"eos_token_id", 50256}});
  EXPECT_EQ(found(), Ids{256});
  set("generation_config.json", {{"eos_token_id", "</s>"}});
  EXPECT_ERROR(found(), Error, "generation_config.json: eos_token_id: is \"</s>\", expected a token id");
}

TEST_F(EndTokens, AreExportedAndImported) {
  const std::string out = folder_ / "out", wrapped = folder_ / "wrapped";
  succeed(cat("export ", model_, " ", out));
  EXPECT_EQ(config_of(out)["eos_token_id"], (Json{256, 61}));
  succeed(cat("import ", model_, " ", wrapped, " --segment-size 16 --num-mem-tokens 2 --d-mem 4"));
  EXPECT_EQ(config_of(wrapped)["eos_token_id"], (Json{256, 61}));
}

// Seconds of training with a tokenizer of one's own.
class OwnTokenizer : public testing::Test {
 protected:
  OwnTokenizer() {
    write_file(yaml_, cat("run: {dir: ", run_, R"(, device: cpu, threads: 1}
model: {hidden_size: 16, intermediate_size: 16, num_layers: 1, num_heads: 2, armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4}}
data: {task: qa1, babi: simulate, books: none, tokenizer: )",
                          WAVETAPE_SOURCE_DIR, R"(/data/tokenizer/tokenizer.json}
train: {batch_size: 2, validation_samples: 4, stages: [{segments: 8, steps: 1, max_facts: 4}]}
eval: {lengths: [0k], samples: 2}
)"));
  }

  TempFolder folder_;
  std::string yaml_ = folder_ / "t.yaml", run_ = folder_ / "run";
};

TEST_F(OwnTokenizer, OfAnyNameIsKeptWithTheRun) {
  const std::string own = folder_ / "mytok.json", out = folder_ / "out";
  fs::copy(WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json", own);
  write_file(folder_ / "tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  succeed(cat("train ", yaml_, " data.tokenizer=", own));
  fs::remove(own);  // nothing needs it any more
  EXPECT_TRUE(fs::exists(run_ + "/tokenizer_config.json"));
  succeed(cat("generate ", run_, " --prompt Mary --max-new-tokens 2"));
  succeed(cat("eval ", run_));
  succeed(cat("export ", run_, " ", out));
  EXPECT_EQ(read_file(out + "/tokenizer.json"), read_file(WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json"));
  succeed(cat("train ", yaml_, " --resume --no-eval data.tokenizer=", own));
}

TEST_F(OwnTokenizer, OfAFolderIsKeptWithWhatStandsBesideIt) {
  succeed(cat("train ", yaml_, " --no-eval data.tokenizer=", kReports, "/gpt2_added_tokens"));
  for (const char* file : {"vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"}) {
    EXPECT_EQ(read_file(cat(run_, "/", file)), read_file(cat(kReports, "/gpt2_added_tokens/", file)));
  }
  EXPECT_EQ(succeed(cat("tokenize ", run_, " --text 'hi<|pad|>hi'")), "256 258 256\n");
}

TEST_F(OwnTokenizer, EndsTextsWithTheConfiguredToken) {
  const std::string own = cat(" data.tokenizer=", kReports, "/other_end ");
  succeed(cat("train ", yaml_, own, "'model.eos_id=[256, 10]'"));
  EXPECT_EQ(config_of(run_)["eos_token_id"], (Json{256, 10}));
  succeed(cat("eval ", run_));

  const ProgramResult unnamed = run_program(cat("train ", yaml_, own, "run.dir=", folder_ / "other"));
  EXPECT_EQ(unnamed.code, 1);
  EXPECT_NE(unnamed.err.find("which token ends a text? It has no <|endoftext|>"), std::string::npos) << unnamed.err;
  EXPECT_EQ(unnamed.err.find("end_token)"), std::string::npos) << unnamed.err;
  const ProgramResult above = run_program(cat("train ", yaml_, own, "model.eos_id=4000 run.dir=", folder_ / "above"));
  EXPECT_EQ(above.code, 2);
  EXPECT_NE(above.err.find("model.eos_id: is 4000, the vocabulary has 258"), std::string::npos) << above.err;
}

TEST_F(OwnTokenizer, MayBeSmallerThanTheModelsVocabulary) {
  succeed(cat("train ", yaml_, " model.vocab_size=4096"));
  const std::string padded = kReports + "/padded_vocab";
  // Tokens 265, 231, 265, 231: no text, and half a character.
  EXPECT_EQ(succeed(cat("generate ", padded, " --prompt 'Where is Mary?' --max-new-tokens 4")), "\uFFFD\uFFFD\n");
  succeed(cat("eval ", padded, " --task qa1 --length 0k --samples 2"));
}

}  // namespace
}  // namespace wt
