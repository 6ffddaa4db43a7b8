// Which task each sample of a mixture is of, by weight, and how many of that task came before it: a pure function of
// seed, split and the sample's number, so that every task's own samples are used one after another, without a gap, and
// a resumed run goes on with the same ones.
#pragma once

#include <cstdint>
#include <vector>

#include "data/splits.h"

namespace wt {

class TaskMixture {
 public:
  // Weights are not negative, their sum is positive.
  TaskMixture(const std::vector<double>& weights, std::uint64_t seed);

  struct Place {
    std::size_t task = 0;
    std::uint64_t rank = 0;  // samples of the task before this one
  };
  // sample < 2^36. Of every 64 samples each task has the share that its weight says, to a sample or two; their
  // order is drawn.
  Place at(Split split, std::uint64_t sample) const;
  // How many of the first `samples` samples are of each task.
  std::vector<std::uint64_t> counts(Split split, std::uint64_t samples) const;

 private:
  std::vector<std::uint64_t> counts_by_weight(std::uint64_t samples) const;
  std::vector<std::size_t> block_order(Split split, std::uint64_t block) const;

  std::vector<std::uint64_t> shares_;  // of each task among itself and those behind it, in 2^-27
  std::uint64_t seed_;
};

}  // namespace wt
