// Read and write of the associative memory on the GPU. Everything D wide is a product over the cells at once;
// divisions, gates and masks are moved into its P wide operands, so that no kernel of this file touches a D wide row:
//   read            y = x + ψ A                     ψ = φ / c, 0 in cells that read nothing
//   read backward   r = dy Aᵀ,  da (+)= ψᵀ dy       f = φ·r / c²,  dphi = r / c - z f,  dz (+)= -φᵀ f
//   write           e = v - κ A,  A' = A + (β k)ᵀ e,  z' = z + kᵀ γ      κ = k / c, 0 where nothing is read
//   write backward  u = e dA'ᵀ,  dv = (β k) dA',  w = dv Aᵀ,  dA = dA' - κᵀ dv
//                   db = β (1 - β) k·u,  dc = k·w / c²,  dk = β u + γ dz' - w / c + z dc,  dz = dz' + kᵀ dc
// A cell is masked by zeros in ψ, κ and β k, so what a masked cell's other operands hold must be finite. It is one file
// because these equations are read together and their kernels share how a warp holds, loads and sums a row.
#include <cmath>
#include <initializer_list>

#include "kernels/cast.h"
#include "kernels/cuda_common.cuh"
#include "kernels/gemm_cuda.h"
#include "kernels/memory.h"

namespace wt::kernels::cuda {
namespace {

constexpr float kEpsilon = static_cast<float>(kMemoryEpsilon);
// Kernels over rows of P features give each row a warp.
constexpr int kRowThreads = 256;
constexpr int kRowsPerBlock = kRowThreads / 32;

// The last two extents as a matrix, one per cell.
Matrix matrices(const Tensor& t, bool transposed = false) {
  const std::int64_t rows = t.shape()[-2], columns = t.shape()[-1];
  return {t.raw(), t.dtype(), columns, rows * columns, transposed};
}

// A state or its gradient as an operand of a product with rows of this dtype: itself, or rounded.
Tensor operand(const Stream& stream, const Tensor& state, DType dtype) {
  if (state.dtype() == dtype) return state;
  const Tensor rounded = Tensor::empty(stream, state.shape(), dtype);
  cast(stream, state, rounded);
  return rounded;
}

// Calls f.template operator()<N>() with the number of features that a lane may read at once.
template <class T, class F>
void dispatch_width(std::int64_t p, std::initializer_list<const Tensor*> tensors, F&& f) {
  bool whole = p % kVec<T> == 0;
  for (const Tensor* t : tensors) {
    // Rows of p floats are read kVec<T> floats at a time too.
    const std::size_t bytes = static_cast<std::size_t>(kVec<T>) * size_of(t->dtype());
    whole = whole && reinterpret_cast<std::uintptr_t>(t->raw()) % bytes == 0;
  }
  if (whole) {
    f.template operator()<kVec<T>>();
  } else {
    f.template operator()<1>();
  }
}

unsigned row_blocks(const MemoryExtents& e) {
  return grid_size(ceil_div(e.rows(), kRowsPerBlock));
}

__device__ bool active(std::uint8_t flags) {
  return (flags & kCellActive) != 0;
}
__device__ bool reads(std::uint8_t flags) {
  return active(flags) && (flags & kCellFirst) == 0;
}

__device__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

// The row of this warp; rows() or more in the last block's spare warps.
__device__ std::int64_t warp_row() {
  return static_cast<std::int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.x / 32;
}

// Body(i) for the lane's pieces of N features.
template <int N, class Body>
__device__ void each_piece(int p, const Body& body) {
  for (int i = static_cast<int>(threadIdx.x % 32) * N; i < p; i += 32 * N) body(i);
}

// to = factor · from; zeros for the factor 0, whatever `from` holds.
template <int N, class T>
__device__ void scale_row(int p, float factor, const T* from, T* to) {
  each_piece<N>(p, [&](int i) {
    float x[N] = {};
    if (factor != 0) {
      load<N>(from + i, x);
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] *= factor;
    }
    store<N>(to + i, x);
  });
}

// *min_den = smaller_denominator(*min_den, value). The bits of floats from zero on order as integers do; what is below
// them is rare, and has the sign bit: NaN gets it here.
__device__ void fold(float value, float* min_den) {
  if (value >= 0) {
    atomicMin(reinterpret_cast<int*>(min_den), __float_as_int(value));
    return;
  }
  if (isnan(value)) value = __int_as_float(-1);
  int seen = __float_as_int(*static_cast<volatile float*>(min_den));
  for (;;) {
    const float least = smaller_denominator(__int_as_float(seen), value);
    if (__float_as_int(least) == seen) return;
    const int before = atomicCAS(reinterpret_cast<int*>(min_den), seen, __float_as_int(least));
    if (before == seen) return;
    seen = before;
  }
}

// Folds the warps' values (infinite where there is none) into *min_den. All threads of the block take part.
__device__ void fold_minimum(float least, float* min_den) {
  __shared__ float minima[kRowsPerBlock];
  if (threadIdx.x % 32 == 0) minima[threadIdx.x / 32] = least;
  __syncthreads();
  if (threadIdx.x != 0 || min_den == nullptr) return;
#pragma unroll
  for (int i = 0; i < kRowsPerBlock; ++i) least = smaller_denominator(least, minima[i]);
  // Most blocks see that they have nothing to add, and do not queue up for the one address.
  if (!(least >= *static_cast<volatile float*>(min_den))) fold(least, min_den);
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    read_rows(MemoryExtents e, const T* phi, const float* z, const std::uint8_t* flags, const std::int32_t* used,
              T* psi, float* den, float* min_den) {
  const std::int64_t row = warp_row();
  float least = INFINITY;
  if (row < e.rows()) {
    const std::int64_t cell = row / e.t;
    const int p = static_cast<int>(e.p);
    const bool reading = reads(flags[cell]);
    float c = kEpsilon;
    if (reading) {
      float sum = 0;
      each_piece<N>(p, [&](int i) {
        float x[N], mass[N];
        load<N>(phi + row * p + i, x);
        load<N>(z + cell * p + i, mass);
#pragma unroll
        for (int j = 0; j < N; ++j) sum += x[j] * mass[j];
      });
      c += warp_sum(sum);
      if (row - cell * e.t < used[cell]) least = c;
    }
    scale_row<N>(p, reading ? 1.0f / c : 0.0f, phi + row * p, psi + row * p);
    if (threadIdx.x % 32 == 0) den[row] = c;
  }
  fold_minimum(least, min_den);
}

// The read of a decoding step, one row a cell: y = x + (φ A) / c with A read once and as it is. A block makes 32
// columns; eight lanes share a row of A, and 32 such groups take every 32nd row each.
constexpr int kLoneColumns = 32, kLoneGroups = kRowThreads / 8;

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    read_lone_rows(MemoryExtents e, const T* x, const T* phi, const float* a, const float* z, const std::uint8_t* flags,
                   const std::int32_t* used, T* y, float* den, float* min_den) {
  __shared__ float scratch[kRowThreads / 32], sums[kLoneGroups][kLoneColumns];
  const std::int64_t cell = blockIdx.y;
  const int p = static_cast<int>(e.p), group = static_cast<int>(threadIdx.x) / 8;
  const int piece = static_cast<int>(threadIdx.x) % 8 * 4;
  const std::int64_t column = std::int64_t{blockIdx.x} * kLoneColumns + piece;
  let_next_begin();
  wait_for_previous();
  const bool reading = reads(flags[cell]);
  phi += cell * p;
  float c = kEpsilon, out[4] = {};
  if (reading) {
    float mass = 0;
    for (int i = static_cast<int>(threadIdx.x); i < p; i += kRowThreads) mass += to_float(phi[i]) * z[cell * p + i];
    c += block_sum<kRowThreads>(mass, scratch);
    if (column < e.d) {
#pragma unroll 4
      for (int i = group; i < p; i += kLoneGroups) {
        float row[4];
        load<4>(a + (cell * p + i) * e.d + column, row);
        const float feature = to_float(phi[i]);
#pragma unroll
        for (int j = 0; j < 4; ++j) out[j] += feature * row[j];
      }
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) sums[group][piece + j] = out[j];
  __syncthreads();
  const std::int64_t mine = std::int64_t{blockIdx.x} * kLoneColumns + threadIdx.x;
  if (threadIdx.x < kLoneColumns && mine < e.d) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kLoneGroups; ++i) sum += sums[i][threadIdx.x];
    y[cell * e.d + mine] = from_float<T>(to_float(x[cell * e.d + mine]) + sum / c);
  }
  if (blockIdx.x != 0 || threadIdx.x != 0) return;
  den[cell] = c;
  if (reading && used[cell] > 0 && min_den != nullptr) fold(c, min_den);
}

// psi and factor (f) may be null: nobody wants the gradient of the state.
template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    read_backward_rows(MemoryExtents e, const float* r, const T* phi, const float* z, const float* den,
                       const std::uint8_t* flags, T* dphi, T* psi, float* factor) {
  const std::int64_t row = warp_row();
  if (row >= e.rows()) return;
  const std::int64_t cell = row / e.t;
  const int p = static_cast<int>(e.p);
  const bool reading = reads(flags[cell]);
  const float inverse = reading ? 1.0f / den[row] : 0.0f;
  float f = 0;
  if (reading) {
    float sum = 0;
    each_piece<N>(p, [&](int i) {
      float x[N], t[N];
      load<N>(phi + row * p + i, x);
      load<N>(r + row * p + i, t);
#pragma unroll
      for (int j = 0; j < N; ++j) sum += x[j] * t[j];
    });
    f = warp_sum(sum) * inverse * inverse;
  }
  each_piece<N>(p, [&](int i) {
    float t[N] = {};
    if (reading) {
      float mass[N];
      load<N>(r + row * p + i, t);
      load<N>(z + cell * p + i, mass);
#pragma unroll
      for (int j = 0; j < N; ++j) t[j] = t[j] * inverse - mass[j] * f;
    }
    store<N>(dphi + row * p + i, t);
  });
  if (psi == nullptr) return;
  scale_row<N>(p, inverse, phi + row * p, psi + row * p);
  if (threadIdx.x % 32 == 0) factor[row] = f;
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    write_rows(MemoryExtents e, const T* k, const T* b, const float* z, const std::uint8_t* flags, bool correction,
               T* kappa, T* beta_k, float* den, float* gamma, float* min_den) {
  const std::int64_t row = warp_row();
  float least = INFINITY;
  if (row < e.rows()) {
    const std::int64_t cell = row / e.t;
    const int p = static_cast<int>(e.p);
    const bool writing = active(flags[cell]), reading = reads(flags[cell]);
    float c = kEpsilon, share = writing ? 1.0f : 0.0f;
    if (reading) {
      float sum = 0, squares = 0;
      each_piece<N>(p, [&](int i) {
        float x[N], mass[N];
        load<N>(k + row * p + i, x);
        load<N>(z + cell * p + i, mass);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          sum += x[j] * mass[j];
          squares += x[j] * x[j];
        }
      });
      c += warp_sum(sum);
      if (correction) share = fminf(fmaxf(1.0f - c / (warp_sum(squares) + kEpsilon), 0.0f), 1.0f);
      least = c;
    }
    scale_row<N>(p, reading ? 1.0f / c : 0.0f, k + row * p, kappa + row * p);
    scale_row<N>(p, writing ? sigmoid(to_float(b[row])) : 0.0f, k + row * p, beta_k + row * p);
    if (threadIdx.x % 32 == 0) {
      den[row] = c;
      gamma[row] = share;
    }
  }
  fold_minimum(least, min_den);
}

// κ and β k again, for backward.
template <class T, int N>
__global__ void __launch_bounds__(kRowThreads) scale_keys(MemoryExtents e, const T* k, const T* b, const float* den,
                                                          const std::uint8_t* flags, T* kappa, T* beta_k) {
  const std::int64_t row = warp_row();
  if (row >= e.rows()) return;
  const int p = static_cast<int>(e.p);
  const std::uint8_t cell_flags = flags[row / e.t];
  scale_row<N>(p, reads(cell_flags) ? 1.0f / den[row] : 0.0f, k + row * p, kappa + row * p);
  scale_row<N>(p, active(cell_flags) ? sigmoid(to_float(b[row])) : 0.0f, k + row * p, beta_k + row * p);
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    write_backward_rows(MemoryExtents e, const float* u, const float* w, const T* k, const T* b, const float* z,
                        const float* dz, const float* den, const float* gamma, const std::uint8_t* flags, T* dk, T* db,
                        float* dc) {
  const std::int64_t row = warp_row();
  if (row >= e.rows()) return;
  const std::int64_t cell = row / e.t;
  const int p = static_cast<int>(e.p);
  const bool writing = active(flags[cell]), reading = reads(flags[cell]);
  float sum_u = 0, sum_w = 0;
  if (writing) {
    each_piece<N>(p, [&](int i) {
      float x[N], y[N];
      load<N>(k + row * p + i, x);
      load<N>(u + row * p + i, y);
#pragma unroll
      for (int j = 0; j < N; ++j) sum_u += x[j] * y[j];
      if (!reading) return;
      load<N>(w + row * p + i, y);
#pragma unroll
      for (int j = 0; j < N; ++j) sum_w += x[j] * y[j];
    });
    sum_u = warp_sum(sum_u);
    sum_w = warp_sum(sum_w);
  }
  const float beta = sigmoid(to_float(b[row])), share = gamma[row];
  const float inverse = reading ? 1.0f / den[row] : 0.0f;
  const float dcell = sum_w * inverse * inverse;
  each_piece<N>(p, [&](int i) {
    float out[N] = {};
    if (writing) {
      float y[N];
      load<N>(u + row * p + i, out);
      load<N>(dz + cell * p + i, y);
#pragma unroll
      for (int j = 0; j < N; ++j) out[j] = beta * out[j] + share * y[j];
      if (reading) {
        load<N>(w + row * p + i, y);
#pragma unroll
        for (int j = 0; j < N; ++j) out[j] -= y[j] * inverse;
        load<N>(z + cell * p + i, y);
#pragma unroll
        for (int j = 0; j < N; ++j) out[j] += y[j] * dcell;
      }
    }
    store<N>(dk + row * p + i, out);
  });
  if (threadIdx.x % 32 == 0) {
    db[row] = from_float<T>(writing ? beta * (1.0f - beta) * sum_u : 0.0f);
    dc[row] = dcell;
  }
}

// out_CP = base_CP + sign Σ_t factor_CT features_CTP; base may be null (zeros) or out. A block sums 32 columns of a
// cell, its warps every 32nd row each, and then the warps' sums in order.
template <class T>
__global__ void __launch_bounds__(1024) sum_rows(std::int64_t rows, int p, int column_blocks, const T* features,
                                                 const float* factor, float sign, const float* base, float* out) {
  __shared__ float sums[32][32];
  const std::int64_t cell = blockIdx.x / column_blocks;
  const int column = static_cast<int>(blockIdx.x % column_blocks) * 32 + static_cast<int>(threadIdx.x);
  if (column < p) {
    float sum = 0;
#pragma unroll 4
    for (std::int64_t row = cell * rows + threadIdx.y; row < (cell + 1) * rows; row += 32) {
      sum += factor[row] * to_float(features[row * p + column]);
    }
    sums[threadIdx.y][threadIdx.x] = sum;
  }
  __syncthreads();
  if (threadIdx.y != 0 || column >= p) return;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 32; ++i) sum += sums[i][threadIdx.x];
  out[cell * p + column] = (base == nullptr ? 0.0f : base[cell * p + column]) + sign * sum;
}

template <class T>
void add_rows(const char* op, const Stream& stream, const MemoryExtents& e, const Tensor& features,
              const Tensor& factor, float sign, const float* base, const Tensor& out) {
  const auto column_blocks = static_cast<int>(ceil_div(e.p, 32));
  sum_rows<T><<<grid_size(e.cells() * column_blocks), dim3(32, 32), 0, native(stream)>>>(
      e.t, static_cast<int>(e.p), column_blocks, data<T>(features), factor.data<float>(), sign, base,
      out.data<float>());
  check_launch(op);
}

float* optional(const Tensor& t) {
  return t.defined() ? t.data<float>() : nullptr;
}

}  // namespace

void memory_read_forward(const Stream& stream, const Tensor& x, const Tensor& phi, const Tensor& a, const Tensor& z,
                         const Cells& cells, const Tensor& y, const Tensor& den, const Tensor& min_den) {
  const MemoryExtents e = memory_extents(phi, a);
  if (e.rows() == 0) return;
  if (e.t == 1 && e.d % 4 == 0 && e.cells() <= 65535 && reinterpret_cast<std::uintptr_t>(a.raw()) % 16 == 0) {
    dispatch_float("memory_read", x.dtype(), [&]<class T>() {
      const dim3 grid(grid_size(ceil_div(e.d, kLoneColumns)), grid_size(e.cells()));
      launch_early("memory_read", read_lone_rows<T>, grid, kRowThreads, 0, stream, e, data<T>(x), data<T>(phi),
                   a.data<float>(), z.data<float>(), cells.flags.data<std::uint8_t>(), cells.rows.data<std::int32_t>(),
                   data<T>(y), den.data<float>(), optional(min_den));
    });
    return;
  }
  const Tensor psi = Tensor::empty(stream, phi.shape(), phi.dtype());
  dispatch_float("memory_read", x.dtype(), [&]<class T>() {
    dispatch_width<T>(e.p, {&phi, &z, &psi}, [&]<int N>() {
      read_rows<T, N><<<row_blocks(e), kRowThreads, 0, native(stream)>>>(
          e, data<T>(phi), z.data<float>(), cells.flags.data<std::uint8_t>(), cells.rows.data<std::int32_t>(),
          data<T>(psi), den.data<float>(), optional(min_den));
    });
  });
  check_launch("memory_read");
  gemm(stream, e.cells(), e.t, e.d, e.p, 1, matrices(psi), matrices(operand(stream, a, x.dtype())), 1, matrices(x),
       matrices(y));
}

void memory_read_backward(const Stream& stream, const Tensor& dy, const Tensor& phi, const Tensor& a, const Tensor& z,
                          const Tensor& den, const Cells& cells, const Tensor& dphi, const Tensor& da, const Tensor& dz,
                          GradMode state_mode) {
  const MemoryExtents e = memory_extents(phi, a);
  const bool wanted = state_mode != GradMode::kSkip;
  if (e.rows() == 0) {
    if (state_mode == GradMode::kOverwrite) {
      da.fill_zero(stream);
      dz.fill_zero(stream);
    }
    return;
  }
  const Tensor r = Tensor::empty(stream, phi.shape(), DType::kF32);
  gemm(stream, e.cells(), e.t, e.p, e.d, 1, matrices(dy), matrices(operand(stream, a, dy.dtype()), true), 0,
       matrices(r), matrices(r));
  Tensor psi, factor;
  if (wanted) {
    psi = Tensor::empty(stream, phi.shape(), phi.dtype());
    factor = Tensor::empty(stream, den.shape(), DType::kF32);
  }
  dispatch_float("memory_read backward", dy.dtype(), [&]<class T>() {
    dispatch_width<T>(e.p, {&r, &phi, &z, &dphi}, [&]<int N>() {
      read_backward_rows<T, N><<<row_blocks(e), kRowThreads, 0, native(stream)>>>(
          e, r.data<float>(), data<T>(phi), z.data<float>(), den.data<float>(), cells.flags.data<std::uint8_t>(),
          data<T>(dphi), wanted ? data<T>(psi) : nullptr, optional(factor));
    });
    check_launch("memory_read backward");
    if (!wanted) return;
    const bool add = state_mode == GradMode::kAccumulate;
    gemm(stream, e.cells(), e.p, e.d, e.t, 1, matrices(psi, true), matrices(dy), add ? 1 : 0, matrices(da),
         matrices(da));
    add_rows<T>("memory_read backward", stream, e, phi, factor, -1, add ? dz.data<float>() : nullptr, dz);
  });
}

void memory_write_forward(const Stream& stream, const Tensor& k, const Tensor& v, const Tensor& b, const Tensor& a,
                          const Tensor& z, const Cells& cells, bool correction, const Tensor& a_out,
                          const Tensor& z_out, const MemoryWrite& saved, const Tensor& min_den) {
  const MemoryExtents e = memory_extents(k, a);
  if (e.rows() == 0) {
    if (a_out.raw() != a.raw()) a_out.copy_from(stream, a);
    if (z_out.raw() != z.raw()) z_out.copy_from(stream, z);
    return;
  }
  const Tensor kappa = Tensor::empty(stream, k.shape(), k.dtype());
  const Tensor beta_k = Tensor::empty(stream, k.shape(), k.dtype());
  dispatch_float("memory_write", k.dtype(), [&]<class T>() {
    dispatch_width<T>(e.p, {&k, &z, &kappa, &beta_k}, [&]<int N>() {
      write_rows<T, N><<<row_blocks(e), kRowThreads, 0, native(stream)>>>(
          e, data<T>(k), data<T>(b), z.data<float>(), cells.flags.data<std::uint8_t>(), correction, data<T>(kappa),
          data<T>(beta_k), saved.den.data<float>(), saved.gamma.data<float>(), optional(min_den));
    });
    check_launch("memory_write");
    gemm(stream, e.cells(), e.t, e.d, e.p, -1, matrices(kappa), matrices(operand(stream, a, k.dtype())), 1, matrices(v),
         matrices(saved.error));
    // a_out may be a and z_out z: every read of the old state is done by now.
    gemm(stream, e.cells(), e.p, e.d, e.t, 1, matrices(beta_k, true), matrices(saved.error), 1, matrices(a),
         matrices(a_out));
    add_rows<T>("memory_write", stream, e, k, saved.gamma, 1, z.data<float>(), z_out);
  });
}

void memory_write_backward(const Stream& stream, const Tensor& k, const Tensor& b, const Tensor& a, const Tensor& z,
                           const MemoryWrite& saved, const Cells& cells, const Tensor& da, const Tensor& dz,
                           const Tensor& dk, const Tensor& dv, const Tensor& db) {
  const MemoryExtents e = memory_extents(k, a);
  if (e.rows() == 0) return;
  const DType dtype = k.dtype();
  const Tensor kappa = Tensor::empty(stream, k.shape(), dtype), beta_k = Tensor::empty(stream, k.shape(), dtype);
  const Tensor u = Tensor::empty(stream, k.shape(), DType::kF32), w = Tensor::empty(stream, k.shape(), DType::kF32);
  const Tensor dc = Tensor::empty(stream, saved.den.shape(), DType::kF32);
  dispatch_float("memory_write backward", dtype, [&]<class T>() {
    dispatch_width<T>(e.p, {&k, &kappa, &beta_k}, [&]<int N>() {
      scale_keys<T, N><<<row_blocks(e), kRowThreads, 0, native(stream)>>>(
          e, data<T>(k), data<T>(b), saved.den.data<float>(), cells.flags.data<std::uint8_t>(), data<T>(kappa),
          data<T>(beta_k));
    });
    check_launch("memory_write backward");
    {
      const Tensor late = operand(stream, da, dtype);
      gemm(stream, e.cells(), e.t, e.p, e.d, 1, matrices(saved.error), matrices(late, true), 0, matrices(u),
           matrices(u));
      gemm(stream, e.cells(), e.t, e.d, e.p, 1, matrices(beta_k), matrices(late), 0, matrices(dv), matrices(dv));
    }
    gemm(stream, e.cells(), e.t, e.p, e.d, 1, matrices(dv), matrices(operand(stream, a, dtype), true), 0, matrices(w),
         matrices(w));
    dispatch_width<T>(e.p, {&u, &w, &k, &z, &dz, &dk}, [&]<int N>() {
      write_backward_rows<T, N><<<row_blocks(e), kRowThreads, 0, native(stream)>>>(
          e, u.data<float>(), w.data<float>(), data<T>(k), data<T>(b), z.data<float>(), dz.data<float>(),
          saved.den.data<float>(), saved.gamma.data<float>(), cells.flags.data<std::uint8_t>(), data<T>(dk),
          data<T>(db), dc.data<float>());
    });
    check_launch("memory_write backward");
    gemm(stream, e.cells(), e.p, e.d, e.t, -1, matrices(kappa, true), matrices(dv), 1, matrices(da), matrices(da));
    add_rows<T>("memory_write backward", stream, e, k, dc, 1, dz.data<float>(), dz);
  });
}

}  // namespace wt::kernels::cuda
