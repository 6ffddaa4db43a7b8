#include "schedulers/decoder.h"

#include <algorithm>

#include "kernels/embedding.h"
#include "kernels/profile.h"

namespace wt {

Decoder::Decoder(const Model& model, State state, const std::vector<bool>& has_memory, std::int64_t capacity)
    : model_(model),
      state_(std::move(state)),
      first_(model.first_token_row()),
      records_(model.stream().device().is_cuda()) {
  const auto b = static_cast<std::int64_t>(has_memory.size());
  for (const bool reads : has_memory) {
    flags_.push_back(static_cast<std::uint8_t>(kernels::kCellActive | (reads ? 0 : kernels::kCellFirst)));
    cells_.any_read = cells_.any_read || reads;
  }
  cells_.cells.flags = Tensor::from<std::uint8_t>(model.stream(), {1, b}, flags_);
  cache_ = model.new_cache(b, capacity + first_);
  inputs_ = Tensor::zeros(model.stream(), {4, b}, DType::kI32);
  cache_.length = inputs_.select(0);
  cells_.cells.rows = inputs_.slice(1, 2);
  single_rows_.rows = inputs_.select(2).reshape({b, 1});
  if (model.has_position_table()) single_rows_.position = inputs_.select(3).reshape({b, 1});
  lengths_.assign(has_memory.size(), 0);
  hidden_ = Tensor::zeros(model.stream(), {b, model.config().hidden_size}, model.dtype());
  begin_segments(std::vector<bool>(has_memory.size(), true));
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
  for (int i = 0; i < b; ++i) {
    const auto& ids = tokens[static_cast<std::size_t>(i)];
    // Padding rows of shorter samples take room too, until the next call overwrites them.
    WT_CHECK(length(i) + t <= capacity(), "decoder: the segment of sample ", i, " would have ", length(i) + t,
             " rows, its capacity is ", capacity());
    const std::int64_t end = length(i) + static_cast<std::int64_t>(ids.size()), limit = model_.max_segment_tokens();
    WT_CHECK(limit == 0 || end <= limit, "decoder: the segment of sample ", i, " would have ", end,
             " rows, the model's position table ", limit);
    for (const std::int32_t id : ids) {
      WT_CHECK(id >= 0 && id < model_.config().vocab_size, "embedding: token id ", id, " is not in the vocabulary of ",
               model_.config().vocab_size);
    }
    std::copy(ids.begin(), ids.end(), rows.begin() + i * t);
    counts.push_back(static_cast<std::int32_t>(ids.size()));
  }
  const EmbeddingRows input =
      model_.embedding_rows(Tensor::from<std::int32_t>({b, t}, rows), Tensor::from<std::int32_t>({b}, lengths_));
  std::vector<std::int32_t> upload = lengths_;
  upload.insert(upload.end(), counts.begin(), counts.end());
  Tensor out;
  if (t == 1) {
    upload.insert(upload.end(), rows.begin(), rows.end());
    const std::vector<std::int32_t> position =
        input.position.defined() ? input.position.to_vector<std::int32_t>() : std::vector<std::int32_t>(rows.size());
    upload.insert(upload.end(), position.begin(), position.end());
    inputs_.copy_from(model_.stream(), Tensor::from<std::int32_t>({4, b}, upload));
    out = run_single();
  } else {
    inputs_.slice(0, 2).copy_from(model_.stream(), Tensor::from<std::int32_t>({2, b}, upload));
    cache_.before = cache_.after = lengths_;
    for (std::size_t at = 0; at < counts.size(); ++at) cache_.after[at] += counts[at];
    out = run_layers(input.to(model_.stream()), cells_, Pass::kRead);
  }
  for (std::int64_t i = 0; i < b; ++i) {
    const std::int32_t count = counts[static_cast<std::size_t>(i)];
    const Tensor last = count > 0 ? out.select(i).select(count - 1) : Tensor{};
    if (count > 0 && !last.overlaps(hidden_)) hidden_.select(i).copy_from(model_.stream(), last);
    lengths_[static_cast<std::size_t>(i)] += count;
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
  const std::int64_t b = hidden_.dim(0), m = model_.num_mem_tokens();
  WT_CHECK(static_cast<std::int64_t>(samples.size()) == b, "decoder: ", samples.size(),
           " samples to close or leave open, expected ", b);
  WT_CHECK(model_.recurrent(), "decoder: a model without memory has no segment to close");
  std::vector<std::int32_t> rows(static_cast<std::size_t>(b * m), kernels::kPaddingRow);
  std::vector<std::int32_t> counts(samples.size(), 0);
  std::vector<std::uint8_t> flags(samples.size(), 0);  // not active: these memories stay as they are
  bool any = false;
  for (int i = 0; i < b; ++i) {
    const auto at = static_cast<std::size_t>(i);
    WT_CHECK(length(i) + m <= capacity(), "decoder: the segment of sample ", i, " would have ", length(i) + m,
             " rows with its memory, its capacity is ", capacity());
    if (!samples[at]) continue;
    WT_CHECK(length(i) > 0, "decoder: the segment of sample ", i, " to be closed is empty");
    const bool carried = model_.carries_rows() && (flags_[at] & kernels::kCellFirst) == 0;
    for (std::int32_t j = 0; j < m; ++j) {
      rows[at * static_cast<std::size_t>(m) + static_cast<std::size_t>(j)] =
          carried ? model_.carried_row(j) : kernels::memory_row(j);
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
  const Tensor out = run_layers(input.to(stream), ending, Pass::kClose);
  if (model_.carries_rows()) {
    Context ctx{stream, nullptr, false, 0, 1};
    const Tensor memory = model_.carry(ctx, ending, out.reshape({1, b, m, model_.config().hidden_size})).value;
    for (std::int64_t i = 0; i < b; ++i) {
      if (!samples[static_cast<std::size_t>(i)]) continue;
      state_[0].select(0).select(i).copy_from(stream, memory.select(0).select(i));
    }
  }

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
    single_ = Graph();
    single_ran_ = false;
  }
  begin_segments(samples);
}

// RMT: the rows before the tokens of these samples' empty segments, carried from the closed ones, or learned where
// there is none. Other models have no such rows.
void Decoder::begin_segments(const std::vector<bool>& samples) {
  if (first_ == 0) return;
  const std::int64_t b = hidden_.dim(0);
  std::vector<std::int32_t> rows, upload = lengths_;
  for (std::size_t at = 0; at < samples.size(); ++at) {
    const bool carried = (flags_[at] & kernels::kCellFirst) == 0;
    for (std::int32_t j = 0; j < first_; ++j) {
      rows.push_back(!samples[at] ? kernels::kPaddingRow : carried ? model_.carried_row(j) : kernels::memory_row(j));
    }
    upload.push_back(samples[at] ? static_cast<std::int32_t>(first_) : 0);
  }
  const Stream& stream = model_.stream();
  inputs_.slice(0, 2).copy_from(stream, Tensor::from<std::int32_t>({2, b}, upload));
  const EmbeddingRows input =
      model_.embedding_rows(Tensor::from<std::int32_t>({b, first_}, rows), Tensor::from<std::int32_t>({b}, lengths_));
  run_layers(input.to(stream), cells_, Pass::kRead);
  for (std::size_t at = 0; at < samples.size(); ++at) {
    if (samples[at]) lengths_[at] = static_cast<std::int32_t>(first_);
  }
}

// All layers over these rows (on the device) -> (B, T, D).
Tensor Decoder::run_layers(const EmbeddingRows& rows, const WaveCells& cells, Pass pass) {
  const Stream& stream = model_.stream();
  const Shape shape{1, rows.rows.dim(0), rows.rows.dim(1), model_.config().hidden_size};
  Context ctx{stream, nullptr, false, 0, 1};
  Tensor x = Tensor::empty(stream, shape, model_.dtype());
  model_.embed(ctx, cells, rows, x.select(0), model_.carries_rows() ? Var(state_[0]) : Var());
  for (int layer = 0; layer < model_.num_layers(); ++layer) {
    ctx.lo = layer;
    ctx.hi = layer + 1;
    std::vector<Var> state;
    for (const Tensor& tensor : model_.layer_state(state_)) state.emplace_back(tensor.slice(layer, layer + 1));
    x = pass == Pass::kRead ? model_.forward_cached(ctx, cells, x, state, cache_)
                            : model_.close_cached(ctx, cells, x, state, cache_);
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
    single_ =
        Graph::record(stream, [&] { single_out_.copy_from(stream, run_layers(single_rows_, cells_, Pass::kRead)); });
    records_ = single_.recorded();
  }
  if (!records || !single_.recorded()) {
    single_ran_ = true;
    return run_layers(single_rows_, cells_, Pass::kRead);
  }
  single_.launch(stream);
  return single_out_;
}

}  // namespace wt
