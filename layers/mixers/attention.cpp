#include "layers/mixers/attention.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/text_attention.h"
#include "core/fields.h"
#include "kernels/rotary.h"
#include "layers/builder.h"
#include "layers/linear.h"
#include "layers/mixer.h"
#include "layers/model_config.h"
#include "layers/rotary_table.h"

namespace wt {
namespace {

LinearSpec in_spec(const Builder& builder, const AttentionConfig& config) {
  const ModelConfig& model = builder.config();
  const kernels::AttentionHeads heads = config.heads(model.hidden_size);
  const std::int64_t q = heads.query * heads.width, kv = heads.key_value * heads.width;
  LinearSpec spec{.key = "attention.in",
                  .inputs = model.hidden_size,
                  .bias = config.bias,
                  .init = Init::normal(model.init_std),
                  .site = DropoutSite::kMixerIn};
  if (config.in.size() == 1) {
    spec.parts = {{config.in[0], q + 2 * kv}};
  } else {
    spec.parts = {{config.in[0], q}, {config.in[1], kv}, {config.in[2], kv}};
  }
  return spec;
}

LinearSpec out_spec(const Builder& builder, const AttentionConfig& config) {
  const ModelConfig& model = builder.config();
  return {.key = "attention.out",
          .parts = {{config.out, model.hidden_size}},
          .inputs = config.num_heads * config.head_width(model.hidden_size),
          .bias = config.bias,
          .init = Init::normal(model.output_std()),
          .site = DropoutSite::kMixerOut};
}

class Attention final : public Mixer {
 public:
  Attention(const AttentionConfig& config, const Builder& builder)
      : stream_(builder.store().stream()),
        dtype_(builder.store().dtype()),
        rotary_(config.rotary),
        of_text_(config.span == AttentionConfig::Span::kText),
        heads_(config.heads(builder.config().hidden_size)),
        turned_(config.rotary ? config.rotary_width(builder.config().hidden_size) : 0),
        in_(builder, in_spec(builder, config)),
        out_(builder, out_spec(builder, config)),
        tables_(config, builder.config()) {
    if (of_text_ && rotary_) frequencies_ = tables_.text_frequencies(stream_);
  }

  std::vector<StateSpec> state_specs() const override {
    const StateSpec rows{
        .shape = {heads_.key_value, heads_.width}, .dtype = dtype_, .life = StateSpec::Life::kRows, .open = !of_text_};
    std::vector<StateSpec> specs{rows, rows};
    specs[0].name = "key.{l}";
    specs[1].name = "value.{l}";
    return specs;
  }

  Tensor constants(std::int64_t rows, bool open) const override {
    // Whole segments have tables of their own where frequencies go by their length.
    if (!rotary_ || (tables_.by_rows() && !open)) return {};
    return tables_.of_single_rows(stream_, rows, wide(dtype_));
  }

  Output forward(Context& ctx, const WaveCells& cells, const Normed& x, const Var* residual,
                 const std::vector<Var>& state_in, const std::vector<Tensor>& /*state_out*/,
                 const Tensor& out) const override {
    const Var qkv = in_(ctx, cells, x);
    if (of_text_) {
      const ops::TextAttention text = attend_text(ctx, cells, qkv, {state_in[0], state_in[1]});
      return {out_.back(ctx, cells, text.out, residual, DropoutSite::kMixer, out), {text.next.keys, text.next.values}};
    }
    const bool open = state_in[0].value.defined();
    const Var mixed = open ? Var(attend_open(ctx, cells, qkv.value, state_in)) : attend(ctx, cells, qkv);
    return {out_.back(ctx, cells, mixed, residual, DropoutSite::kMixer, out), state_in};
  }

  Cost cost(std::int64_t rows, std::int64_t past) const override {
    const std::int64_t d = in_.inputs(), w = in_.outputs(), q = out_.inputs();
    const auto t = static_cast<double>(rows);
    // Two products: the causal half of rows and rows, and all of rows and rows before them.
    const double before = of_text_ ? static_cast<double>(past) : 0;
    return {in_.flops(rows) + out_.flops(rows) + (2 * t + 4 * before) * t * static_cast<double>(q),
            rows * (d + w + q + heads_.query)};
  }

 private:
  Var attend(Context& ctx, const WaveCells& cells, const Var& qkv) const {
    if (!rotary_) return ops::attention(ctx, qkv, heads_);
    const Shape& shape = qkv.value.shape();
    const RotaryAngles angles =
        tables_.by_rows() ? tables_.of_segments(ctx.stream, {shape[0], shape[1]}, cells.lengths, shape[2], wide(dtype_))
                          : RotaryAngles{table(ctx.stream, cells, shape[2]), {}};
    return ops::attention(ctx, ops::rotary(ctx, qkv, heads_, angles.cos_sin, angles.first), heads_);
  }

  // Positions count on through the text: the table says how far a row turns in its segment.
  ops::TextAttention attend_text(Context& ctx, const WaveCells& cells, const Var& qkv,
                                 const ops::TextState& state) const {
    if (!rotary_) return ops::text_attention(ctx, qkv, heads_, state, cells.cells);
    const kernels::RotaryOptions options{.frequencies = frequencies_, .past = cells.cells.past};
    const Var turned =
        ops::rotary(ctx, qkv, heads_, table(ctx.stream, cells, qkv.value.dim(2)), cells.cells.open, options);
    return ops::text_attention(ctx, turned, heads_, state, cells.cells);
  }

  // Angles of rows at positions 0 ... rows - 1, or more of them.
  Tensor table(const Stream& stream, const WaveCells& cells, std::int64_t rows) const {
    return cells.constant().defined() ? cells.constant() : tables_.of_single_rows(stream, rows, wide(dtype_));
  }

  // The next rows of an open segment, which attend those before them.
  Tensor attend_open(Context& ctx, const WaveCells& cells, const Tensor& qkv, const std::vector<Var>& state) const {
    const std::int64_t b = qkv.dim(1), t = qkv.dim(2);
    WT_CHECK(qkv.dim(0) == 1 && !ctx.recording(), "attention: an open segment is read a layer at a time, unrecorded");
    const Tensor &keys = state[0].value, &values = state[1].value;
    Tensor cos_sin;  // what attention is still to turn by
    const kernels::RotaryOptions whole{.head_width = heads_.width};
    if (rotary_ && t > 1 && tables_.by_rows()) {
      std::vector<std::int32_t> after = cells.before;
      for (std::size_t i = 0; i < after.size(); ++i) after[i] += cells.lengths[i];
      const RotaryAngles angles = tables_.of_further_rows(ctx.stream, cells.before, after, t, wide(dtype_));
      kernels::rotary(ctx.stream, qkv, heads_.query + heads_.key_value, angles.cos_sin, angles.first, false, whole);
    } else if (rotary_) {
      cos_sin = table(ctx.stream, cells, keys.dim(2));
      if (turned_ < heads_.width) {
        kernels::rotary(ctx.stream, qkv, heads_.query + heads_.key_value, cos_sin, cells.cells.open, false, whole);
        cos_sin = {};
      }
    }
    const Tensor mixed = Tensor::empty(ctx.stream, {1, b, t, heads_.query * heads_.width}, qkv.dtype());
    kernels::attention_cached(ctx.stream, qkv.select(0), heads_, cells.cells.open.select(0), keys.select(0),
                              values.select(0), mixed.select(0), cos_sin);
    return mixed;
  }

  Stream stream_;
  DType dtype_;
  bool rotary_, of_text_;
  kernels::AttentionHeads heads_;
  std::int64_t turned_;  // entries of a head that positions turn
  Linear in_, out_;
  RotaryTables tables_;
  Tensor frequencies_;  // over a text: radians a position
};

}  // namespace

void describe(Fields& f, RopeScaling& c) {
  f.choice<std::string>("type", c.type,
                        {{"default", "default"}, {"linear", "linear"}, {"dynamic", "dynamic"}, {"llama3", "llama3"}},
                        "How rotary frequencies are stretched");
  f.real("factor", c.factor, at_least(1), "How much longer contexts get");
  f.real("low_freq_factor", c.low_freq_factor, above(0), "llama3: wavelengths above original / this are divided");
  f.real("high_freq_factor", c.high_freq_factor, above(0), "llama3: wavelengths below original / this stay");
  f.integer("original_max_positions", c.original_max_positions, count_from(1),
            "llama3, dynamic: length of the first training");
}

std::string summary(const AttentionConfig& c, std::int64_t hidden_size) {
  return cat(c.num_heads, " heads (", c.kv_heads(), " key/value) of ", c.head_width(hidden_size));
}

void describe(Fields& f, AttentionConfig& c) {
  describe_heads(f, c);
  f.real("partial_rotary_factor", c.partial_rotary_factor, {.min = 0, .max = 1, .min_open = true},
         "How much of a head rotary positions turn");
  f.choice<AttentionConfig::Span>(
      "span", c.span, {{"segment", AttentionConfig::Span::kSegment}, {"text", AttentionConfig::Span::kText}},
      "What rows attend: their segment, or all of their text, whose keys and values grow");
}

void describe_heads(Fields& f, AttentionConfig& c) {
  f.integer("num_heads", c.num_heads, count_from(1), "Query heads", Presence::kRequired);
  f.integer("num_kv_heads", c.num_kv_heads, count_from(0), "Key and value heads, 0 for num_heads");
  f.integer("head_dim", c.head_dim, count_from(0), "Width of a head, 0 for hidden_size / num_heads");
  f.real("rope_theta", c.rope_theta, above(0), "Base of the rotary frequencies");
  f.group("rope_scaling", "Rotary frequencies for longer contexts", [&](Fields& g) { describe(g, c.rope_scaling); });
  f.boolean("attention_bias", c.bias, "Biases on query, key, value and output");
}

void check_mixer(const AttentionConfig& c, std::int64_t hidden_size, const CheckFail& fail) {
  if (c.num_heads < 1) fail("num_heads", "is missing");
  for (const auto& [key, value] :
       {std::pair{"num_heads", c.num_heads}, {"num_kv_heads", c.num_kv_heads}, {"head_dim", c.head_dim}}) {
    if (constexpr std::int64_t kMost = 1 << 16; value > kMost) {
      fail(key, cat("is ", value, ", expected at most ", kMost));
    }
  }
  if (c.head_dim == 0 && hidden_size % c.num_heads != 0) {
    fail("hidden_size", cat("is ", hidden_size, ", not a multiple of num_heads ", c.num_heads));
  }
  if (c.num_heads % c.kv_heads() != 0) {
    fail("num_kv_heads", cat("is ", c.kv_heads(), ", expected a divisor of num_heads ", c.num_heads));
  }
  if (!c.rotary) return;
  if (c.head_width(hidden_size) % 2 != 0) {
    fail("head_dim", cat("is ", c.head_width(hidden_size), ", expected an even number: rotary positions turn pairs"));
  }
  if (!(c.partial_rotary_factor > 0 && c.partial_rotary_factor <= 1)) {
    fail("partial_rotary_factor", cat("is ", c.partial_rotary_factor, ", expected above 0, at most 1"));
  }
  if (const std::int64_t turned = c.rotary_width(hidden_size); turned < 2 || turned % 2 != 0) {
    fail("partial_rotary_factor", cat("is ", c.partial_rotary_factor, ", which of a head of ",
                                      c.head_width(hidden_size), " turns ", turned, ", expected an even number"));
  }
  if (c.span == AttentionConfig::Span::kText && c.rope_scaling.type == "dynamic") {
    fail("rope_scaling.type",
         "is dynamic, which goes by the length of a text read whole: not for one read by segments");
  }
  if (c.rope_scaling.type == "llama3" && c.rope_scaling.low_freq_factor >= c.rope_scaling.high_freq_factor) {
    fail("rope_scaling.low_freq_factor", cat("is ", c.rope_scaling.low_freq_factor,
                                             ", expected below high_freq_factor ", c.rope_scaling.high_freq_factor));
  }
}

std::unique_ptr<Mixer> make_mixer(const AttentionConfig& config, const Builder& builder) {
  return std::make_unique<Attention>(config, builder);
}

}  // namespace wt
