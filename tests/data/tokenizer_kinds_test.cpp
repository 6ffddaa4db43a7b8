// The kinds of tokenizer.json that published models have, against ids that Hugging Face's library gives
// (tests/fixtures/tokenizers/make_tokenizers.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/utf8.h"
#include "data/tokenizer.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Ids = std::vector<std::int32_t>;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

const std::string kFolder = WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/";

Json file_of(const std::string& kind) {
  return Json::parse(read_file(kFolder + kind + ".json"));
}
Tokenizer load(const std::string& kind) {
  return Tokenizer::load(kFolder + kind + ".json");
}

Words tokens_of(const Tokenizer& tokenizer, const Ids& ids) {
  Words out;
  for (const std::int32_t id : ids) out.push_back(tokenizer.token(id));
  return out;
}

TEST(TokenizerKinds, GiveTheIdsOfTheLibrary) {
  const Json cases = Json::parse(read_file(kFolder + "cases.json"));
  EXPECT_EQ(cases.size(), 7u);
  int unknown = 0, decoded = 0;
  for (const auto& [kind, rows] : cases.items()) {
    const Tokenizer tokenizer = load(kind);
    EXPECT_GE(rows.size(), 19u);
    for (const Json& row : rows) {
      const auto text = row[0].get<std::string>(), back = row[3].get<std::string>();
      const Ids ids = tokenizer.encode(text);
      ASSERT_EQ(ids, row[1].get<Ids>()) << kind << ": " << row[0].dump();
      ASSERT_EQ(tokenizer.encode(text, {.add_special_tokens = true}), row[2].get<Ids>())
          << kind << ": " << row[0].dump();
      // Bytes that are no character: the library writes U+FFFD, we keep them.
      if (back.find("\uFFFD") != std::string::npos) continue;
      ASSERT_EQ(tokenizer.decode(ids), back) << kind << ": " << row[0].dump();
      ++decoded;
      unknown += back.find("<unk>") != std::string::npos && text.find("<unk>") == std::string::npos ? 1 : 0;
    }
  }
  EXPECT_GT(unknown, 2);
  EXPECT_GT(decoded, 120);
}

TEST(TokenizerKinds, SmolLmTakesDigitsOneByOne) {
  const Tokenizer tokenizer = load("smollm");
  EXPECT_EQ(tokens_of(tokenizer, tokenizer.encode("12 3")), (Words{"1", "2", "Ġ", "3"}));
  Json runs = file_of("smollm");
  runs["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
  runs["model"]["vocab"]["12"] = 480;
  runs["model"]["merges"].push_back("1 2");
  const Tokenizer together = Tokenizer::from_json(runs.dump(), "runs.json");
  EXPECT_EQ(tokens_of(together, together.encode("x12")), (Words{"x", "12"}));
  EXPECT_NE(together.fingerprint(), tokenizer.fingerprint());
}

TEST(TokenizerKinds, CharactersThatAreNotThereBecomeBytes) {
  const Tokenizer tokenizer = load("llama2");
  const Ids ids = tokenizer.encode("日");
  EXPECT_EQ(tokens_of(tokenizer, ids), (Words{"▁", "<0xE6>", "<0x97>", "<0xA5>"}));
  EXPECT_EQ(tokenizer.decode(ids), "日");
  EXPECT_EQ(tokenizer.piece(ids[1]), "\xE6") << "a cut character stays cut";
  EXPECT_EQ(tokenizer.piece(ids[0]), " ");
  // Bytes that are no UTF-8 come back too.
  const std::string broken = "a\xff\xc3 b";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(broken)), broken);
}

TEST(TokenizerKinds, PiecesWithABlankInFrontMakeAText) {
  for (const char* kind : {"llama2", "llama2_first", "llama2_split"}) {
    const Tokenizer tokenizer = load(kind);
    Ids pieces;
    for (const char* piece : {" Mary went", " to the office.", " Where"}) {
      const Ids ids = tokenizer.encode_plain(piece);
      pieces.insert(pieces.end(), ids.begin(), ids.end());
    }
    EXPECT_EQ(tokenizer.decode(pieces), "Mary went to the office. Where") << kind;
    EXPECT_EQ(tokenizer.encode_plain(" Mary"), tokenizer.encode("Mary")) << kind;
    EXPECT_EQ(tokenizer.encode_plain("Mary"), tokenizer.encode("Mary")) << kind;
  }
  // The library's way for the same text: one blank more.
  const Tokenizer tokenizer = load("llama2");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" Mary")), " Mary");
  EXPECT_EQ(tokenizer.encode_plain("<s>").size(), tokenizer.encode_plain("<t>").size())
      << "no added tokens in plain text";
}

TEST(TokenizerKinds, LongTextsAreNotQuadratic) {
  // Without a pre-tokenizer a whole book is one piece.
  std::string text;
  for (int i = 0; i < 60000; ++i) text += cat(" Mary", i);
  const Tokenizer tokenizer = load("llama2");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode_plain(text)), text.substr(1));
}

TEST(TokenizerKinds, WhatIsNotSupportedIsNamed) {
  const auto expect = [](const char* kind, const std::string& patch, const std::string& message) {
    Json json = file_of(kind);
    json.merge_patch(Json::parse(patch));
    EXPECT_ERROR(Tokenizer::from_json(json.dump(), "t.json"), Error, message);
  };
  expect("llama2", R"({"normalizer": {"type": "NFKC", "normalizers": null}})", "t.json: normalizer \"NFKC\"");
  expect("llama2", R"({"normalizer": {"type": "Replace", "pattern": {"Regex": " "}, "content": "x",
         "normalizers": null}})",
         "Replace pattern {\"Regex\":\" \"}");
  expect("llama2", R"({"decoder": null})", "no decoder is not supported, expected Replace, ByteFallback");
  expect("llama2", R"({"decoder": {"type": "ByteLevel"}})", "decoder \"ByteLevel\"");
  expect("llama2", R"({"decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 0, "decoders": null}})",
         "decoder \"Strip\" before Fuse");
  expect("llama2", R"({"model": {"vocab": {"<0x41>": null}}})", "byte_fallback with 255 of 256 tokens");
  expect("llama2", R"({"model": {"unk_token": "<none>"}})", "unk_token \"<none>\" is not in the vocabulary");
  expect("llama2_first", R"({"pre_tokenizer": {"prepend_scheme": "sometimes"}})", "prepend_scheme sometimes");
  expect("smollm", R"({"pre_tokenizer": {"pretokenizers": [{"type": "Whitespace"}]}})", "pre_tokenizer \"Whitespace\"");
  expect("smollm", R"({"normalizer": {"type": "Prepend", "prepend": "x"}})", "a normalizer of a byte-level vocabulary");
  expect("gpt2", R"({"model": {"byte_fallback": true}})", "byte_fallback of a byte-level vocabulary");
  // Without bytes and without an unknown token nothing may be dropped.
  Json json = file_of("llama2_normalized");
  json["model"]["unk_token"] = nullptr;
  const Tokenizer bare = Tokenizer::from_json(json.dump(), "t.json");
  EXPECT_ERROR(bare.encode("日"), Error, "no token for byte 230, and none for what is unknown");
}

}  // namespace
}  // namespace wt
