#include "schedulers/decoder.h"

#include <algorithm>
#include <utility>

#include "kernels/embedding.h"
#include "kernels/profile.h"
#include "schedulers/wave_inputs.h"

namespace wt {

namespace {

// Rows that a text may go on for before its cache is laid anew.
constexpr std::int64_t kFurtherRows = 4096;

}  // namespace

Decoder::Decoder(const Model& model, State state, const std::vector<std::int64_t>& past, std::int64_t capacity)
    : model_(model),
      closed_(std::move(state)),
      before_(model.layout().before),
      capacity_(capacity + before_),
      records_(model.stream().device().is_cuda()) {
  const Stream& stream = model.stream();
  const auto b = static_cast<std::int64_t>(past.size());
  for (const std::int64_t rows : past) {
    past_.push_back(static_cast<std::int32_t>(rows));
    flags_.push_back(static_cast<std::uint8_t>(kernels::kCellActive | (rows > 0 ? 0 : kernels::kCellFirst)));
    cells_.any_read = cells_.any_read || rows > 0;
  }
  open_ = closed_.opened(capacity_);
  inputs_ = Tensor::zeros(stream, {5, b}, DType::kI32);
  cells_.cells = {Tensor::from<std::uint8_t>(stream, {1, b}, flags_), inputs_.slice(1, 2), inputs_.slice(0, 1)};
  if (model.state_grows()) {
    cells_.cells.past = inputs_.slice(2, 3);
    cells_.cells.origin = Tensor::zeros(stream, {1, b}, DType::kI32);
    reserve(*std::max_element(past.begin(), past.end()) + capacity_);
  }
  cells_.write = false;
  cells_.constants = model.constants(capacity_, true);
  single_rows_.rows = inputs_.select(3).reshape({b, 1});
  if (model.layout().positions > 0) single_rows_.position = inputs_.select(4).reshape({b, 1});
  lengths_.assign(past.size(), 0);
  hidden_ = Tensor::zeros(stream, {b, model.config().hidden_size}, model.dtype());
  begin_segments(std::vector<bool>(past.size(), true));
}

// Room for so many rows of a text. Where there was less, what is recorded knows the old memory.
void Decoder::reserve(std::int64_t rows) {
  WT_CHECK(rows <= INT32_MAX, "decoder: a text of ", rows, " rows: a cache of keys and values holds at most ",
           INT32_MAX);
  if (rows <= closed_.reserved()) return;
  closed_.reserve(std::min<std::int64_t>(INT32_MAX, rows + kFurtherRows));
  open_.share_rows(closed_);
  single_ = Graph();
  single_ran_ = false;
}

// Whether the rows before and after a sample's tokens come from its last segment.
bool Decoder::carried(std::size_t sample) const {
  return model_.one_after_another() && (flags_[sample] & kernels::kCellFirst) == 0;
}

Tensor Decoder::append(const std::vector<std::vector<std::int32_t>>& tokens) {
  const auto b = static_cast<std::int64_t>(tokens.size());
  WT_CHECK(b == hidden_.dim(0), "decoder: tokens for ", b, " samples, expected ", hidden_.dim(0));
  std::size_t longest = 0;
  for (const auto& ids : tokens) longest = std::max(longest, ids.size());
  if (longest == 0) return hidden_;
  const auto t = static_cast<std::int64_t>(longest);
  std::vector<SampleRows> samples(tokens.size());
  for (int i = 0; i < b; ++i) {
    const auto& ids = tokens[static_cast<std::size_t>(i)];
    // Padding rows of shorter samples take room too, until the next call overwrites them.
    WT_CHECK(length(i) + t <= capacity(), "decoder: the segment of sample ", i, " would have ", length(i) + t,
             " rows, its capacity is ", capacity());
    const std::int64_t end = length(i) + static_cast<std::int64_t>(ids.size()), limit = model_.max_segment_tokens();
    WT_CHECK(limit == 0 || end <= limit, "decoder: the segment of sample ", i, " would have ", end,
             " rows, the model's position table ", limit);
    check_tokens(model_, ids);
    samples[static_cast<std::size_t>(i)].tokens = ids;
  }
  const Tensor out = run_rows(samples, t, cells_);
  for (std::int64_t i = 0; i < b; ++i) {
    const auto count = static_cast<std::int64_t>(tokens[static_cast<std::size_t>(i)].size());
    const Tensor last = count > 0 ? out.select(i).select(count - 1) : Tensor{};
    if (count > 0 && !last.overlaps(hidden_)) hidden_.select(i).copy_from(model_.stream(), last);
  }
  return hidden_;
}

void Decoder::clear(const std::vector<bool>& samples) {
  WT_CHECK(samples.size() == lengths_.size(), "decoder: ", samples.size(), " samples to clear or leave, expected ",
           lengths_.size());
  WT_CHECK(!model_.recurrent(), "decoder: a segment of a model with a memory is closed, not cleared");
  for (std::size_t at = 0; at < samples.size(); ++at) {
    if (samples[at]) lengths_[at] = 0;
  }
}

void Decoder::close(const std::vector<bool>& samples) {
  const std::int64_t b = hidden_.dim(0);
  WT_CHECK(static_cast<std::int64_t>(samples.size()) == b, "decoder: ", samples.size(),
           " samples to close or leave open, expected ", b);
  WT_CHECK(model_.recurrent(), "decoder: a model without memory has no segment to close");
  for (int i = 0; i < b; ++i) {
    WT_CHECK(!samples[static_cast<std::size_t>(i)] || length(i) > 0, "decoder: the segment of sample ", i,
             " to be closed is empty");
  }
  if (std::find(samples.begin(), samples.end(), true) == samples.end()) return;
  if (model_.layout().after > 0) run_memory_rows(samples);
  const Stream& stream = model_.stream();
  std::int32_t longest = 0;
  for (int i = 0; i < b; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (samples[at]) {
      closed_.copy_sample(i, open_, i);
      past_[at] += std::exchange(lengths_[at], 0);
      flags_[at] = kernels::kCellActive;
    }
    longest = std::max(longest, past_[at]);
  }
  if (model_.state_grows()) reserve(longest + capacity_);
  cells_.cells.flags.copy_from(stream, Tensor::from<std::uint8_t>({1, b}, flags_));
  if (!cells_.any_read) {
    // A step recorded before there was anything to read lacks the reading. The next one runs as usual, so that every
    // library has its plans, and the one after it is recorded.
    cells_.any_read = true;
    single_ = Graph();
    single_ran_ = false;
  }
  begin_segments(samples);
}

// The memory's rows after the tokens of these samples' segments.
void Decoder::run_memory_rows(const std::vector<bool>& samples) {
  const std::int64_t b = hidden_.dim(0), m = model_.layout().after;
  std::vector<SampleRows> rows(samples.size());
  std::vector<std::uint8_t> flags(samples.size(), 0);  // not active: these memories stay as they are
  for (int i = 0; i < b; ++i) {
    const auto at = static_cast<std::size_t>(i);
    WT_CHECK(length(i) + m <= capacity(), "decoder: the segment of sample ", i, " would have ", length(i) + m,
             " rows with its memory, its capacity is ", capacity());
    if (!samples[at]) continue;
    rows[at].after = true;
    rows[at].carried = carried(at);
    flags[at] = flags_[at];
  }
  const Stream& stream = model_.stream();
  WaveCells ending = cells_;
  ending.cells.flags = Tensor::from<std::uint8_t>(stream, {1, b}, flags);
  ending.memory_first = Tensor::zeros(stream, {1, b}, DType::kI32);
  ending.write = true;
  const Tensor out = run_rows(rows, m, ending);
  if (const auto own = model_.own_state()) {
    Context ctx{stream, nullptr, false, 0, 1};
    const Tensor next = model_.carry(ctx, ending, out.reshape({1, b, m, model_.config().hidden_size})).value;
    for (std::int64_t i = 0; i < b; ++i) {
      if (!samples[static_cast<std::size_t>(i)]) continue;
      open_[*own].select(0).select(i).copy_from(stream, next.select(0).select(i));
    }
  }
}

// What the empty segments of these samples begin with. RMT: the rows before their tokens; other models have none.
void Decoder::begin_segments(const std::vector<bool>& samples) {
  for (std::size_t at = 0; at < samples.size(); ++at) {
    if (samples[at]) open_.zero_uncarried(static_cast<int>(at));
  }
  if (before_ == 0) return;
  std::vector<SampleRows> rows(samples.size());
  for (std::size_t at = 0; at < samples.size(); ++at) {
    rows[at].before = samples[at];
    rows[at].carried = samples[at] && carried(at);
  }
  run_rows(rows, before_, cells_);
}

// The next rows of each sample, T at most -> the last layer's output, (B, T, D).
Tensor Decoder::run_rows(const std::vector<SampleRows>& samples, std::int64_t t, WaveCells& cells) {
  const auto b = static_cast<std::int64_t>(samples.size());
  std::vector<SampleRows> placed = samples;
  std::vector<std::int32_t> counts, upload = lengths_;
  for (std::size_t at = 0; at < samples.size(); ++at) {
    const SampleRows& of = samples[at];
    placed[at].position = lengths_[at];
    counts.push_back(static_cast<std::int32_t>((of.before ? model_.layout().before : 0) +
                                               static_cast<std::int64_t>(of.tokens.size()) +
                                               (of.after ? model_.layout().after : 0)));
  }
  const EmbeddingRows input = model_.layout().embedding_rows(placed, t);
  upload.insert(upload.end(), counts.begin(), counts.end());
  upload.insert(upload.end(), past_.begin(), past_.end());
  cells.before = lengths_;
  cells.lengths = counts;
  for (std::size_t at = 0; at < counts.size(); ++at) lengths_[at] += counts[at];
  if (t > 1 || cells.write || input.carried_from.defined()) {
    inputs_.slice(0, 3).copy_from(model_.stream(), Tensor::from<std::int32_t>({3, b}, upload));
    return run_layers(input.to(model_.stream()), cells);
  }
  const std::vector<std::int32_t> ids = input.rows.to_vector<std::int32_t>();
  upload.insert(upload.end(), ids.begin(), ids.end());
  const std::vector<std::int32_t> position =
      input.position.defined() ? input.position.to_vector<std::int32_t>() : std::vector<std::int32_t>(ids.size());
  upload.insert(upload.end(), position.begin(), position.end());
  inputs_.copy_from(model_.stream(), Tensor::from<std::int32_t>({5, b}, upload));
  return run_single();
}

// All layers over these rows (on the device) -> (B, T, D).
Tensor Decoder::run_layers(const EmbeddingRows& rows, const WaveCells& cells) {
  const Stream& stream = model_.stream();
  const Shape shape{1, rows.rows.dim(0), rows.rows.dim(1), model_.config().hidden_size};
  Context ctx{stream, nullptr, false, 0, 1};
  Tensor x = Tensor::empty(stream, shape, model_.dtype());
  const auto own = model_.own_state();
  model_.embed(ctx, cells, rows, x.select(0), own ? Var(open_[*own]) : Var());
  for (int layer = 0; layer < model_.num_layers(); ++layer) {
    ctx.lo = layer;
    ctx.hi = layer + 1;
    const std::vector<Tensor> state = open_.slice(layer, layer + 1);
    x = model_.forward(ctx, cells, x, {state.begin(), state.end()}, state, {}).y.value;
  }
  return x.select(0);
}

// One row for each sample, as inputs_ says. On CUDA the second such step is recorded, and all later ones are launches
// of the recording: a step is some hundred kernels, too small for the host to start them one by one in time.
Tensor Decoder::run_single() {
  const Stream& stream = model_.stream();
  const bool records = records_ && !kernels::Profile::is_open();  // a graph's kernels cannot be timed one by one
  if (records && single_ran_ && !single_.recorded()) {
    const Shape shape{hidden_.dim(0), 1, hidden_.dim(1)};
    // A single sample's step always has a token: its output is `hidden_` at once.
    single_out_ = hidden_.dim(0) == 1 ? hidden_.reshape(shape) : Tensor::empty(stream, shape, model_.dtype());
    single_ = Graph::record(stream, [&] { single_out_.copy_from(stream, run_layers(single_rows_, cells_)); });
    records_ = single_.recorded();
  }
  if (!records || !single_.recorded()) {
    single_ran_ = true;
    return run_layers(single_rows_, cells_);
  }
  single_.launch(stream);
  return single_out_;
}

}  // namespace wt
