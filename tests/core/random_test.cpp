#include "core/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

// The counter's low half is the position, its high half the stream; the key is the seed. Known answers: the file
// kat_vectors of Random123 (Salmon et al.), philox4x32 10.
TEST(Philox, PublishedKnownAnswers) {
  struct Case {
    std::uint64_t seed, stream, position;
    std::uint32_t expected[4];
  };
  const Case cases[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Case& c : cases) {
    const PhiloxBlock block = philox(c.seed, c.stream, c.position);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(block.word[i], c.expected[i]) << i;
  }
}

TEST(RandomStream, ReadsTheBlocksInOrder) {
  RandomStream stream(0, 0);
  EXPECT_EQ(stream.next_u64(), 0xe169c58d6627e8d5u);
  EXPECT_EQ(stream.next_u64(), 0x9b00dbd8bc57ac4cu);
  EXPECT_EQ(stream.position(), 2u);
  const PhiloxBlock second = philox(0, 0, 1);
  EXPECT_EQ(stream.next_u64(), (std::uint64_t{second.word[1]} << 32) | second.word[0]);
}

TEST(RandomStream, GoesOnFromASavedPosition) {
  RandomStream a(7, random_stream(RandomPurpose::kData, 3));
  for (int i = 0; i < 11; ++i) a.normal();
  a.below(10);
  RandomStream b(7, random_stream(RandomPurpose::kData, 3), a.position());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(a.next_u64(), b.next_u64());
    EXPECT_EQ(a.normal(), b.normal());
  }
}

TEST(RandomStream, PurposesSeedsAndIndicesGiveDifferentNumbers) {
  std::set<std::uint64_t> first;
  for (const auto purpose : {RandomPurpose::kWeights, RandomPurpose::kData, RandomPurpose::kDropout,
                             RandomPurpose::kSampling, RandomPurpose::kTest}) {
    for (std::uint64_t index = 0; index < 10; ++index) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        first.insert(RandomStream(seed, random_stream(purpose, index)).next_u64());
      }
    }
  }
  EXPECT_EQ(first.size(), 500u);
}

TEST(RandomStream, UniformHasItsMomentsAndStaysBelowOne) {
  RandomStream stream(1, random_stream(RandomPurpose::kTest, 0));
  const int n = 200'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = stream.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 4 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / n));
  EXPECT_EQ(uniform_float(0), 0.0f);
  EXPECT_LT(uniform_float(0xffffffffu), 1.0f);
}

TEST(RandomStream, NormalHasItsMoments) {
  RandomStream stream(2, random_stream(RandomPurpose::kTest, 0));
  const int n = 200'000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / n, 0.0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0, 4 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth / n, 3.0, 4 * std::sqrt(96.0 / n));
}

TEST(RandomStream, BelowIsUniformAlsoForAwkwardBounds) {
  RandomStream stream(3, random_stream(RandomPurpose::kTest, 0));
  std::vector<int> counts(6);
  const int n = 60'000;
  for (int i = 0; i < n; ++i) ++counts.at(stream.below(6));
  for (const int count : counts) EXPECT_NEAR(count, n / 6, 5 * std::sqrt(n * 5.0 / 36));
  // Two thirds of 2^64: plain multiplication or modulo would make the lower third or half twice as likely.
  const std::uint64_t bound = 0xAAAAAAAAAAAAAAABu;
  int lower = 0;
  for (int i = 0; i < n; ++i) {
    const std::uint64_t value = stream.below(bound);
    ASSERT_LT(value, bound);
    lower += value < bound / 2 ? 1 : 0;
  }
  EXPECT_NEAR(lower, n / 2, 5 * std::sqrt(n / 4.0));
  EXPECT_EQ(stream.below(1), 0u);
  EXPECT_ERROR(stream.below(0), Error, "random number below 0");
}

TEST(RandomStream, WeightedFollowsTheWeightsAndNeverTakesZero) {
  RandomStream stream(4, random_stream(RandomPurpose::kTest, 0));
  const std::vector<double> weights = {0, 1, 0, 3, 0};
  std::map<std::size_t, int> counts;
  const int n = 40'000;
  for (int i = 0; i < n; ++i) ++counts[stream.weighted(weights)];
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts[3], n * 0.75, 5 * std::sqrt(n * 0.1875));
  EXPECT_ERROR(stream.weighted(std::vector<double>{0, 0}), Error, "weighted choice without positive weights");
}

TEST(RandomStream, BernoulliAndShuffle) {
  RandomStream stream(5, random_stream(RandomPurpose::kTest, 0));
  EXPECT_FALSE(stream.bernoulli(0));
  EXPECT_TRUE(stream.bernoulli(1));
  // All 24 orders of four values, about equally often.
  std::map<std::vector<int>, int> orders;
  const int n = 24'000;
  for (int i = 0; i < n; ++i) {
    std::vector<int> values = {0, 1, 2, 3};
    stream.shuffle(values);
    ++orders[values];
  }
  EXPECT_EQ(orders.size(), 24u);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000.0));
}

}  // namespace
}  // namespace wt
