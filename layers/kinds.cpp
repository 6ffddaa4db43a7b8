#include "layers/kinds.h"

#include <algorithm>

namespace wt {

Kinds::Kinds(std::vector<int> kind_of_layer, const Stream& stream)
    : num_layers_(static_cast<int>(kind_of_layer.size())) {
  std::vector<int> place;  // of every layer in its stack
  for (int layer = 0; layer < num_layers_; ++layer) {
    const auto kind = static_cast<std::size_t>(kind_of_layer[static_cast<std::size_t>(layer)]);
    if (stacks_.size() <= kind) stacks_.resize(kind + 1);
    place.push_back(static_cast<int>(stacks_[kind].size()));
    stacks_[kind].push_back(layer);
  }
  std::vector<std::int32_t> all;  // orders of all waves that have one, for one copy to the device
  for (int hi = 1; hi <= num_layers_; ++hi) {
    for (int lo = 0; lo < hi; ++lo) {
      Wave wave;
      std::vector<std::int32_t> places(static_cast<std::size_t>(hi - lo));
      std::int32_t next = 0;
      for (int kind = 0; kind < count(); ++kind) {
        LayerGroup group{kind, 0, 0, next};
        for (int layer = lo; layer < hi; ++layer) {
          const auto at = static_cast<std::size_t>(layer);
          if (kind_of_layer[at] != kind) continue;
          if (group.size() == 0) group.lo = group.hi = place[at];
          ++group.hi;
          places[static_cast<std::size_t>(layer - lo)] = next++;
        }
        if (group.size() > 0) wave.groups.push_back(group);
      }
      if (!std::is_sorted(places.begin(), places.end())) {
        all.insert(all.end(), places.begin(), places.end());
        wave.places = std::move(places);
      }
      waves_.push_back(std::move(wave));
    }
  }
  if (all.empty()) return;
  const Tensor orders = Tensor::from<std::int32_t>(stream, {static_cast<std::int64_t>(all.size())}, all);
  std::int64_t at = 0;
  for (Wave& wave : waves_) {
    const auto size = static_cast<std::int64_t>(wave.places.size());
    if (size > 0) wave.order = orders.slice(at, at + size);
    at += size;
  }
}

const Kinds::Wave& Kinds::wave(int lo, int hi) const {
  WT_CHECK(0 <= lo && lo < hi && hi <= num_layers_, "kinds: layers [", lo, ",", hi, ") of ", num_layers_);
  const auto below = static_cast<std::size_t>(hi);
  return waves_[below * (below - 1) / 2 + static_cast<std::size_t>(lo)];
}

}  // namespace wt
