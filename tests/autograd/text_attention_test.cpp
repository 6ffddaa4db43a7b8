// Gradients of attention over a text whose keys and values grow. Shapes: G layers, B samples, T rows, J key/value
// heads, K head width, C rows of the cache, P rows that a text has at most.
#include "autograd/ops/text_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/ops/attention.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Where each cell's text lies, and how much of it.
struct Places {
  Shape cells;  // (G, B)
  std::vector<std::int32_t> rows, past, origin;

  kernels::Cells wave() const {
    std::vector<std::uint8_t> flags;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      flags.push_back(rows[i] == 0   ? 0
                      : past[i] == 0 ? kernels::kCellActive | kernels::kCellFirst
                                     : kernels::kCellActive);
    }
    kernels::Cells wave{Tensor::from<std::uint8_t>(cells, flags), Tensor::from<std::int32_t>(cells, rows)};
    wave.past = Tensor::from<std::int32_t>(cells, past);
    wave.origin = Tensor::from<std::int32_t>(cells, origin);
    return wave;
  }
  // Calls body(row of a cache of `capacity`, row of the text's own (…, P, …)) for the first `lengths` rows of all
  // texts.
  template <class Body>
  void each_row(std::int64_t capacity, std::int64_t most, const std::vector<std::int32_t>& lengths,
                const Body& body) const {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::int64_t row = 0; row < lengths[i]; ++row) {
        body(static_cast<std::int64_t>(i) * capacity + origin[i] + row, static_cast<std::int64_t>(i) * most + row);
      }
    }
  }
};

// Rows of texts, laid into a cache that has NaN everywhere else, and taken out of it.
struct MoveSaved {
  Tensor from, to;  // shapes
  Places places;
  std::vector<std::int32_t> lengths;
  bool into_cache;
  int from_id, to_id;
  std::vector<Tensor> tensors() const { return {}; }
  const Tensor& cache() const { return into_cache ? to : from; }
  const Tensor& text() const { return into_cache ? from : to; }
  // Copies the rows from the one to the other, or adds them.
  void move(const Tensor& source, const Tensor& target, bool to_cache, bool add) const {
    const std::int64_t width = cache().dim(3) * cache().dim(4);
    places.each_row(cache().dim(2), text().dim(2), lengths, [&](std::int64_t in_cache, std::int64_t in_text) {
      double* row = target.data<double>() + (to_cache ? in_cache : in_text) * width;
      const double* other = source.data<double>() + (to_cache ? in_text : in_cache) * width;
      for (std::int64_t i = 0; i < width; ++i) row[i] = (add ? row[i] : 0) + other[i];
    });
  }
};

void move_backward(BackwardPass& pass, const MoveSaved& s) {
  const Tensor grad = pass.take(s.to_id);
  if (!grad.defined()) return;
  const auto [target, mode] = pass.slot(s.from_id, s.from);
  if (mode == GradMode::kSkip) return;
  // Of a cache's gradient nobody may look at the rows beyond a text; in a text's they are zero.
  if (mode == GradMode::kOverwrite && s.into_cache) target.fill_zero(pass.stream());
  if (mode == GradMode::kOverwrite && !s.into_cache) fill_with_nan(target);
  s.move(grad, target, !s.into_cache, mode == GradMode::kAccumulate);
}

Var moved(Context& ctx, const Var& from, const Tensor& to, const Places& places,
          const std::vector<std::int32_t>& lengths, bool into_cache) {
  MoveSaved saved{from.value, to, places, lengths, into_cache, from.id, -1};
  saved.move(from.value, to, into_cache, false);
  if (!ctx.recording() || !from.wants_grad()) return to;
  const Var result = ctx.record->output(to, true);
  saved.to_id = result.id;
  ctx.record->record("moved", saved, move_backward);
  return result;
}

Var laid(Context& ctx, const Var& text, const Places& places, std::int64_t capacity) {
  const Shape& s = text.value.shape();
  const Tensor cache = Tensor::empty(ctx.stream, {s[0], s[1], capacity, s[3], s[4]}, DType::kF64);
  fill_with_nan(cache);
  return moved(ctx, text, cache, places, places.past, true);
}

Var taken(Context& ctx, const Var& cache, const Places& places, std::int64_t most) {
  const Shape& s = cache.value.shape();
  std::vector<std::int32_t> lengths = places.past;
  for (std::size_t i = 0; i < lengths.size(); ++i) lengths[i] += places.rows[i];
  return moved(ctx, cache, Tensor::zeros(ctx.stream, {s[0], s[1], most, s[3], s[4]}, DType::kF64), places, lengths,
               false);
}

// What is padding becomes NaN: no op may let it in.
void spoil_padding(const Tensor& rows, const Places& places) {
  const std::int64_t t = rows.dim(2), w = rows.dim(3);
  for (std::size_t i = 0; i < places.rows.size(); ++i) {
    double* cell = rows.data<double>() + static_cast<std::int64_t>(i) * t * w;
    std::fill(cell + places.rows[i] * w, cell + t * w, kNaN);
  }
}

// Outputs: the mixed rows, and the text's rows with this segment's behind them.
struct Check {
  Places places;
  kernels::AttentionHeads heads;
  std::int64_t t, capacity;
  bool with_state = true;
  int group = -1;

  Gradcheck gradcheck() const {
    std::int32_t most_past = 0, most = 0;
    for (std::size_t i = 0; i < places.rows.size(); ++i) {
      most_past = std::max(most_past, places.past[i]);
      most = std::max(most, places.past[i] + places.rows[i]);
    }
    const std::int64_t g = places.cells[0], b = places.cells[1];
    const Shape past{g, b, most_past, heads.key_value, heads.width};
    return {
        .inputs = {{random_tensor({g, b, t, heads.row_width()}, 1), Contribution::kRefuses},
                   {random_tensor(past, 2), Contribution::kAdds, group},
                   {random_tensor(past, 3), Contribution::kAdds, group}},
        .op = [this, most](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
          spoil_padding(x[0].value, places);
          const ops::TextState state{laid(ctx, x[1], places, capacity), laid(ctx, x[2], places, capacity)};
          const ops::TextAttention mixed = ops::text_attention(ctx, x[0], heads, state, places.wave());
          EXPECT_EQ(mixed.next.keys.value.raw(), state.keys.value.raw());
          EXPECT_EQ(mixed.next.values.value.raw(), state.values.value.raw());
          if (!with_state) return {mixed.out};
          return {mixed.out, taken(ctx, mixed.next.keys, places, most), taken(ctx, mixed.next.values, places, most)};
        }};
  }
};

// First, later and inactive cells, ragged rows, texts that begin anywhere in their lanes.
const Places kMixed{{2, 3}, {4, 3, 0, 4, 1, 2}, {0, 5, 3, 2, 6, 0}, {0, 2, 1, 5, 0, 3}};

TEST(TextAttentionGradients, MixedCells) {
  EXPECT_GRADIENTS(Check{kMixed, {4, 2, 3}, 4, 12}.gradcheck());
  EXPECT_GRADIENTS(Check{kMixed, {3, 3, 2}, 4, 11}.gradcheck());
}

TEST(TextAttentionGradients, NothingComesFromLaterSegments) {
  EXPECT_GRADIENTS(Check{kMixed, {4, 2, 3}, 4, 12, false}.gradcheck());
}

TEST(TextAttentionGradients, NothingGoesToEarlierSegments) {
  EXPECT_GRADIENTS(Check{kMixed, {4, 2, 3}, 4, 12, true, 0}.gradcheck());
  EXPECT_GRADIENTS(Check{kMixed, {4, 2, 3}, 4, 12, false, 0}.gradcheck());
}

TEST(TextAttentionGradients, ManyRowsAndASingleOne) {
  EXPECT_GRADIENTS(Check{{{1, 1}, {70}, {3}, {1}}, {1, 1, 2}, 70, 80}.gradcheck());
  EXPECT_GRADIENTS(Check{{{1, 2}, {1, 1}, {9, 0}, {1, 0}}, {2, 1, 3}, 1, 12}.gradcheck());
}

TEST(TextAttentionGradients, TurnedInPartByPlacesInTheText) {
  const kernels::AttentionHeads heads{2, 1, 6};
  const Places places{{1, 2}, {3, 2}, {4, 0}, {0, 2}};
  const Tensor by = Tensor::from<double>({2}, {1.3, 0.1});
  std::vector<double> angles;
  for (int row = 0; row < 3; ++row) {
    for (const double f : {1.3, 0.1}) angles.push_back(std::cos(row * f));
    for (const double f : {1.3, 0.1}) angles.push_back(std::sin(row * f));
  }
  const Tensor table = Tensor::from<double>({3, 4}, angles);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({1, 2, 3, heads.row_width()}, 1), Contribution::kInPlace},
                               {random_tensor({1, 2, 4, 1, 6}, 2)},
                               {random_tensor({1, 2, 4, 1, 6}, 3)}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      const kernels::Cells cells = places.wave();
                      const Var turned =
                          ops::rotary(ctx, x[0], heads, table, {}, {.frequencies = by, .past = cells.past});
                      const ops::TextState state{laid(ctx, x[1], places, 8), laid(ctx, x[2], places, 8)};
                      const ops::TextAttention mixed = ops::text_attention(ctx, turned, heads, state, cells);
                      return {mixed.out, taken(ctx, mixed.next.keys, places, 7)};
                    }});
}

// Rows [begin, begin + count) of (G, B, T, W), as a tensor of their own.
Tensor piece(const Tensor& all, std::int64_t begin, std::int64_t count) {
  const Shape& s = all.shape();
  const Tensor out = Tensor::empty(Stream{}, {s[0], s[1], count, s[3]}, DType::kF64);
  for (std::int64_t g = 0; g < s[0]; ++g) {
    for (std::int64_t b = 0; b < s[1]; ++b) {
      out.select(g).select(b).copy_from(Stream{}, all.select(g).select(b).slice(begin, begin + count));
    }
  }
  return out;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double worst = 0;
  EXPECT_EQ(a.shape(), b.shape());
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    worst = std::max(worst, gradient_error(a.data<double>()[i], b.data<double>()[i]));
  }
  return worst;
}

// Segments one behind the other on one cache, as a record for each, with the cache's gradient handed on from wave to
// wave in one buffer: values and gradients are those of attention over the whole text.
void expect_whole(const std::vector<std::int64_t>& segments, std::int32_t origin) {
  const kernels::AttentionHeads heads{4, 2, 3};
  const std::int64_t g = 2, b = 2, n = std::accumulate(segments.begin(), segments.end(), std::int64_t{0});
  const Tensor qkv = random_tensor({g, b, n, heads.row_width()}, 1), dout = random_tensor({g, b, n, 12}, 2);
  WaveRecord whole;
  Context whole_ctx{Stream{}, &whole};
  const Var whole_in = whole.leaf(qkv), whole_out = ops::attention(whole_ctx, whole_in, heads);
  whole.set_grad(whole_out, dout.clone(Stream{}));
  whole.backward(Stream{});

  const Shape cache{g, b, n + origin, heads.key_value, heads.width};
  const Tensor keys = Tensor::empty(Stream{}, cache, DType::kF64), values = Tensor::empty(Stream{}, cache, DType::kF64);
  fill_with_nan(keys);
  fill_with_nan(values);
  struct Segment {
    std::unique_ptr<WaveRecord> record = std::make_unique<WaveRecord>();
    std::int64_t begin = 0;
    Var in;
    ops::TextState state;
    ops::TextAttention mixed;
  };
  std::vector<Segment> all;
  std::int64_t done = 0;
  for (const std::int64_t rows : segments) {
    Segment segment;
    Context ctx{Stream{}, segment.record.get()};
    segment.begin = done;
    segment.in = segment.record->leaf(piece(qkv, done, rows));
    segment.state = {segment.record->leaf(keys), segment.record->leaf(values)};
    const auto cells = std::vector<std::int32_t>(static_cast<std::size_t>(g * b), 0);
    Places places{{g, b}, cells, cells, cells};
    std::fill(places.rows.begin(), places.rows.end(), static_cast<std::int32_t>(rows));
    std::fill(places.past.begin(), places.past.end(), static_cast<std::int32_t>(done));
    std::fill(places.origin.begin(), places.origin.end(), origin);
    segment.mixed = ops::text_attention(ctx, segment.in, heads, segment.state, places.wave());
    EXPECT_LT(largest_difference(segment.mixed.out.value, piece(whole_out.value, done, rows)), kSameSums);
    // The rows themselves belong to all waves: what a record keeps does not grow with the text.
    EXPECT_EQ(segment.record->saved_bytes(), static_cast<std::uint64_t>(8 * g * b * rows * (24 + 12 + 4)));
    done += rows;
    all.push_back(std::move(segment));
  }
  Tensor dkeys, dvalues;  // nothing comes from behind the text's end
  for (std::size_t s = all.size(); s-- > 0;) {
    Segment& segment = all[s];
    const std::int64_t rows = segments[s];
    segment.record->set_grad(segment.mixed.out, piece(dout, segment.begin, rows));
    if (dkeys.defined()) {
      segment.record->set_grad(segment.mixed.next.keys, dkeys);
      segment.record->set_grad(segment.mixed.next.values, dvalues);
    }
    segment.record->backward(Stream{});
    EXPECT_LT(largest_difference(segment.record->grad(segment.in), piece(whole.grad(whole_in), segment.begin, rows)),
              kSameSums);
    const Tensor next = segment.record->grad(segment.state.keys);
    EXPECT_TRUE(!dkeys.defined() || next.raw() == dkeys.raw());  // one buffer for all waves
    dkeys = next;
    dvalues = segment.record->grad(segment.state.values);
  }
}

TEST(TextAttention, SegmentsInARowAreTheWholeText) {
  expect_whole({5, 1, 4, 7}, 0);
  expect_whole({1, 1, 1, 2}, 3);
  expect_whole({70, 64, 3}, 1);
}

TEST(TextAttention, NothingIsRecordedWhereNothingIsWanted) {
  const kernels::AttentionHeads heads{4, 2, 3};
  const Places places{{1, 1}, {2}, {1}, {0}};
  const Tensor qkv = random_tensor({1, 1, 2, 24}, 1), keys = random_tensor({1, 1, 4, 2, 3}, 2),
               values = random_tensor({1, 1, 4, 2, 3}, 3);
  WaveRecord record;
  Context ctx{Stream{}, &record};
  const ops::TextAttention plain = ops::text_attention(ctx, qkv, heads, {keys, values}, places.wave());
  EXPECT_FALSE(plain.out.wants_grad() || plain.next.keys.wants_grad() || plain.next.values.wants_grad());
  EXPECT_EQ(record.num_ops(), 0u);
  const ops::TextAttention wanted = ops::text_attention(ctx, record.leaf(qkv), heads, {keys, values}, places.wave());
  EXPECT_EQ(largest_difference(wanted.out.value, plain.out.value), 0);
  EXPECT_EQ(record.num_ops(), 1u);
  record.backward(Stream{});  // no gradient reached anything
}

}  // namespace
}  // namespace wt
