#include "kernels/flops_cpu.h"

#include <atomic>

namespace wt::kernels::cpu {
namespace {

std::atomic<std::int64_t> total{0};

}  // namespace

std::int64_t product_flops() {
  return total.load(std::memory_order_relaxed);
}

void count_product_flops(std::int64_t flops) {
  total.fetch_add(flops, std::memory_order_relaxed);
}

}  // namespace wt::kernels::cpu
