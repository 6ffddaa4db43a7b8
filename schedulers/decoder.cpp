#include "schedulers/decoder.h"

#include <algorithm>

#include "kernels/embedding.h"
#include "kernels/profile.h"

namespace wt {

Decoder::Decoder(const Model& model, State state, const std::vector<bool>& has_memory, std::int64_t capacity)
    : model_(model), state_(std::move(state)) {
  const auto b = static_cast<std::int64_t>(has_memory.size());
  for (const bool reads : has_memory) {
    flags_.push_back(static_cast<std::uint8_t>(kernels::kCellActive | (reads ? 0 : kernels::kCellFirst)));
    cells_.any_read = cells_.any_read || reads;
  }
  cells_.cells.flags = Tensor::from<std::uint8_t>(model.stream(), {1, b}, flags_);
  cells_.cells.rows = Tensor::zeros(model.stream(), {1, b}, DType::kI32);
  cache_ = model.new_cache(b, capacity);
  lengths_.assign(has_memory.size(), 0);
  hidden_ = Tensor::zeros(model.stream(), {b, model.config().hidden_size}, model.dtype());
}

Tensor Decoder::append(const std::vector<std::vector<std::int32_t>>& tokens) {
  const auto b = static_cast<std::int64_t>(tokens.size());
  WT_CHECK(b == hidden_.dim(0), "decoder: tokens for ", b, " samples, expected ", hidden_.dim(0));
  std::size_t longest = 0;
  for (const auto& ids : tokens) longest = std::max(longest, ids.size());
  if (longest == 0) return hidden_;
  const auto t = static_cast<std::int64_t>(longest);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(b * t), kernels::kPaddingRow);
  std::vector<std::int32_t> counts;
  for (std::int64_t i = 0; i < b; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto& ids = tokens[at];
    // Padding rows of shorter samples take room too, until the next call overwrites them.
    WT_CHECK(lengths_[at] + t <= capacity(), "decoder: the segment of sample ", i, " would have ", lengths_[at] + t,
             " rows, its capacity is ", capacity());
    const std::int64_t end = lengths_[at] + static_cast<std::int64_t>(ids.size()), limit = model_.max_segment_tokens();
    WT_CHECK(limit == 0 || end <= limit, "decoder: the segment of sample ", i, " would have ", end,
             " rows, the model's position table ", limit);
    for (const std::int32_t id : ids) {
      WT_CHECK(id >= 0 && id < model_.config().vocab_size, "embedding: token id ", id, " is not in the vocabulary of ",
               model_.config().vocab_size);
    }
    std::copy(ids.begin(), ids.end(), rows.begin() + i * t);
    counts.push_back(static_cast<std::int32_t>(ids.size()));
  }
  const Stream& stream = model_.stream();
  const Tensor length = Tensor::from<std::int32_t>({b}, lengths_);
  cache_.length.copy_from(stream, length);
  cells_.cells.rows.copy_from(stream, Tensor::from<std::int32_t>({1, b}, counts));
  const EmbeddingRows input = model_.embedding_rows(Tensor::from<std::int32_t>({b, t}, rows), length);
  const Tensor out = t == 1 ? run_single(input) : run_layers(input.to(stream), cells_, Pass::kRead);
  for (std::int64_t i = 0; i < b; ++i) {
    const std::int32_t count = counts[static_cast<std::size_t>(i)];
    if (count > 0) hidden_.select(i).copy_from(stream, out.select(i).select(count - 1));
    lengths_[static_cast<std::size_t>(i)] += count;
  }
  return hidden_;
}

void Decoder::close(const std::vector<bool>& samples) {
  const std::int64_t b = hidden_.dim(0), m = model_.num_mem_tokens();
  WT_CHECK(static_cast<std::int64_t>(samples.size()) == b, "decoder: ", samples.size(),
           " samples to close or leave open, expected ", b);
  WT_CHECK(model_.recurrent(), "decoder: a model without memory has no segment to close");
  std::vector<std::int32_t> rows(static_cast<std::size_t>(b * m), kernels::kPaddingRow);
  std::vector<std::int32_t> counts(samples.size(), 0);
  std::vector<std::uint8_t> flags(samples.size(), 0);  // not active: these memories stay as they are
  bool any = false;
  for (std::size_t at = 0; at < samples.size(); ++at) {
    WT_CHECK(lengths_[at] + m <= capacity(), "decoder: the segment of sample ", at, " would have ", lengths_[at] + m,
             " rows with its memory, its capacity is ", capacity());
    if (!samples[at]) continue;
    WT_CHECK(lengths_[at] > 0, "decoder: the segment of sample ", at, " to be closed is empty");
    for (std::int32_t j = 0; j < m; ++j) {
      rows[at * static_cast<std::size_t>(m) + static_cast<std::size_t>(j)] = kernels::memory_row(j);
    }
    counts[at] = static_cast<std::int32_t>(m);
    flags[at] = flags_[at];
    any = true;
  }
  if (!any) return;
  const Stream& stream = model_.stream();
  const Tensor length = Tensor::from<std::int32_t>({b}, lengths_);
  cache_.length.copy_from(stream, length);
  WaveCells ending;
  ending.cells = {Tensor::from<std::uint8_t>(stream, {1, b}, flags),
                  Tensor::from<std::int32_t>(stream, {1, b}, counts)};
  ending.memory_first = Tensor::zeros(stream, {1, b}, DType::kI32);
  ending.any_read = cells_.any_read;
  const EmbeddingRows input = model_.embedding_rows(Tensor::from<std::int32_t>({b, m}, rows), length);
  run_layers(input.to(stream), ending, Pass::kClose);

  for (std::size_t at = 0; at < samples.size(); ++at) {
    if (!samples[at]) continue;
    lengths_[at] = 0;
    flags_[at] = kernels::kCellActive;
  }
  cells_.cells.flags.copy_from(stream, Tensor::from<std::uint8_t>({1, b}, flags_));
  if (!cells_.any_read) {
    // A step recorded before there was anything to read lacks the reading. The next one runs as usual, so that every
    // library has its plans, and the one after it is recorded.
    cells_.any_read = true;
    if (single_.recorded()) stream.synchronize();
    single_ = Graph();
    single_rows_ = {};
  }
}

// All layers over these rows (on the device) -> (B, T, D).
Tensor Decoder::run_layers(const EmbeddingRows& rows, const WaveCells& cells, Pass pass) {
  const Stream& stream = model_.stream();
  const Shape shape{1, rows.rows.dim(0), rows.rows.dim(1), model_.config().hidden_size};
  Context ctx{stream, nullptr, false, 0, 1};
  Tensor x = Tensor::empty(stream, shape, model_.dtype());
  model_.embed(ctx, cells, rows, x.select(0));
  for (int layer = 0; layer < model_.num_layers(); ++layer) {
    ctx.lo = layer;
    ctx.hi = layer + 1;
    std::vector<Var> state;
    for (const Tensor& tensor : state_) state.emplace_back(tensor.slice(layer, layer + 1));
    x = pass == Pass::kRead ? model_.forward_cached(ctx, cells, x, state, cache_)
                            : model_.close_cached(ctx, cells, x, state, cache_);
  }
  return x.select(0);
}

// One row for each sample. On CUDA the second such step is recorded, and all later ones are launches of the recording:
// a step is some hundred kernels, too small for the host to start them one by one in time.
Tensor Decoder::run_single(const EmbeddingRows& rows) {
  const Stream& stream = model_.stream();
  if (stream.device().is_cpu() || kernels::Profile::is_open()) return run_layers(rows.to(stream), cells_, Pass::kRead);
  if (!single_rows_.rows.defined()) {
    single_rows_ = rows.to(stream);
    return run_layers(single_rows_, cells_, Pass::kRead);
  }
  single_rows_.copy_from(stream, rows);
  if (!single_.recorded()) {
    single_out_ = Tensor::empty(stream, {rows.rows.dim(0), 1, model_.config().hidden_size}, model_.dtype());
    single_ =
        Graph::record(stream, [&] { single_out_.copy_from(stream, run_layers(single_rows_, cells_, Pass::kRead)); });
  }
  single_.launch(stream);
  return single_out_;
}

Decoder::~Decoder() {
  if (single_.recorded()) model_.stream().synchronize();  // the recording must outlive its launches
}

}  // namespace wt
