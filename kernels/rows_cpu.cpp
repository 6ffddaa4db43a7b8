#include <algorithm>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rows.h"

namespace wt::kernels::cpu {
namespace {

// The extents, once the rows are seen to be there.
TakenExtents check_taken(const char* op, const Tensor& x, const Tensor& first, const Tensor& out) {
  const TakenExtents e = taken_extents(x, first, out);
  for (std::int64_t i = 0; i < e.c; ++i) {
    const std::int32_t begin = first.data<std::int32_t>()[i];
    WT_CHECK(begin >= 0 && begin + e.m <= e.t, op, ": rows [", begin, ",", begin + e.m, ") of ", e.t);
  }
  return e;
}

// The width of a row, once the rows are seen to be there.
std::int64_t check_list(const char* op, const Tensor& x, const Tensor& index) {
  const std::int64_t d = x.shape()[-1], rows = x.numel() / (d == 0 ? 1 : d);
  for (std::int64_t i = 0; i < index.numel(); ++i) {
    const std::int32_t row = index.data<std::int32_t>()[i];
    WT_CHECK(row >= 0 && row < rows, op, ": row ", row, " of ", rows);
  }
  return d;
}

void check_distinct(const char* op, const Tensor& index) {
  std::vector<std::int32_t> rows = index.to_vector<std::int32_t>();
  std::sort(rows.begin(), rows.end());
  const auto twice = std::adjacent_find(rows.begin(), rows.end());
  WT_CHECK(twice == rows.end(), op, ": row ", *twice, " is named twice");
}

}  // namespace

void take_rows_forward(const Stream&, const Tensor& x, const Tensor& first, const Tensor& out) {
  const TakenExtents e = check_taken("take_rows", x, first, out);
  dispatch_real(x.dtype(), [&]<class T>() {
    for (std::int64_t c = 0; c < e.c; ++c) {
      array(out.data<T>() + c * e.m * e.d, e.m * e.d) =
          const_array(x.data<T>() + (c * e.t + first.data<std::int32_t>()[c]) * e.d, e.m * e.d);
    }
  });
}

void take_rows_backward(const Stream& stream, const Tensor& dout, const Tensor& first, const Tensor& dx,
                        GradMode mode) {
  const TakenExtents e = check_taken("take_rows backward", dx, first, dout);
  if (mode == GradMode::kOverwrite) dx.fill_zero(stream);
  dispatch_real(dx.dtype(), [&]<class T>() {
    for (std::int64_t c = 0; c < e.c; ++c) {
      array(dx.data<T>() + (c * e.t + first.data<std::int32_t>()[c]) * e.d, e.m * e.d) +=
          const_array(dout.data<T>() + c * e.m * e.d, e.m * e.d);
    }
  });
}

void gather_rows(const Stream&, const Tensor& x, const Tensor& index, const Tensor& out) {
  const std::int64_t d = check_list("gather_rows", x, index);
  dispatch_real(x.dtype(), [&]<class T>() {
    for (std::int64_t i = 0; i < index.numel(); ++i) {
      array(out.data<T>() + i * d, d) = const_array(x.data<T>() + index.data<std::int32_t>()[i] * d, d);
    }
  });
}

void scatter_add_rows(const Stream&, const Tensor& values, const Tensor& index, const Tensor& x) {
  const std::int64_t d = check_list("scatter_add_rows", x, index);
  check_distinct("scatter_add_rows", index);
  dispatch_real(x.dtype(), [&]<class T>() {
    for (std::int64_t i = 0; i < index.numel(); ++i) {
      array(x.data<T>() + index.data<std::int32_t>()[i] * d, d) += const_array(values.data<T>() + i * d, d);
    }
  });
}

void put_rows(const Stream&, const Tensor& values, const Tensor& index, const Tensor& x) {
  const std::int64_t d = check_list("put_rows", x, index);
  check_distinct("put_rows", index);
  dispatch_real(x.dtype(), [&]<class T>() {
    for (std::int64_t i = 0; i < index.numel(); ++i) {
      array(x.data<T>() + index.data<std::int32_t>()[i] * d, d) = const_array(values.data<T>() + i * d, d);
    }
  });
}

void add(const Stream&, const Tensor& x, const Tensor& y) {
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_ranges(x.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      array(y.data<T>() + begin, end - begin) += const_array(x.data<T>() + begin, end - begin);
    });
  });
}

void scale(const Stream&, double factor, const Tensor& y) {
  dispatch_real(y.dtype(), [&]<class T>() {
    parallel_ranges(y.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      array(y.data<T>() + begin, end - begin) *= static_cast<T>(factor);
    });
  });
}

}  // namespace wt::kernels::cpu
