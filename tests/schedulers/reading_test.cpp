// Reading on equals reading from the start, in whatever pieces; closing a segment in the decoder is reading it.
#include "schedulers/reading.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "schedulers/decoder.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

// The memory of a random model carries rounding on: a hundred times what schedules differ by in a step. (A kind of
// layers alone adds its share in the product, beside others after it.)
void expect_near(const Tensor& a, const Tensor& b) {
  const auto left = a.to_vector<double>(), right = b.to_vector<double>();
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    EXPECT_NEAR(left[i], right[i], kSchedulesAgreeF64 * 100 * std::max(1.0, std::abs(right[i])));
  }
}

// The numbers of two states: of one sample each, with so many rows of what grows.
void expect_near(const State& a, const State& b, int of_a, int of_b, std::int64_t rows) {
  const NamedTensors left = a.published(of_a, rows), right = b.published(of_b, rows);
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) expect_near(left[i].second, right[i].second);
}

// Of every sample; `closed`: tokens of its closed segments.
void expect_near(const Model& model, const State& a, const State& b, const std::vector<std::int64_t>& closed) {
  for (int q = 0; q < a.batch(); ++q) {
    expect_near(a, b, q, q, model.closed_rows(closed[static_cast<std::size_t>(q)]));
  }
}

void expect_same(const Model& model, const Reading& a, const Reading& b) {
  EXPECT_EQ(a.open, b.open);
  EXPECT_EQ(a.closed, b.closed);
  expect_near(model, a.memory, b.memory, a.closed);
}

NextTokens in_pieces(std::vector<std::int32_t> text, std::size_t size) {
  return [text = std::move(text), size, at = std::make_shared<std::size_t>(0)] {
    const std::size_t begin = *at;
    *at = std::min(text.size(), begin + size);
    return std::vector<std::int32_t>(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                     text.begin() + static_cast<std::ptrdiff_t>(*at));
  };
}

// "plain_": without ARMT.
ModelConfig config_of(std::string_view name) {
  constexpr std::string_view kPlain = "plain_";
  if (!name.starts_with(kPlain)) return tiny_config(name, 3);
  return without_memory(tiny_config(name.substr(kPlain.size()), 3));
}

class Readings : public testing::TestWithParam<std::string_view> {
 protected:
  std::unique_ptr<Model> model_ = tiny_model(config_of(GetParam()));
  TokenSequences texts_ = random_batch({23, 20, 4}, 3, 11).sequences;  // segments of 5
};

TEST_P(Readings, AFullLastSegmentStaysOpen) {
  Reading reading = new_reading(*model_, 3);
  read_on(*model_, texts_, Schedule::kDiagonal, reading);
  EXPECT_EQ(reading.closed, (std::vector<std::int64_t>{20, 15, 0}));
  EXPECT_EQ(reading.open[0].size(), 3u);
  EXPECT_EQ(reading.open[1].size(), 5u);
  EXPECT_EQ(reading.tokens(1), 20);
}

TEST_P(Readings, InPartsIsAtOnce) {
  Reading whole = new_reading(*model_, 3), parts = new_reading(*model_, 3);
  read_on(*model_, texts_, Schedule::kDiagonal, whole);
  // Parts of different lengths in each sample, some of them empty.
  std::vector<std::size_t> done(3, 0);
  for (std::size_t round = 0; round < 12; ++round) {
    TokenSequences next(3);
    for (std::size_t q = 0; q < 3; ++q) {
      const std::size_t count = std::min(texts_[q].size() - done[q], (round * 3 + q) % 4);
      const auto begin = texts_[q].begin() + static_cast<std::ptrdiff_t>(done[q]);
      next[q].assign(begin, begin + static_cast<std::ptrdiff_t>(count));
      done[q] += count;
    }
    read_on(*model_, next, round % 2 == 0 ? Schedule::kDiagonal : Schedule::kSequential, parts);
  }
  TokenSequences rest(3);
  for (std::size_t q = 0; q < 3; ++q)
    rest[q].assign(texts_[q].begin() + static_cast<std::ptrdiff_t>(done[q]), texts_[q].end());
  read_on(*model_, rest, Schedule::kDiagonal, parts);
  expect_same(*model_, parts, whole);
}

TEST_P(Readings, PiecesOfALongText) {
  const TokenSequences text = random_batch({5 * 64 * 2 + 17}, 1, 11).sequences;
  Reading whole = new_reading(*model_, 1), pieces = new_reading(*model_, 1);
  read_on(*model_, text, Schedule::kDiagonal, whole);
  read_in_pieces(*model_, {in_pieces(text[0], 7)}, Schedule::kDiagonal, pieces);
  expect_same(*model_, pieces, whole);
}

TEST_P(Readings, SeveralTextsInPiecesSideBySide) {
  const TokenSequences texts = random_batch({5 * 64 * 2 + 17, 11, 5 * 64}, 3, 11).sequences;
  Reading whole = new_reading(*model_, 3), pieces = new_reading(*model_, 3);
  read_on(*model_, texts, Schedule::kDiagonal, whole);
  read_in_pieces(*model_, {in_pieces(texts[0], 100), in_pieces(texts[1], 1), in_pieces(texts[2], 5000)},
                 Schedule::kStreaming, pieces);
  expect_same(*model_, pieces, whole);
}

// More texts than lanes, of ragged lengths, some of them with nothing to close: as one by one.
TEST_P(Readings, TextsStreamThroughTheLanes) {
  const std::vector<std::int64_t> lengths{23, 20, 4, 61, 5, 6, 33, 1, 26, 41, 12};
  const TokenSequences texts = random_batch(lengths, 1, 11).sequences;
  for (const Schedule schedule : {Schedule::kStreaming, Schedule::kSequential, Schedule::kDiagonal}) {
    for (const int lanes : {1, 2, 3, 11, 20}) {
      const std::vector<Reading> readings = read_texts(*model_, texts, lanes, schedule);
      ASSERT_EQ(readings.size(),
                (texts.size() + static_cast<std::size_t>(lanes) - 1) / static_cast<std::size_t>(lanes));
      for (std::size_t q = 0; q < texts.size(); ++q) {
        Reading alone = new_reading(*model_, 1);
        read_on(*model_, {texts[q]}, Schedule::kSequential, alone);
        const Reading& reading = readings[q / static_cast<std::size_t>(lanes)];
        const std::size_t at = q % static_cast<std::size_t>(lanes);
        EXPECT_EQ(reading.open[at], alone.open[0]);
        EXPECT_EQ(reading.closed[at], alone.closed[0]);
        expect_near(reading.memory, alone.memory, static_cast<int>(at), 0, model_->closed_rows(alone.closed[0]));
      }
    }
  }
  EXPECT_ERROR(read_texts(*model_, {{1, 2}, {11}}, 1, Schedule::kStreaming), Error, "id 11 is not in the vocabulary");
}

TEST_P(Readings, ClosingInTheDecoderIsReading) {
  // The three samples close at different times: the others' memory and tokens must not notice.
  Reading start = new_reading(*model_, 3), whole = new_reading(*model_, 3);
  const TokenSequences first = {{1, 2}, {3, 4, 5, 6, 7}, {8, 9, 1, 2, 3, 4, 5}};
  read_on(*model_, first, Schedule::kDiagonal, start);
  TokenSequences all = first;
  const auto past = [&](const Reading& reading) {
    std::vector<std::int64_t> rows;
    for (const std::int64_t closed : reading.closed) rows.push_back(model_->closed_rows(closed));
    return rows;
  };
  Decoder decoder(*model_, start.memory, past(start), 8);
  Tensor hidden = decoder.append(start.open);
  for (std::int32_t step = 0; step < 13; ++step) {
    TokenSequences next(3);
    std::vector<bool> full(3, false);
    for (std::size_t q = 0; q < 3; ++q) {
      next[q] = {(step * 3 + static_cast<std::int32_t>(q)) % 11};
      all[q].push_back(next[q][0]);
      full[q] = decoder.length(static_cast<int>(q)) == 5;
    }
    decoder.close(full);
    hidden = decoder.append(next);
    Reading again = new_reading(*model_, 3);
    read_on(*model_, all, Schedule::kSequential, again);
    Decoder fresh(*model_, again.memory, past(again), 8);
    expect_near(hidden, fresh.append(again.open));
    expect_near(*model_, decoder.state(), again.memory, again.closed);
  }
}

TEST_P(Readings, RepeatedSamplesHaveTheirOwnMemory) {
  Reading one = new_reading(*model_, 1);
  read_on(*model_, {texts_[0]}, Schedule::kDiagonal, one);
  Reading two = repeated(*model_, one, 2);
  read_on(*model_, {{1, 2, 3, 4}, {}}, Schedule::kDiagonal, two);
  EXPECT_EQ(two.closed, (std::vector<std::int64_t>{25, 20}));
  const NamedTensors first = two.memory.published(0), second = two.memory.published(1),
                     of_one = one.memory.published(0);
  bool changed = false;
  for (std::size_t i = 0; i < of_one.size(); ++i) {
    EXPECT_EQ(second[i].second.to_vector<double>(), of_one[i].second.to_vector<double>());
    changed = changed || first[i].second.to_vector<double>() != of_one[i].second.to_vector<double>();
  }
  EXPECT_TRUE(changed);
}

TEST_P(Readings, Errors) {
  Reading reading = new_reading(*model_, 1);
  EXPECT_ERROR(read_on(*model_, {{1}, {2}}, Schedule::kDiagonal, reading), Error, "tokens for 2 samples, expected 1");
  EXPECT_ERROR(read_on(*model_, {{1, 11}}, Schedule::kDiagonal, reading), Error,
               "id 11 is not in the vocabulary of 11");
  EXPECT_EQ(reading.tokens(0), 0);
  Decoder decoder(*model_, reading.memory, {0}, 7);
  EXPECT_ERROR(decoder.close({true}), Error, "sample 0 to be closed is empty");
  decoder.append({{1, 2, 3, 4, 5}});
  if (model_->layout().after > 0) {
    EXPECT_ERROR(decoder.close({true}), Error, "would have 8 rows with its memory, its capacity is 7");
  }
}

INSTANTIATE_TEST_SUITE_P(Backbones, Readings,
                         testing::Values<std::string_view>("llama", "gpt2", "hybrid", "mamba2", "plain_mamba2",
                                                           "plain_bamba", "plain_mixed", "mixed"),
                         [](const testing::TestParamInfo<std::string_view>& given) {
                           return std::string(given.param);
                         });

TEST(Reading, RmtStreamsOneSegmentAfterAnother) {
  ModelConfig config = tiny_config("llama", 3);
  config.armt.reset();
  config.rmt.emplace();
  config.rmt->segment_size = 5;
  config.rmt->num_mem_tokens = 2;
  const std::unique_ptr<Model> model = tiny_model(config);
  const TokenSequences texts = random_batch({23, 4, 31, 12, 20}, 1, 11).sequences;
  const std::vector<Reading> readings = read_texts(*model, texts, 2, Schedule::kSequential);
  for (std::size_t q = 0; q < texts.size(); ++q) {
    Reading alone = new_reading(*model, 1);
    read_on(*model, {texts[q]}, Schedule::kSequential, alone);
    EXPECT_EQ(readings[q / 2].open[q % 2], alone.open[0]);
    expect_near(readings[q / 2].memory[0].select(0).select(static_cast<std::int64_t>(q % 2)),
                alone.memory[0].select(0).select(0));
  }
  EXPECT_ERROR(read_texts(*model, texts, 2, Schedule::kStreaming), UsageError, "RMT runs one segment after another");
}

TEST(Reading, AWindowKeepsItsLastTokens) {
  ModelConfig config = tiny_config("llama");
  config.armt.reset();
  config.window = 9;
  const std::unique_ptr<Model> model = tiny_model(config);
  const std::vector<std::int32_t> text = random_batch({1000}, 1, 11).sequences[0];
  Reading reading = new_reading(*model, 1);
  read_in_pieces(*model, {in_pieces(text, 300)}, Schedule::kDiagonal, reading);
  EXPECT_EQ(reading.open[0], std::vector<std::int32_t>(text.end() - 9, text.end()));
}

TEST(Reading, WithoutMemoryAllStaysOpen) {
  ModelConfig config = tiny_config("llama");
  config.armt.reset();
  const std::unique_ptr<Model> model = tiny_model(config);
  Reading reading = new_reading(*model, 1);
  read_in_pieces(*model, {in_pieces(std::vector<std::int32_t>(1000, 3), 600)}, Schedule::kDiagonal, reading);
  EXPECT_EQ(reading.open[0].size(), 1000u);
  EXPECT_EQ(reading.closed[0], 0);
  Decoder decoder(*model, reading.memory, {0}, 8);
  decoder.append({{1}});
  EXPECT_ERROR(decoder.close({true}), Error, "without memory has no segment to close");
}

}  // namespace
}  // namespace wt
