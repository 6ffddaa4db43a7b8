#include "layers/model_config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/fields.h"
#include "layers/families/family.h"

namespace wt {
namespace {

// In front of a mixer's keys: "mixers.1.", "attention.", or nothing where there is one mixer and no list.
std::string key_of_kind(const ModelConfig& m, std::size_t kind) {
  const std::string& name = m.kinds[kind].name;
  if (family_of(m).kinds_by_name) return name + ".";
  return m.kinds.size() > 1 || !name.empty() ? cat("mixers.", kind, ".") : "";
}

void check_kinds(const ModelConfig& m, const CheckFail& fail) {
  std::vector<int> kind(static_cast<std::size_t>(m.num_layers), -1);
  int rest = -1;
  for (std::size_t k = 0; k < m.kinds.size(); ++k) {
    const KindConfig& of = m.kinds[k];
    const std::string key = key_of_kind(m, k) + "layers";
    if (of.layers.empty()) {
      if (rest >= 0)
        fail(key, cat("is missing, and of mixer ", rest, " too: one of them has all that others have not"));
      rest = static_cast<int>(k);
    }
    for (const std::int64_t layer : of.layers) {
      if (layer < 0 || layer >= m.num_layers) fail(key, cat("has layer ", layer, " of ", m.num_layers));
      int& place = kind[static_cast<std::size_t>(layer)];
      if (place >= 0) fail(key, cat("has layer ", layer, ", which mixer ", place, " has as well"));
      place = static_cast<int>(k);
    }
  }
  const auto without = std::find(kind.begin(), kind.end(), -1);
  if (without != kind.end() && rest < 0) {
    fail("mixers", cat("leave layer ", without - kind.begin(), " without one; a mixer without layers has the rest"));
  }
  if (without == kind.end() && rest >= 0) {
    const std::string key = key_of_kind(m, static_cast<std::size_t>(rest));
    fail(key.substr(0, key.size() - 1), "has no layer left");
  }
}

bool kind_carries_text(const KindConfig& kind) {
  return std::visit([](const auto& mixer) { return carries_text(mixer); }, kind.mixer);
}

void check_segments(const ModelConfig& m, const CheckFail& fail) {
  if (m.own_segment_size > 0) {
    if (m.has_memory()) {
      fail("segment_size", cat("is ", m.own_segment_size, ", but ", m.armt ? "armt" : "rmt", " has a segment_size"));
    }
    if (m.window > 0)
      fail("segment_size", cat("is ", m.own_segment_size, ", but a window reads a text as one segment"));
    if (m.has_positions()) {
      fail("segment_size",
           cat("is ", m.own_segment_size, ", but ", m.family, " has a table of positions for one segment"));
    }
  }
  if (m.window > 0 && std::any_of(m.kinds.begin(), m.kinds.end(), kind_carries_text)) {
    fail("window", cat("is ", m.window, ", which is for attention that reads a text as one segment; leave it out"));
  }
  for (std::size_t k = 0; k < m.kinds.size(); ++k) {
    const auto* attention = std::get_if<AttentionConfig>(&m.kinds[k].mixer);
    if (attention == nullptr || !carries_text(*attention)) continue;
    const std::string key = key_of_kind(m, k) + "span";
    if (m.rmt) fail(key, "is text, but RMT hands its memory rows from segment to segment");
    if (m.has_positions()) fail(key, "is text, which a table of positions is not for");
  }
}

// The name of a mixer in files; "" for one that cannot be there.
template <class T>
std::string kind_name() {
  if constexpr (requires { T::kKind; }) {
    return T::kKind;
  } else {
    return "";
  }
}

template <std::size_t... I>
void choose_mixer(Fields& f, MixerConfig& mixer, std::index_sequence<I...> /*all*/) {
  std::vector<std::pair<std::string, std::size_t>> kinds;
  const auto add = [&](const std::string& name, std::size_t index) {
    if (!name.empty()) kinds.emplace_back(name, index);
  };
  (add(kind_name<std::variant_alternative_t<I, MixerConfig>>(), I), ...);
  std::size_t index = mixer.index();
  f.choice<std::size_t>("kind", index, kinds, "What mixes the rows of these layers");
  if (index == mixer.index()) return;
  const auto take = [&]<std::size_t J>() {
    if (J == index) mixer.emplace<J>();
  };
  (take.template operator()<I>(), ...);
}

}  // namespace

void describe(Fields& f, KindConfig& c) {
  f.text("name", c.name, "What it is called in keys and messages", Presence::kRequired);
  choose_mixer(f, c.mixer, std::make_index_sequence<std::variant_size_v<MixerConfig>>());
  f.integers("layers", c.layers, count_from(0), "Layers that have it, [] for all that no other mixer has");
  std::visit(
      [&]<class T>(T& mixer) {
        if constexpr (requires { T::kKind; }) describe(f, mixer);
      },
      c.mixer);
}

std::string summary(const KindConfig& config, std::int64_t hidden_size) {
  return std::visit([&](const auto& mixer) { return summary(mixer, hidden_size); }, config.mixer);
}

std::vector<int> ModelConfig::kind_of_layer() const {
  std::vector<int> kind(static_cast<std::size_t>(num_layers), 0);
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    if (kinds[k].layers.empty()) std::fill(kind.begin(), kind.end(), static_cast<int>(k));
  }
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    for (const std::int64_t layer : kinds[k].layers) kind.at(static_cast<std::size_t>(layer)) = static_cast<int>(k);
  }
  return kind;
}

double ModelConfig::output_std() const {
  return shrink_outputs ? init_std / std::sqrt(2.0 * static_cast<double>(num_layers)) : init_std;
}

bool ModelConfig::layers_carry_text() const {
  return std::all_of(kinds.begin(), kinds.end(), kind_carries_text);
}

std::int64_t ModelConfig::segment_size() const {
  if (armt) return armt->segment_size;
  if (rmt) return rmt->segment_size;
  return own_segment_size > 0 || !layers_carry_text() || window > 0 ? own_segment_size : kUsualSegment;
}

SegmentLayout ModelConfig::segment_layout() const {
  const std::int64_t m = num_mem_tokens();
  return {.before = rmt ? m : 0,
          .after = m,
          .carries = rmt.has_value(),
          .positions = has_positions() ? max_positions + (armt ? m : 0) : 0};
}

void check_model(const ModelConfig& m, const CheckFail& fail) {
  if (m.hidden_size < 1) fail("hidden_size", "is missing");
  if (m.num_layers < 1) fail("num_layers", "is missing");
  // Beyond every model there is, and small enough that no product of them overflows.
  struct Size {
    std::string key;
    std::int64_t value, most;
  };
  std::vector<Size> sizes{{"hidden_size", m.hidden_size, 1 << 20},
                          {"intermediate_size", m.feed_forward.intermediate_size, 1 << 24},
                          {"num_layers", m.num_layers, 10'000},
                          {"vocab_size", m.vocab_size, 1 << 26},
                          {"max_positions", m.max_positions, std::int64_t{1} << 40},
                          {"window", m.window, std::int64_t{1} << 40},
                          {"segment_size", m.own_segment_size, 1 << 26},
                          {"armt.segment_size", m.armt ? m.armt->segment_size : 0, 1 << 26},
                          {"armt.num_mem_tokens", m.armt ? m.armt->num_mem_tokens : 0, 1 << 20},
                          {"armt.d_mem", m.armt ? m.armt->d_mem : 0, 1 << 16},
                          {"rmt.segment_size", m.rmt ? m.rmt->segment_size : 0, 1 << 26},
                          {"rmt.num_mem_tokens", m.rmt ? m.rmt->num_mem_tokens : 0, 1 << 20},
                          {"lora.rank", m.lora ? m.lora->rank : 0, 1 << 16}};
  for (const auto& size : sizes) {
    if (size.value > size.most) fail(size.key, cat("is ", size.value, ", expected at most ", size.most));
  }
  check_kinds(m, fail);
  for (std::size_t k = 0; k < m.kinds.size(); ++k) {
    const std::string prefix = key_of_kind(m, k);
    const CheckFail of_kind = [&](const std::string& key, const std::string& what) {
      fail(key == "hidden_size" ? key : prefix + key, what);
    };
    std::visit([&](const auto& mixer) { check_mixer(mixer, m.hidden_size, of_kind); }, m.kinds[k].mixer);
  }
  if (m.feed_forward.kind == FeedForwardConfig::Kind::kNone && m.kinds.size() > 1) {
    fail("mixers", "are of several kinds: such layers have a feed-forward half");
  }
  check_segments(m, fail);
  if (m.has_positions()) {
    if (m.rmt && m.segment_rows() > m.max_positions) {
      fail("rmt.segment_size", cat("is ", m.rmt->segment_size, ", with twice ", m.rmt->num_mem_tokens,
                                   " memory tokens above ", m.family, "'s max_positions ", m.max_positions));
    }
    if (m.window > m.max_positions) {
      fail("window", cat("is ", m.window, ", above ", m.family, "'s max_positions ", m.max_positions));
    }
    if (m.armt && m.armt->segment_size > m.max_positions) {
      fail("armt.segment_size",
           cat("is ", m.armt->segment_size, ", above ", m.family, "'s max_positions ", m.max_positions));
    }
  }
  family_of(m).check(m, fail);
  if (m.armt && m.armt->nu >= 2 * m.armt->d_mem) {
    fail("armt.nu", cat("is ", m.armt->nu, ", expected below 2 d_mem = ", 2 * m.armt->d_mem,
                        ": further rotations repeat the first"));
  }
}

}  // namespace wt
