// Reading an open segment through the key/value cache.
#include "schedulers/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/golden.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

using Tokens = std::vector<std::int32_t>;

ModelConfig config_of(std::string_view type, bool with_memory) {
  ModelConfig config = tiny_config(type, 3);
  config.armt->segment_size = 10;
  if (!with_memory) config = without_memory(config);
  config.max_positions = 16;
  return config;
}

void expect_near(const Tensor& a, const Tensor& b) {
  const auto left = a.to_vector<double>(), right = b.to_vector<double>();
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) EXPECT_NEAR(left[i], right[i], kSchedulesAgreeF64 * 10);
}

// The memory after these sequences (of full segments), one a sample.
State memory_after(const Model& model, const std::vector<Tokens>& sequences) {
  const auto batch = static_cast<int>(sequences.size());
  State state = model.new_state(batch);
  if (!model.recurrent()) return state;
  Executor(model).forward(Work(model, sequences, batch, Schedule::kDiagonal), state, {});
  return state;
}

class Decoding : public testing::TestWithParam<std::tuple<std::string_view, bool>> {
 protected:
  Decoding() : model_(tiny_model(config_of(std::get<0>(GetParam()), std::get<1>(GetParam())))) {
    const TokenBatch batch = random_batch({20, 10, 0, 9, 6, 3}, 3, 11);
    closed_ = {batch.sequences[0], batch.sequences[1], batch.sequences[2]};  // two segments, one, none
    open_ = {batch.sequences[3], batch.sequences[4], batch.sequences[5]};
    if (!model_->recurrent()) closed_ = {{}, {}, {}};
  }
  Decoder decoder(const std::vector<std::size_t>& lanes) const {
    std::vector<Tokens> before;
    std::vector<std::int64_t> past;
    for (const std::size_t lane : lanes) {
      before.push_back(closed_[lane]);
      past.push_back(model_->closed_rows(static_cast<std::int64_t>(closed_[lane].size())));
    }
    return Decoder(*model_, memory_after(*model_, before), past, 16);
  }

  std::unique_ptr<Model> model_;
  std::vector<Tokens> closed_, open_;
};

TEST_P(Decoding, TokenByTokenIsOneCall) {
  for (std::size_t lane = 0; lane < 3; ++lane) {
    Decoder at_once = decoder({lane}), slowly = decoder({lane});
    const Tensor whole = at_once.append({open_[lane]});
    Tensor last;
    for (const std::int32_t id : open_[lane]) last = slowly.append({{id}});
    expect_near(last, whole);
    EXPECT_EQ(at_once.length(0), static_cast<std::int64_t>(open_[lane].size()));
    EXPECT_EQ(slowly.length(0), at_once.length(0));
  }
}

TEST_P(Decoding, IsTheForwardPassOfTheLastSegment) {
  // Causality: the memory rows that follow a segment's tokens do not change them.
  for (std::size_t lane = 0; lane < 3; ++lane) {
    Tokens all = closed_[lane];
    all.insert(all.end(), open_[lane].begin(), open_[lane].end());
    State state = model_->new_state(1);
    Executor executor(*model_);
    std::vector<TokenPlace> places;
    for (std::size_t t = closed_[lane].size(); t < all.size(); ++t) places.push_back({0, static_cast<std::int64_t>(t)});
    const Tensor expected = executor.forward(Work(*model_, {all}, 1, Schedule::kDiagonal, places), state, {});
    Decoder reader = decoder({lane});
    for (std::size_t t = 0; t < open_[lane].size(); ++t) {
      expect_near(reader.append({{open_[lane][t]}}).select(0), expected.select(static_cast<std::int64_t>(t)));
    }
  }
}

TEST_P(Decoding, LanesOfDifferentLengthsAreLanesAlone) {
  Decoder together = decoder({0, 1, 2});
  std::array<Decoder, 3> alone{decoder({0}), decoder({1}), decoder({2})};
  // Uneven pieces: first the open segments, then a token for some lanes only, then one for all.
  const std::vector<std::vector<Tokens>> steps{
      {open_[0], open_[1], open_[2]}, {{4}, {}, {5, 6}}, {{}, {7}, {}}, {{1}, {2}, {3}}};
  for (const auto& step : steps) {
    const Tensor hidden = together.append(step);
    for (std::size_t lane = 0; lane < 3; ++lane) {
      expect_near(hidden.select(static_cast<std::int64_t>(lane)), alone[lane].append({step[lane]}).select(0));
      EXPECT_EQ(together.length(static_cast<int>(lane)), alone[lane].length(0));
    }
  }
}

TEST_P(Decoding, LeavesTheMemoryAlone) {
  State state = memory_after(*model_, closed_);
  const auto before = values_of(state);
  Decoder reader(*model_, state, {!closed_[0].empty(), !closed_[1].empty(), false}, 16);
  reader.append(open_);
  EXPECT_EQ(values_of(state), before);
}

TEST_P(Decoding, NothingAppendedChangesNothing) {
  Decoder reader = decoder({0});
  const auto hidden = reader.append({open_[0]}).to_vector<double>();
  EXPECT_EQ(reader.append({{}}).to_vector<double>(), hidden);
  EXPECT_EQ(reader.length(0), static_cast<std::int64_t>(open_[0].size()));
}

TEST_P(Decoding, Errors) {
  Decoder reader = decoder({0});
  EXPECT_EQ(reader.capacity(), 16);
  EXPECT_ERROR(reader.append({{1}, {2}}), Error, "decoder: tokens for 2 samples, expected 1");
  EXPECT_ERROR(reader.append({Tokens(17, 1)}), Error,
               "decoder: the segment of sample 0 would have 17 rows, its capacity is 16");
  EXPECT_ERROR(reader.append({{11}}), Error, "token id 11 is not in the vocabulary of 11");
  EXPECT_ERROR(reader.append({{-2}}), Error, "token id -2 is not in the vocabulary of 11");
  EXPECT_EQ(reader.length(0), 0);
  EXPECT_NO_THROW(reader.append({Tokens(16, 1)}));
}

INSTANTIATE_TEST_SUITE_P(Models, Decoding,
                         testing::Combine(testing::Values<std::string_view>("llama", "gpt2", "hybrid", "mamba2",
                                                                            "bamba", "mixed"),
                                          testing::Bool()),
                         [](const testing::TestParamInfo<std::tuple<std::string_view, bool>>& given) {
                           return std::string(std::get<0>(given.param)) +
                                  (std::get<1>(given.param) ? "_armt" : "_plain");
                         });

TEST(Decoder, StaysInsideThePositionTable) {
  // GPT-2's table goes on with the memory tokens' positions, which are not for tokens.
  for (const bool with_memory : {true, false}) {
    ModelConfig config = config_of("gpt2", with_memory);
    const std::unique_ptr<Model> model = tiny_model(config);
    Decoder reader(*model, model->new_state(1), {false}, 30);
    reader.append({Tokens(16, 1)});
    EXPECT_ERROR(reader.append({{1}}), Error, "17 rows, the model's position table 16");
  }
}

class Stories : public testing::TestWithParam<DType> {
 protected:
  Stories() {
    const std::string folder = std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/stories260K/";
    const auto j = nlohmann::json::parse(read_file(folder + "config.json"));
    ModelConfig c;
    c.vocab_size = j.at("vocab_size");
    c.hidden_size = j.at("hidden_size");
    c.feed_forward.intermediate_size = j.at("intermediate_size");
    c.num_layers = j.at("num_hidden_layers");
    c.attention().num_heads = j.at("num_attention_heads");
    c.attention().num_kv_heads = j.at("num_key_value_heads");
    c.attention().head_dim = j.at("head_dim");
    c.norm.eps = j.at("rms_norm_eps");
    c.attention().rope_theta = j.at("rope_theta");
    c.tie_word_embeddings = j.at("tie_word_embeddings");
    model_ = std::make_unique<Model>(c, GetParam());
    const SafetensorsFile file = SafetensorsFile::open(folder + "model.safetensors");
    for (const PublishedTensor& tensor : model_->parameters().published()) {
      tensor.value.copy_from(Stream{}, file.tensor(tensor.name).to(Stream{}, GetParam()));
    }
    const auto story = nlohmann::json::parse(read_file(folder + "greedy.json"));
    prompt_ = story.at("prompt").get<Tokens>();
    greedy_ = story.at("greedy").get<Tokens>();
  }

  static std::int32_t best(const std::vector<double>& logits, std::int64_t row, std::int64_t v) {
    const auto begin = logits.begin() + row * v;
    return static_cast<std::int32_t>(std::max_element(begin, begin + v) - begin);
  }

  std::unique_ptr<Model> model_;
  Tokens prompt_, greedy_;
};

TEST_P(Stories, GreedyContinuationThroughTheCache) {
  ASSERT_GE(greedy_.size(), 200u);
  const auto rows = static_cast<std::int64_t>(prompt_.size() + greedy_.size());
  Decoder decoder(*model_, model_->new_state(1), {0}, rows);
  Context ctx;
  Tokens next = prompt_, generated;
  while (generated.size() < greedy_.size()) {
    const auto logits = model_->head(ctx, decoder.append({next})).value.to(Stream{}, DType::kF64).to_vector<double>();
    generated.push_back(best(logits, 0, model_->config().vocab_size));
    next = {generated.back()};
  }
  EXPECT_EQ(generated, greedy_);
}

TEST_P(Stories, GreedyContinuationInOneForward) {
  Tokens all = prompt_;
  all.insert(all.end(), greedy_.begin(), greedy_.end() - 1);
  const auto n = static_cast<std::int64_t>(all.size()), first = static_cast<std::int64_t>(prompt_.size()) - 1;
  std::vector<TokenPlace> places;
  for (std::int64_t t = first; t < n; ++t) places.push_back({0, t});
  State state = model_->new_state(1);
  EXPECT_EQ(state.bytes(), 0u);
  Executor executor(*model_);
  const Tensor hidden = executor.forward(Work(*model_, {all}, 1, Schedule::kDiagonal, places), state, {});
  Tokens predicted;
  visit_logits(*model_, hidden, [&](std::int64_t, const Tensor& logits) {
    const auto values = logits.to(Stream{}, DType::kF64).to_vector<double>();
    for (std::int64_t r = 0; r < logits.dim(0); ++r) predicted.push_back(best(values, r, logits.dim(1)));
  });
  EXPECT_EQ(predicted, greedy_);
}

INSTANTIATE_TEST_SUITE_P(Stories260K, Stories, testing::Values(DType::kF32, DType::kF64),
                         [](const testing::TestParamInfo<DType>& given) { return std::string(name_of(given.param)); });

}  // namespace
}  // namespace wt
