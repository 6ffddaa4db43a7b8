// Which layers have which kind of mixer, and how a wave's layers are grouped by it.
//
//   layer   0 1 2 3 4 5 6 7                 conv    stack 0,3,4,7   wave [2,7) touches [1,3)
//   kind    c l w c c l w c                 linear  stack 1,5                          [1,2)
//   wave [2,7)          w c c l w           window  stack 2,6                          [0,2)
//   kind order          3 4 | 5 | 2 6  ->  order(g) = 3 0 1 2 4
//
// Stack: the layers of one kind in order. Group: a wave's layers of one kind, always a slice of the stack. Kind order:
// a wave's layers sorted by kind, then by number; with one kind it is the order of layers.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace wt {

// Places [lo, hi) of the stack of `kind`; in kind order they stand from place `at` on.
struct LayerGroup {
  int kind = 0, lo = 0, hi = 0;
  std::int64_t at = 0;
  int size() const { return hi - lo; }
  bool operator==(const LayerGroup&) const = default;
};

class Kinds {
 public:
  // The kind of every layer.
  Kinds(std::vector<int> kind_of_layer, const Stream& stream);

  int count() const { return static_cast<int>(stacks_.size()); }
  // The stack of a kind: its layers.
  const std::vector<int>& layers(int kind) const { return stacks_[static_cast<std::size_t>(kind)]; }
  // Of layers [lo, hi).
  const std::vector<LayerGroup>& groups(int lo, int hi) const { return wave(lo, hi).groups; }
  // By layer lo + g, its place in kind order: on the host, and (G) i32 on the device. Empty and undefined where that is
  // the order of layers.
  const std::vector<std::int32_t>& places(int lo, int hi) const { return wave(lo, hi).places; }
  const Tensor& order(int lo, int hi) const { return wave(lo, hi).order; }

 private:
  struct Wave {
    std::vector<LayerGroup> groups;
    std::vector<std::int32_t> places;
    Tensor order;
  };
  const Wave& wave(int lo, int hi) const;

  std::vector<std::vector<int>> stacks_;
  int num_layers_;
  std::vector<Wave> waves_;  // of every [lo, hi): hi by hi
};

}  // namespace wt
