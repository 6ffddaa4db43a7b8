// A state's way through the rows, one row after another: any shape and dtype, in float32. Forward it is the scan
// itself, or the states at the chunks' starts that a backward pass asks for; in reverse it is the gradient of the
// state:
//   forward   S_t = e^α_t S_{t-1} + δ_t x_t ⊗ b_t,   y_t = S_t c_t + d x_t
//   reverse   dS_{t-1} = e^α_t (dS_t + dy_t ⊗ c_t)
#pragma once

#include <algorithm>

#include "kernels/ssd_cuda.cuh"

namespace wt::kernels::cuda {

template <class T>
struct SsdPass {
  const float* start = nullptr;  // null: zeros
  float* end = nullptr;          // null: not wanted; may be `start`
  const T* dy = nullptr;         // reverse
  T* y = nullptr;                // forward; null: not wanted
  // The state where each chunk of rows begins, in reverse where it ends: (cells, heads, chunks, P, N). Null: not
  // wanted.
  float* borders = nullptr;
  int chunk = 1;
};

inline constexpr int kPassThreads = 256;
inline constexpr int kPassMostState = 1024;

// LANES neighbouring threads hold a row of the state, EACH elements a thread: pieces of four, LANES·4 apart.
template <class T, bool REVERSE, int LANES, int EACH>
__global__ void __launch_bounds__(kPassThreads) ssd_pass_kernel(Ssd<T> a, SsdPass<T> io) {
  constexpr int kRows = kPassThreads / LANES, kState = LANES * EACH;
  constexpr int kStaged = std::max(1, std::min(16, 2048 / kState));      // rows read at once
  __shared__ alignas(16) float inner[REVERSE ? 1 : 2][kStaged][kState];  // b and c, in reverse c; zeros from N on
  __shared__ float outer[kStaged][kRows];                                // x, in reverse dy
  __shared__ float delta[kStaged], decay[kStaged];
  let_next_begin();
  wait_for_previous();

  const int blocks = (a.width + kRows - 1) / kRows, p0 = static_cast<int>(blockIdx.x % blocks) * kRows;
  const std::int64_t local = blockIdx.x / blocks / a.heads, cell = a.first + local;
  const int head = static_cast<int>(blockIdx.x / blocks % a.heads), group = a.group(head);
  const int lane = threadIdx.x % LANES, r = threadIdx.x / LANES, p = p0 + r;
  const bool there = p < a.width, pieces = a.state % 4 == 0;
  const std::int64_t used = a.used(cell), at = std::int64_t{a.layer(cell)} * a.heads + head;
  const std::int64_t place = a.state_place(cell, head) + static_cast<std::int64_t>(p) * a.state;
  const std::int64_t chunks = (a.rows + io.chunk - 1) / io.chunk;
  const float decay_rate = -expf(a.a_log[at]), bias = a.dt_bias[at], skip = a.d[at];

  // Body(i, n) for the thread's pieces, element i of its own being n of the state's row.
  const auto each_piece = [&](auto&& body) {
#pragma unroll
    for (int i = 0; i < EACH; i += 4) {
      const int n = i * LANES + lane * 4;
      if (there && n < a.state) body(i, n);
    }
  };
  float s[EACH] = {};
  const auto write = [&](float* to) {
    each_piece([&](int i, int n) {
      if (pieces) {
        store<4>(to + n, {s[i], s[i + 1], s[i + 2], s[i + 3]});
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (n + e < a.state) to[n + e] = s[i + e];
        }
      }
    });
  };
  if (io.start != nullptr) {
    each_piece([&](int i, int n) {
      if (pieces) {
        float some[4];
        load<4>(io.start + place + n, some);
#pragma unroll
        for (int e = 0; e < 4; ++e) s[i + e] = some[e];
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) s[i + e] = n + e < a.state ? io.start[place + n + e] : 0.0f;
      }
    });
  }

  for (std::int64_t base = 0; base < used; base += kStaged) {
    const int staged = static_cast<int>(min(static_cast<std::int64_t>(kStaged), used - base));
    const auto row_of = [&](int j) { return REVERSE ? used - 1 - (base + j) : base + j; };
    __syncthreads();
    for (int i = threadIdx.x; i < staged * kState; i += kPassThreads) {
      const int j = i / kState, n = i % kState;
      const T* const row = a.row(cell, row_of(j));
      const bool inside = n < a.state;
      if constexpr (!REVERSE) inner[1][j][n] = inside ? to_float(row[a.c_column(group) + n]) : 0.0f;
      inner[0][j][n] = inside ? to_float(row[(REVERSE ? a.c_column(group) : a.b_column(group)) + n]) : 0.0f;
    }
    for (int i = threadIdx.x; i < staged * kRows; i += kPassThreads) {
      const int j = i / kRows, q = p0 + i % kRows;
      float value = 0;
      if (q < a.width) {
        if constexpr (REVERSE) {
          value = to_float(io.dy[a.y_place(cell, row_of(j), head) + q]);
        } else {
          value = to_float(a.row(cell, row_of(j))[a.x_column(head) + q]);
        }
      }
      outer[j][i % kRows] = value;
    }
    if (threadIdx.x < staged) {
      const int j = static_cast<int>(threadIdx.x);
      delta[j] = step_size(a.dt[a.dt_place(cell, row_of(j), head)] + bias, a.least, a.most).delta;
      decay[j] = expf(decay_rate * delta[j]);
    }
    __syncthreads();
    for (int j = 0; j < staged; ++j) {
      const std::int64_t t = row_of(j);
      if (io.borders != nullptr && (REVERSE ? t == used - 1 || (t + 1) % io.chunk == 0 : t % io.chunk == 0)) {
        write(io.borders + (((local * a.heads + head) * chunks + t / io.chunk) * a.width + p) * a.state);
      }
      const float x = outer[j][r], scale = decay[j], step = REVERSE ? x : x * delta[j];
      float sum = 0;
#pragma unroll
      for (int i = 0; i < EACH; i += 4) {
        float b[4], c[4];
        load<4>(&inner[0][j][i * LANES + lane * 4], b);
        if constexpr (!REVERSE) load<4>(&inner[1][j][i * LANES + lane * 4], c);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if constexpr (REVERSE) {
            s[i + e] = scale * (s[i + e] + step * b[e]);
          } else {
            s[i + e] = scale * s[i + e] + step * b[e];
            sum += s[i + e] * c[e];
          }
        }
      }
      if constexpr (!REVERSE) {
        if (io.y == nullptr) continue;
#pragma unroll
        for (int offset = LANES / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        if (there && lane == 0) io.y[a.y_place(cell, t, head) + p] = from_float<T>(sum + skip * x);
      }
    }
  }
  if (io.end != nullptr) write(io.end + place);
  if constexpr (!REVERSE) {
    if (io.y == nullptr) return;
    // What padding holds means nothing, but a NaN there would spread through products over rows.
    for (std::int64_t i = used * kRows + threadIdx.x; i < a.rows * kRows; i += kPassThreads) {
      const int q = p0 + static_cast<int>(i % kRows);
      if (q < a.width) io.y[a.y_place(cell, i / kRows, head) + q] = from_float<T>(0);
    }
  }
}

template <class T, bool REVERSE>
void run_ssd_pass(const char* op, const Stream& stream, const Ssd<T>& a, const SsdPass<T>& io) {
  WT_CHECK(a.state <= kPassMostState, op, ": states of ", a.state, ", at most ", kPassMostState, " on CUDA");
  const auto run = [&]<int LANES, int EACH>() {
    launch_early(op, ssd_pass_kernel<T, REVERSE, LANES, EACH>,
                 grid_size(a.cells * a.heads * ceil_div(a.width, kPassThreads / LANES)), kPassThreads, 0, stream, a,
                 io);
  };
  // Of few rows the state is most of what is read: more blocks with less of it each.
  if (a.rows <= 4 && a.state <= 256) {
    if (a.state <= 128) {
      run.template operator()<8, 16>();
    } else {
      run.template operator()<16, 16>();
    }
  } else if (a.state <= 16) {
    run.template operator()<4, 4>();
  } else if (a.state <= 64) {
    run.template operator()<4, 16>();
  } else if (a.state <= 128) {
    run.template operator()<4, 32>();
  } else if (a.state <= 256) {
    run.template operator()<8, 32>();
  } else {
    run.template operator()<32, 32>();
  }
}

}  // namespace wt::kernels::cuda
