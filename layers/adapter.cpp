#include "layers/adapter.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/activation.h"
#include "autograd/ops/low_rank.h"
#include "core/fields.h"
#include "core/text.h"

namespace wt {
namespace {

// "….self_attn.q_proj" of "….self_attn.q_proj.weight".
std::string module_of(const std::string& published) {
  return published.substr(0, published.rfind('.'));
}

bool is_target(const std::string& module, const std::string& target) {
  return module == target || module.ends_with("." + target);
}

}  // namespace

void describe(Fields& f, LoraConfig& c) {
  f.integer("rank", c.rank, count_from(1), "Rows of A, columns of B");
  f.real("alpha", c.alpha, above(0), "The adapters' product is scaled by alpha / rank");
  f.real("dropout", c.dropout, from_to_below(0, 1), "Rate on the adapters' input");
  f.texts("targets", c.targets, "Modules to adapt, [q_proj, v_proj] or, for gpt2, c_attn; must be given");
}

std::optional<std::pair<std::size_t, std::string>> find_unmatched_target(const LoraConfig& lora,
                                                                         const ParameterStore& store) {
  std::vector<std::string> modules, names;
  for (const auto& parameter : store.all()) {
    const ParameterSpec& spec = parameter->spec();
    // The memory's own matrices train whole.
    if (!spec.is_layer_matrix() || spec.role != Role::kBackbone) continue;
    for (const PublishedPart& part : spec.parts) {
      modules.push_back(module_of(part.name));
      const std::string name = modules.back().substr(modules.back().rfind('.') + 1);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  for (std::size_t i = 0; i < lora.targets.size(); ++i) {
    const std::string& target = lora.targets[i];
    if (std::any_of(modules.begin(), modules.end(), [&](const std::string& m) { return is_target(m, target); })) {
      continue;
    }
    std::string known;
    for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
    const std::string hint = did_you_mean(target, names);
    return std::pair{i, cat("'", target, "' names no matrix of the blocks",
                            hint.empty() ? cat(", expected some of ", known) : hint)};
  }
  return std::nullopt;
}

std::unique_ptr<Adapter> Adapter::make(const LoraConfig& lora, const Parameter& weight, int site,
                                       ParameterStore& store) {
  const ParameterSpec& spec = weight.spec();
  const bool out_in = spec.layout == kernels::WeightLayout::kOutIn;
  WT_CHECK(lora.rank > 0, "lora: rank is ", lora.rank, ", expected at least 1");
  WT_CHECK(out_in || spec.parts.size() == 1, "lora: ", spec.key, " is (in, out) and has ", spec.parts.size(),
           " parts, expected one");
  const std::int64_t in = spec.shape[out_in ? 1 : 0], out = spec.shape[out_in ? 0 : 1], rank = lora.rank;
  const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(in)));

  std::vector<PublishedPart> a, b;
  std::vector<std::pair<std::int64_t, std::int64_t>> outputs;  // of each part
  std::int64_t height = 0;
  for (const PublishedPart& part : spec.parts) {
    const std::string module = module_of(part.name);
    if (std::none_of(lora.targets.begin(), lora.targets.end(),
                     [&](const std::string& target) { return is_target(module, target); })) {
      continue;
    }
    outputs.emplace_back(out_in ? part.begin : 0, out_in ? part.end : out);
    const std::int64_t count = outputs.back().second - outputs.back().first;
    const auto p = static_cast<std::int64_t>(a.size());
    a.push_back({module + ".lora_A.weight", p * rank, (p + 1) * rank, init});
    b.push_back({module + ".lora_B.weight", height, height + count, Init::zeros()});
    height += count;
  }
  if (a.empty()) return nullptr;

  std::unique_ptr<Adapter> adapter(new Adapter);
  const auto parts = static_cast<std::int64_t>(a.size());
  adapter->a_ = &store.add({spec.key + ".lora_A", spec.layers, {parts * rank, in}, std::move(a), true, Role::kAdapter});
  adapter->b_ = &store.add({spec.key + ".lora_B", spec.layers, {height, rank}, std::move(b), true, Role::kAdapter});
  adapter->scale_ = lora.scale();
  adapter->dropout_ = lora.dropout;
  adapter->site_ = site;
  if (height < out || parts > 1) {
    WT_CHECK(spec.count() * out * parts < INT32_MAX, "lora: ", spec.key, " has too many rows");
    std::vector<std::int32_t> blocks;
    for (std::int64_t layer = 0; layer < spec.count(); ++layer) {
      for (std::int64_t p = 0; p < parts; ++p) {
        const auto& [begin, end] = outputs[static_cast<std::size_t>(p)];
        for (std::int64_t row = begin; row < end; ++row) {
          blocks.push_back(static_cast<std::int32_t>((layer * out + row) * parts + p));
        }
      }
    }
    adapter->blocks_ = Tensor::from<std::int32_t>(store.stream(), {spec.count(), height}, blocks);
  }
  return adapter;
}

Var Adapter::apply(Context& ctx, const WaveCells& cells, const Var& x, const Var& y, std::int64_t first) const {
  kernels::DropoutKey key = cells.dropout;
  key.site = site_;
  return ops::low_rank(ctx, ops::dropout(ctx, x, cells.number, dropout_, key), y, {a_, b_, scale_, blocks_}, first);
}

}  // namespace wt
