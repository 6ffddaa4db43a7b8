// ARMT, RMT (arXiv 2207.06881) and plain backbones in plain double loops, one sequence at a time, segment by segment,
// layer by layer: written from the equations (arXiv 2407.04841, Llama and GPT-2 as published), sharing no code with the
// product. It reads its weights by their published names and in place, so that it can be differenced against them.
//
// Values that carry no gradient (γ, and with k2 the state that enters a cut) are recorded at the base point and can be
// frozen: then a difference quotient sees what backward sees.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "layers/model.h"
#include "schedulers/language_model.h"
#include "schedulers/segments.h"

namespace wt {

class ReferenceArmt {
 public:
  ReferenceArmt(const Model& model, int k2 = 0) : config_(model.config()), k2_(k2) {
    for (const PublishedTensor& tensor : model.parameters().published()) weights_[tensor.name] = tensor.value;
  }

  void freeze() { frozen_ = true; }

  // The batch's summed cross-entropy; memory after each sequence in `state`: its A and z of every layer.
  double loss(const TokenBatch& batch) {
    next_ = 0;
    double sum = 0;
    states.clear();
    for (std::size_t q = 0; q < batch.sequences.size(); ++q) {
      std::vector<Target> targets;
      for (const Target& target : batch.targets) {
        if (target.sequence == static_cast<std::int32_t>(q)) targets.push_back(target);
      }
      sum += sequence_loss(batch.sequences[q], targets);
    }
    return sum;
  }

  struct Memory {
    std::vector<double> a, z;
  };
  std::vector<std::vector<Memory>> states;  // of each sequence and layer

 private:
  using Rows = std::vector<std::vector<double>>;

  // A value that gradients stop at: recorded, or once frozen, replayed.
  double stopped(double value) {
    if (!frozen_) {
      record_.push_back(value);
      return value;
    }
    return record_.at(next_++);
  }

  bool gpt2() const { return config_.family == "gpt2"; }
  const double* weight(const std::string& name) const { return weights_.at(name).data<double>(); }
  std::string base() const {
    return std::string(config_.has_memory() ? "memory_cell.model." : "") + (gpt2() ? "transformer." : "model.");
  }
  std::string layer_name(int l) const { return base() + (gpt2() ? "h." : "layers.") + std::to_string(l) + "."; }

  // x · W with W stored (out, in), or (in, out) where transposed.
  std::vector<double> apply(const std::string& name, const std::vector<double>& x, bool in_out = false) const {
    const Tensor& w = weights_.at(name);
    const auto rows = static_cast<std::size_t>(w.dim(0)), cols = static_cast<std::size_t>(w.dim(1));
    std::vector<double> y(in_out ? cols : rows, 0);
    const double* value = w.data<double>();
    for (std::size_t i = 0; i < rows; ++i, value += cols) {
      if (in_out) {
        for (std::size_t j = 0; j < cols; ++j) y[j] += value[j] * x[i];
      } else {
        for (std::size_t j = 0; j < cols; ++j) y[i] += value[j] * x[j];
      }
    }
    return y;
  }
  static void add(std::vector<double>& x, const double* y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  // x · Wᵀ, and the bias where there is one.
  std::vector<double> affine(const std::string& name, const std::vector<double>& x) const {
    std::vector<double> y = apply(name + ".weight", x);
    if (weights_.count(name + ".bias") > 0) add(y, weight(name + ".bias"));
    return y;
  }

  std::vector<double> norm(const std::string& name, const std::vector<double>& x) const {
    const double n = static_cast<double>(x.size());
    double mean = 0, square = 0;
    if (gpt2()) {
      for (const double v : x) mean += v / n;
    }
    for (const double v : x) square += (v - mean) * (v - mean) / n;
    const double scale = 1 / std::sqrt(square + config_.norm.eps);
    const double* w = weight(name + ".weight");
    std::vector<double> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = w[i] * (x[i] - mean) * scale;
    if (gpt2()) add(y, weight(name + ".bias"));
    return y;
  }

  // The feature map of arXiv 2102.11174.
  std::vector<double> features(const std::vector<double>& x) const {
    std::vector<double> u, phi;
    for (const double v : x) u.push_back(std::max(v, 0.0));
    for (const double v : x) u.push_back(std::max(-v, 0.0));
    const auto n = u.size();
    for (std::size_t j = 1; j <= static_cast<std::size_t>(config_.armt->nu); ++j) {
      for (std::size_t i = 0; i < n; ++i) phi.push_back(u[i] * u[(i + n - j) % n]);
    }
    return phi;
  }

  void rotate(const AttentionConfig& attention, double* x, std::size_t position) const {
    const auto k = static_cast<std::size_t>(attention.head_width(config_.hidden_size));
    for (std::size_t i = 0; i < k / 2; ++i) {
      const double angle = static_cast<double>(position) *
                           std::pow(attention.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(k));
      const double low = x[i], high = x[i + k / 2];
      x[i] = low * std::cos(angle) - high * std::sin(angle);
      x[i + k / 2] = high * std::cos(angle) + low * std::sin(angle);
    }
  }

  Rows block(const std::string& name, int layer, const Rows& x) const {
    const auto kind = static_cast<std::size_t>(config_.kind_of_layer()[static_cast<std::size_t>(layer)]);
    const auto& attention = std::get<AttentionConfig>(config_.kinds[kind].mixer);
    const auto heads = static_cast<std::size_t>(attention.num_heads),
               k = static_cast<std::size_t>(attention.head_width(config_.hidden_size));
    const auto kv_heads = static_cast<std::size_t>(attention.kv_heads());
    Rows q, key, value;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const std::vector<double> in = norm(name + (gpt2() ? "ln_1" : "input_layernorm"), x[t]);
      if (gpt2()) {
        std::vector<double> all = apply(name + "attn.c_attn.weight", in, true);
        add(all, weight(name + "attn.c_attn.bias"));
        const auto d = static_cast<std::ptrdiff_t>(heads * k);
        q.emplace_back(all.begin(), all.begin() + d);
        key.emplace_back(all.begin() + d, all.begin() + 2 * d);
        value.emplace_back(all.begin() + 2 * d, all.end());
      } else {
        q.push_back(affine(name + "self_attn.q_proj", in));
        key.push_back(affine(name + "self_attn.k_proj", in));
        value.push_back(affine(name + "self_attn.v_proj", in));
        for (std::size_t h = 0; h < heads; ++h) rotate(attention, q[t].data() + h * k, t);
        for (std::size_t h = 0; h < kv_heads; ++h) rotate(attention, key[t].data() + h * k, t);
      }
    }
    Rows y = x;
    for (std::size_t t = 0; t < x.size(); ++t) {
      std::vector<double> mixed(heads * k, 0);
      for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t kv = h / (heads / kv_heads);
        std::vector<double> p(t + 1, 0);
        double sum = 0;
        for (std::size_t s = 0; s <= t; ++s) {
          for (std::size_t i = 0; i < k; ++i) p[s] += q[t][h * k + i] * key[s][kv * k + i];
          sum += p[s] = std::exp(p[s] / std::sqrt(static_cast<double>(k)));
        }
        for (std::size_t s = 0; s <= t; ++s) {
          for (std::size_t i = 0; i < k; ++i) mixed[h * k + i] += p[s] / sum * value[s][kv * k + i];
        }
      }
      if (gpt2()) {
        add(y[t], apply(name + "attn.c_proj.weight", mixed, true).data());
        add(y[t], weight(name + "attn.c_proj.bias"));
        std::vector<double> hidden = apply(name + "mlp.c_fc.weight", norm(name + "ln_2", y[t]), true);
        add(hidden, weight(name + "mlp.c_fc.bias"));
        for (double& v : hidden) {
          v = 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
        }
        add(y[t], apply(name + "mlp.c_proj.weight", hidden, true).data());
        add(y[t], weight(name + "mlp.c_proj.bias"));
      } else {
        add(y[t], affine(name + "self_attn.o_proj", mixed).data());
        const std::vector<double> in = norm(name + "post_attention_layernorm", y[t]);
        std::vector<double> gate = affine(name + "mlp.gate_proj", in);
        const std::vector<double> up = affine(name + "mlp.up_proj", in);
        for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
        add(y[t], affine(name + "mlp.down_proj", gate).data());
      }
    }
    return y;
  }

  // x + (φ A) / (φ·z + ε)
  void read(const std::string& name, const Memory& memory, Rows& x) const {
    for (std::vector<double>& row : x) {
      const std::vector<double> phi = features(apply(name + "W_mq.weight", row));
      double c = 1e-5;
      for (std::size_t f = 0; f < phi.size(); ++f) c += phi[f] * memory.z[f];
      for (std::size_t i = 0; i < row.size(); ++i) {
        double sum = 0;
        for (std::size_t f = 0; f < phi.size(); ++f) sum += phi[f] * memory.a[f * row.size() + i];
        row[i] += sum / c;
      }
    }
  }

  void write(const std::string& name, bool first, const Rows& rows, Memory& memory) {
    const Memory old = memory;
    for (const std::vector<double>& row : rows) {
      const std::vector<double> k = features(apply(name + "W_mk.weight", row)), v = apply(name + "W_mv.weight", row);
      const double beta = 1 / (1 + std::exp(-apply(name + "W_mb.weight", row)[0] - weight(name + "W_mb.bias")[0]));
      double c = 1e-5, square = 1e-5, gamma = 1;
      for (std::size_t f = 0; f < k.size(); ++f) {
        c += k[f] * old.z[f];
        square += k[f] * k[f];
      }
      if (!first && config_.armt->correction) gamma = stopped(std::clamp(1 - c / square, 0.0, 1.0));
      for (std::size_t i = 0; i < v.size(); ++i) {
        double before = 0;
        for (std::size_t f = 0; f < k.size() && !first; ++f) before += k[f] * old.a[f * v.size() + i];
        for (std::size_t f = 0; f < k.size(); ++f) memory.a[f * v.size() + i] += k[f] * beta * (v[i] - before / c);
      }
      for (std::size_t f = 0; f < k.size(); ++f) memory.z[f] += gamma * k[f];
    }
  }

  double sequence_loss(const std::vector<std::int32_t>& ids, const std::vector<Target>& targets) {
    const auto d = static_cast<std::size_t>(config_.hidden_size);
    const auto n = static_cast<std::int64_t>(ids.size());
    const std::int64_t m = config_.num_mem_tokens();
    const bool rmt = config_.rmt.has_value();
    const auto first_row = static_cast<std::size_t>(rmt ? m : 0);
    Rows carried;  // RMT: the rows that a segment starts and ends with, learned ones for the first
    for (std::int64_t j = 0; j < m && rmt; ++j) {
      const double* row = weight("memory_cell.memory") + static_cast<std::size_t>(j) * d;
      carried.emplace_back(row, row + d);
    }
    const auto p = static_cast<std::size_t>(config_.armt ? config_.armt->num_features() : 0);
    std::vector<Memory> memory(static_cast<std::size_t>(config_.num_layers),
                               Memory{std::vector<double>(p * d, 0), std::vector<double>(p, 0)});
    const double* tokens = weight(base() + (gpt2() ? "wte.weight" : "embed_tokens.weight"));
    double loss = 0;
    int number = 0;
    for (const Segment& segment :
         cut_segments(n, config_.has_memory() ? config_.segment_size() : std::max<std::int64_t>(n, 1),
                      config_.segment_alignment())) {
      const bool cut = k2_ > 0 && number > 0 && number % k2_ == 0;
      Rows x;
      if (cut) {
        for (std::vector<double>& row : carried) {
          for (double& v : row) v = stopped(v);
        }
      }
      const auto append_carried = [&] {
        for (const std::vector<double>& row : carried) {
          x.push_back(row);
          if (gpt2()) add(x.back(), weight(base() + "wpe.weight") + (x.size() - 1) * d);
        }
      };
      append_carried();
      for (std::int64_t t = 0; t < segment.length; ++t) {
        const double* row = tokens + static_cast<std::size_t>(ids[static_cast<std::size_t>(segment.begin + t)]) * d;
        x.emplace_back(row, row + d);
        if (gpt2()) add(x.back(), weight(base() + "wpe.weight") + (x.size() - 1) * d);
      }
      append_carried();
      for (std::int64_t j = 0; j < m && !rmt; ++j) {
        const double* row = weight("memory_cell.memory") + static_cast<std::size_t>(j) * d;
        x.emplace_back(row, row + d);
        if (gpt2())
          add(x.back(), weight(base() + "wpe.weight") + static_cast<std::size_t>(config_.max_positions + j) * d);
      }
      for (int l = 0; l < config_.num_layers; ++l) {
        Memory& state = memory[static_cast<std::size_t>(l)];
        if (cut) {
          for (double& v : state.a) v = stopped(v);
          for (double& v : state.z) v = stopped(v);
        }
        const std::string name = layer_name(l);
        if (config_.armt && number > 0) read(name, state, x);
        x = block(name + (config_.armt ? "layer." : ""), l, x);
        if (config_.armt) write(name, number == 0, {x.end() - m, x.end()}, state);
      }
      for (std::size_t j = 0; j < carried.size(); ++j) {
        carried[j] = norm(base() + (gpt2() ? "ln_f" : "norm"), x[x.size() - carried.size() + j]);
      }
      for (std::int64_t t = 0; t < segment.length; ++t) {
        const auto target = std::find_if(targets.begin(), targets.end(),
                                         [&](const Target& wanted) { return wanted.position == segment.begin + t; });
        if (target == targets.end()) continue;
        const std::vector<double> hidden =
            norm(base() + (gpt2() ? "ln_f" : "norm"), x[first_row + static_cast<std::size_t>(t)]);
        const std::vector<double> logits =
            apply(config_.tie_word_embeddings
                      ? base() + (gpt2() ? "wte.weight" : "embed_tokens.weight")
                      : std::string(config_.has_memory() ? "memory_cell.model." : "") + "lm_head.weight",
                  hidden);
        double sum = 0;
        for (const double v : logits) sum += std::exp(v);
        loss += target->weight * (std::log(sum) - logits[static_cast<std::size_t>(target->id)]);
      }
      ++number;
    }
    states.push_back(memory);
    return loss;
  }

  ModelConfig config_;
  int k2_;
  std::map<std::string, Tensor> weights_;
  bool frozen_ = false;
  std::vector<double> record_;
  std::size_t next_ = 0;
};

}  // namespace wt
