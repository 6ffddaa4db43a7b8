#include <climits>
#include <cmath>

#include "kernels/cuda_common.cuh"
#include "kernels/sample.h"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 1024;

// Ordered as the floats are.
__device__ unsigned key_of(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);  // the two zeros are one
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// A block per row, a thread per stretch of neighbouring elements, so that the threads' order is that of the places. The
// nucleus is found by its smallest element: bit by bit, the largest key at which the elements from there on still weigh
// enough. That reads the row from the cache some thirty times, where sorting it would write it as well.
template <class T>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(const T* x, const double* uniform, int* index, int width, float temperature, double top_p) {
  __shared__ double scratch[kThreads / 32], mass[kThreads];
  __shared__ float top_scratch[kThreads / 32];
  __shared__ int equal[kThreads];
  __shared__ int owner;
  __shared__ double before;
  x += static_cast<std::int64_t>(blockIdx.x) * width;
  const int stretch = (width + kThreads - 1) / kThreads, thread = static_cast<int>(threadIdx.x);
  const int begin = min(thread * stretch, width), end = min(begin + stretch, width);

  float top = -INFINITY;
  for (int i = begin; i < end; ++i) top = fmaxf(top, to_float(x[i]));  // fmaxf leaves NaN out
  top = block_max<kThreads>(top, top_scratch);
  const auto weight = [&](float value) {
    return isnan(value) ? 0.0 : value == top ? 1.0 : static_cast<double>(expf((value - top) / temperature));
  };
  // The weight of all elements from a key on.
  const auto weight_from = [&](unsigned key) {
    double sum = 0;
    for (int i = begin; i < end; ++i) {
      const float value = to_float(x[i]);
      if (key_of(value) >= key) sum += weight(value);
    }
    sum = block_sum<kThreads>(sum, scratch);
    __syncthreads();  // the scratch is free again
    return sum;
  };
  unsigned least = 0;
  int kept_equal = INT_MAX;  // elements with the least key that belong to the nucleus
  if (top_p < 1) {
    const double wanted = top_p * weight_from(0);
    for (int bit = 31; bit >= 0; --bit) {
      const unsigned key = least | 1u << bit;
      if (weight_from(key) >= wanted) least = key;
    }
    const double above = least == UINT_MAX ? 0 : weight_from(least + 1);
    const float value = __uint_as_float(least & 0x80000000u ? least & 0x7fffffffu : ~least);
    const double each = weight(value);
    if (each > 0) kept_equal = static_cast<int>(fmin(fmax(ceil((wanted - above) / each), 1.0), 2147483647.0));
  }

  int mine = 0;
  for (int i = begin; i < end; ++i) mine += key_of(to_float(x[i])) == least ? 1 : 0;
  equal[thread] = mine;
  __syncthreads();
  if (thread == 0) {
    int sum = 0;
    for (int i = 0; i < kThreads; ++i) {
      const int here = equal[i];
      equal[i] = sum;
      sum += here;
    }
  }
  __syncthreads();
  // Visits this thread's part of the nucleus.
  const auto each_kept = [&](const auto& visit) {
    int seen = equal[thread];
    for (int i = begin; i < end; ++i) {
      const float value = to_float(x[i]);
      const unsigned key = key_of(value);
      if (key < least || (key == least && seen++ >= kept_equal)) continue;
      const double w = weight(value);
      if (w > 0 && !visit(i, w)) return;
    }
  };
  double sum = 0;
  each_kept([&](int, double w) {
    sum += w;
    return true;
  });
  mass[thread] = sum;
  __syncthreads();
  if (thread == 0) {
    double total = 0;
    for (int i = 0; i < kThreads; ++i) total += mass[i];
    const double goal = uniform[blockIdx.x] * total;
    double passed = 0;
    owner = -1;
    for (int i = 0; i < kThreads; ++i) {
      if (mass[i] == 0) continue;
      owner = i;
      before = passed;
      passed += mass[i];
      if (passed > goal) break;
    }
    mass[0] = goal;
    if (owner < 0) index[blockIdx.x] = 0;  // nothing but NaN
  }
  __syncthreads();
  if (thread != owner) return;
  const double goal = mass[0];
  double passed = before;
  int found = 0;
  each_kept([&](int i, double w) {
    found = i;
    passed += w;
    return !(passed > goal);
  });
  index[blockIdx.x] = found;
}

}  // namespace

void sample_rows(const Stream& stream, const Tensor& x, double temperature, double top_p, const Tensor& uniform,
                 const Tensor& index) {
  const std::int64_t r = x.dim(0), v = x.dim(1);
  WT_CHECK(v < INT_MAX / 2, "sample: x is ", x, ", its rows are too long");
  if (r == 0) return;
  dispatch_float("sample", x.dtype(), [&]<class T>() {
    sample_kernel<T><<<grid_size(r), kThreads, 0, native(stream)>>>(data<T>(x), uniform.data<double>(),
                                                                    index.data<std::int32_t>(), static_cast<int>(v),
                                                                    static_cast<float>(temperature), top_p);
  });
  check_launch("sample");
}

}  // namespace wt::kernels::cuda
