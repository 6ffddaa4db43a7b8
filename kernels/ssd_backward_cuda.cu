#include "kernels/ssd_pass_cuda.cuh"

// The plain backward pass: the states at the chunks' starts and the gradients of those at their ends are made first,
// row by row; then every chunk of a cell and group of heads is a block of its own, which goes over the group's heads.
// Rows are i where a query is meant (c, y) and j where a key is (b, x). With S and dS' of the chunk, X = δ x, w_j =
// e^(l_Q - l_j):
//   dM = dy Xᵀ,  dG = Σ_heads dM ∘ E,  dX = Mᵀ dy + w b dS'ᵀ,  dc = dG b + Σ e^l dy S,  db = dGᵀ c + Σ w X dS'
//   dα_t = Σ_{i≥t} (Σ_{j<i} V_ij - Σ_{k>i} V_ki + e^l_i dy_i·S c_i) + Σ_{j<t} X_j·w_j dS' b_j + e^l_Q ⟨dS', S⟩,  V = dM
//   ∘ M
namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostChunk = 32;  // a lane for each row
// States and gradients of states that are kept at once, where a cell needs no more.
constexpr std::int64_t kScratchBytes = std::int64_t{1} << 30;

template <class T>
struct SsdGradients {
  const T* dy;
  const float *starts, *ends;  // (cells at work, heads, chunks, P, N)
  T* dxbc;
  float* ddt;
  float *a_log, *d, *dt_bias;  // one row of sums a chunk, (cells, chunks, heads); null: not wanted
  int chunk;
};

// Shared memory of a block, in floats. Rows of a matrix are one float apart from a multiple of the banks.
struct ChunkSpace {
  int chunk, width, state;
  __host__ __device__ int wide() const { return chunk * (width + 1); }
  __host__ __device__ int of_state() const { return chunk * (state + 1); }
  __host__ __device__ int square() const { return chunk * (chunk + 1); }
  __host__ __device__ int pieces() const { return (width + 3) / 4 * chunk; }
  __host__ __device__ int floats() const {
    return 3 * wide() + 4 * of_state() + 4 * square() + 2 * pieces() + 9 * chunk;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) ssd_chunk_backward_kernel(Ssd<T> a, SsdGradients<T> to) {
  extern __shared__ float space[];
  __shared__ float sums[kThreads / 32];
  const int q = to.chunk, width = a.width, state = a.state, thread = static_cast<int>(threadIdx.x);
  const ChunkSpace sizes{q, width, state};
  float *const x = space, *const dy = x + sizes.wide(), *const dx = dy + sizes.wide();
  float *const b = dx + sizes.wide(), *const c = b + sizes.of_state(), *const db = c + sizes.of_state(),
               *const dc = db + sizes.of_state();
  float *const gram = dc + sizes.of_state(), *const m = gram + sizes.square(), *const dgram = m + sizes.square(),
               *const v = dgram + sizes.square();
  float *const off = v + sizes.square(), *const keys = off + sizes.pieces();  // by pieces of four columns
  float *const delta = keys + sizes.pieces(), *const slope = delta + q, *const l = slope + q, *const grown = l + q,
               *const left = grown + q, *const crossing = left + q, *const key = crossing + q, *const dot = key + q,
               *const skip = dot + q;
  const int pw = width + 1, ps = state + 1, pq = q + 1;

  const std::int64_t chunks = (a.rows + q - 1) / q, chunk = blockIdx.x % chunks;
  const int group = static_cast<int>(blockIdx.x / chunks % a.groups), group_heads = a.heads / a.groups;
  const std::int64_t local = blockIdx.x / chunks / a.groups, cell = a.first + local;
  const std::int64_t t0 = chunk * q, used = a.used(cell);
  const int held = static_cast<int>(min(static_cast<std::int64_t>(q), a.rows - t0));
  const int real = static_cast<int>(max(std::int64_t{0}, min(static_cast<std::int64_t>(q), used - t0)));

  if (real == 0) {
    // Padding: what its states would be was not written.
    const auto clear = [&](int first, int count) {
      for (int i = thread; i < held * count; i += kThreads) {
        to.dxbc[(cell * a.rows + t0 + i / count) * a.columns + first + i % count] = from_float<T>(0);
      }
    };
    clear(a.x_column(group * group_heads), group_heads * width);
    clear(a.b_column(group), state);
    clear(a.c_column(group), state);
    for (int i = thread; i < group_heads; i += kThreads) {
      const int head = group * group_heads + i;
      const std::int64_t sum = (cell * chunks + chunk) * a.heads + head;
      for (int t = 0; t < held; ++t) to.ddt[a.dt_place(cell, t0 + t, head)] = 0;
      if (to.a_log != nullptr) to.a_log[sum] = 0;
      if (to.d != nullptr) to.d[sum] = 0;
      if (to.dt_bias != nullptr) to.dt_bias[sum] = 0;
    }
    return;
  }

  for (int i = thread; i < q * state; i += kThreads) {
    const int r = i / state, n = i % state;
    const bool inside = r < real;
    b[r * ps + n] = inside ? to_float(a.row(cell, t0 + r)[a.b_column(group) + n]) : 0.0f;
    c[r * ps + n] = inside ? to_float(a.row(cell, t0 + r)[a.c_column(group) + n]) : 0.0f;
    db[r * ps + n] = dc[r * ps + n] = 0;
  }
  __syncthreads();
  for (int at = thread; at < q * q; at += kThreads) {
    const int i = at / q, j = at % q;
    float sum = 0;
    for (int n = 0; n < state && j <= i; ++n) sum += c[i * ps + n] * b[j * ps + n];
    gram[i * pq + j] = sum;
    dgram[i * pq + j] = 0;
  }

  for (int head = group * group_heads; head < (group + 1) * group_heads; ++head) {
    const std::int64_t weight = std::int64_t{a.layer(cell)} * a.heads + head;
    const std::int64_t place = ((local * a.heads + head) * chunks + chunk) * width * state;
    const float *const s = to.starts + place, *const ds = to.ends + place;
    const float rate = -expf(a.a_log[weight]);
    __syncthreads();
    for (int i = thread; i < q * width; i += kThreads) {
      const int r = i / width, p = i % width;
      const bool inside = r < real;
      x[r * pw + p] = inside ? to_float(a.row(cell, t0 + r)[a.x_column(head) + p]) : 0.0f;
      dy[r * pw + p] = inside ? to_float(to.dy[a.y_place(cell, t0 + r, head) + p]) : 0.0f;
    }
    if (thread < 32) {
      StepSize step{};
      if (thread < real)
        step = step_size(a.dt[a.dt_place(cell, t0 + thread, head)] + a.dt_bias[weight], a.least, a.most);
      float sum = rate * step.delta;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, sum, offset);
        if (thread >= offset) sum += before;
      }
      const float all = __shfl_sync(0xffffffffu, sum, q - 1);
      if (thread < q) {
        delta[thread] = step.delta;
        slope[thread] = step.slope;
        l[thread] = sum;
        grown[thread] = expf(sum);
        left[thread] = expf(fminf(all - sum, 0.0f));
      }
    }
    __syncthreads();
    for (int at = thread; at < q * q; at += kThreads) {
      const int i = at / q, j = at % q;
      float of_m = 0, of_v = 0;
      if (j <= i) {
        float dm = 0;
        for (int p = 0; p < width; ++p) dm += dy[i * pw + p] * x[j * pw + p];
        dm *= delta[j];
        const float e = expf(fminf(l[i] - l[j], 0.0f));
        of_m = gram[i * pq + j] * e;
        of_v = j < i ? dm * of_m : 0.0f;
        dgram[i * pq + j] += dm * e;
      }
      m[i * pq + j] = of_m;
      v[i * pq + j] = of_v;
    }
    for (int at = thread; at < sizes.pieces(); at += kThreads) {
      const int r = at % q, p0 = at / q * 4;
      float of_b[4] = {}, of_c[4] = {};
      const auto row = [&](int k) { return static_cast<std::int64_t>(min(p0 + k, width - 1)) * state; };
      for (int n = 0; n < state; ++n) {
        const float bn = b[r * ps + n], cn = c[r * ps + n];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          of_b[k] += bn * ds[row(k) + n];
          of_c[k] += cn * s[row(k) + n];
        }
      }
      float of_keys = 0, of_off = 0;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (p0 + k >= width) continue;
        dx[r * pw + p0 + k] = left[r] * of_b[k];
        of_keys += x[r * pw + p0 + k] * of_b[k];
        of_off += dy[r * pw + p0 + k] * of_c[k];
      }
      keys[at] = delta[r] * left[r] * of_keys;
      off[at] = grown[r] * of_off;
    }
    float carried = 0;
    for (int at = thread; at < (q + 3) / 4 * state; at += kThreads) {
      const int n = at % state, r0 = at / state * 4;
      float of_b[4] = {}, of_c[4] = {};
      const auto row = [&](int k) { return min(r0 + k, q - 1) * pw; };
      for (int p = 0; p < width; ++p) {
        const float sp = s[static_cast<std::int64_t>(p) * state + n],
                    dsp = ds[static_cast<std::int64_t>(p) * state + n];
        if (r0 == 0) carried += sp * dsp;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          of_c[k] += dy[row(k) + p] * sp;
          of_b[k] += x[row(k) + p] * dsp;
        }
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int r = r0 + k;
        if (r >= q) continue;
        dc[r * ps + n] += grown[r] * of_c[k];
        db[r * ps + n] += left[r] * delta[r] * of_b[k];
      }
    }
    carried = block_sum<kThreads>(carried, sums);
    __syncthreads();
    for (int at = thread; at < q * width; at += kThreads) {
      const int p = at % width, j = at / width;
      float sum = dx[j * pw + p];
      for (int i = j; i < q; ++i) sum += m[i * pq + j] * dy[i * pw + p];
      dx[j * pw + p] = sum;
      if (j >= held) continue;
      to.dxbc[(cell * a.rows + t0 + j) * a.columns + a.x_column(head) + p] =
          from_float<T>(delta[j] * sum + a.d[weight] * dy[j * pw + p]);
    }
    __syncthreads();
    for (int r = thread; r < q; r += kThreads) {
      float of_crossing = 0, of_key = 0, of_dot = 0, of_skip = 0;
      for (int j = 0; j < q; ++j) of_crossing += v[r * pq + j] - v[j * pq + r];
      for (int piece = 0; piece < (width + 3) / 4; ++piece) {
        of_crossing += off[piece * q + r];
        of_key += keys[piece * q + r];
      }
      for (int p = 0; p < width; ++p) {
        of_dot += dx[r * pw + p] * x[r * pw + p];
        of_skip += dy[r * pw + p] * x[r * pw + p];
      }
      crossing[r] = of_crossing;
      key[r] = of_key;
      dot[r] = of_dot;
      skip[r] = of_skip;
    }
    __syncthreads();
    if (thread < 32) {
      const bool inside = thread < q;
      float after = inside ? crossing[thread] : 0.0f, before = inside ? key[thread] : 0.0f;
      const float own = before;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const float later = __shfl_down_sync(0xffffffffu, after, offset);
        const float earlier = __shfl_up_sync(0xffffffffu, before, offset);
        if (thread + offset < 32) after += later;
        if (thread >= offset) before += earlier;
      }
      const float dalpha = after + (before - own) + (inside ? grown[q - 1] : 0.0f) * carried;
      const float of_dt = inside ? (rate * dalpha + dot[thread]) * slope[thread] : 0.0f;
      if (thread < held) to.ddt[a.dt_place(cell, t0 + thread, head)] = of_dt;
      const float of_a_log = warp_sum(inside ? rate * delta[thread] * dalpha : 0.0f);
      const float of_d = warp_sum(inside ? skip[thread] : 0.0f), of_bias = warp_sum(of_dt);
      if (thread == 0) {
        const std::int64_t sum = (cell * chunks + chunk) * a.heads + head;
        if (to.a_log != nullptr) to.a_log[sum] = of_a_log;
        if (to.d != nullptr) to.d[sum] = of_d;
        if (to.dt_bias != nullptr) to.dt_bias[sum] = of_bias;
      }
    }
  }
  __syncthreads();
  for (int at = thread; at < held * state; at += kThreads) {
    const int r = at / state, n = at % state;
    float of_b = db[r * ps + n], of_c = dc[r * ps + n];
    for (int j = 0; j <= r; ++j) of_c += dgram[r * pq + j] * b[j * ps + n];
    for (int i = r; i < q; ++i) of_b += dgram[i * pq + r] * c[i * ps + n];
    T* const row = to.dxbc + (cell * a.rows + t0 + r) * a.columns;
    row[a.b_column(group) + n] = from_float<T>(of_b);
    row[a.c_column(group) + n] = from_float<T>(of_c);
  }
}

// Rows of a chunk: as many as a block's shared memory takes.
ChunkSpace chunk_space(const SsdShape& shape, const Stream& stream) {
  static auto& most = *new PerDevice<int>;
  const int bytes = most.of(stream, [&] {
    int optin = 0;
    WT_CUDA(cudaDeviceGetAttribute(&optin, cudaDevAttrMaxSharedMemoryPerBlockOptin, stream.device().index));
    return std::min(optin - 1024, 113 * 1024);  // of an H100 two blocks fit
  });
  ChunkSpace space{kMostChunk, static_cast<int>(shape.width), static_cast<int>(shape.state)};
  while (space.chunk > 1 && space.floats() * 4 > bytes) space.chunk /= 2;
  WT_CHECK(space.floats() * 4 <= bytes, "ssd backward: heads ", shape.width, " wide with states of ", shape.state,
           " need more shared memory than the GPU has");
  return space;
}

}  // namespace

void plain_ssd_backward(const Stream& stream, const Tensor& dy, const Tensor& xbc, const Tensor& dt,
                        const SsdWeights& weights, const SsdShape& shape, const Tensor& s, const Cells& cells,
                        const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt, const SsdWeights& dweights,
                        const Tensor& ds) {
  const char* op = "ssd backward";
  const ChunkSpace space = chunk_space(shape, stream);
  const std::int64_t layers = xbc.dim(0), samples = xbc.dim(1), chunks = ceil_div(xbc.dim(2), space.chunk);
  const std::int64_t state = shape.heads * shape.width * shape.state, kept = chunks * state;
  const std::int64_t portion =
      std::clamp<std::int64_t>(kScratchBytes / std::max<std::int64_t>(1, 8 * kept), 1, layers * samples);
  const ChunkSums sums(stream, dweights, layers, samples * chunks, shape.heads);
  dispatch_float(op, xbc.dtype(), [&]<class T>() {
    Ssd<T> a = ssd_arguments<T>(xbc, dt, weights, shape, cells);
    const Tensor starts = Tensor::empty(stream, {portion, kept}, DType::kF32);
    const Tensor ends = Tensor::empty(stream, {portion, kept}, DType::kF32);
    SsdPass<T> forward, reverse;
    forward.start = data<float>(s);
    forward.borders = data<float>(starts);
    reverse.start = ds_out.defined() ? data<float>(ds_out) : nullptr;
    reverse.end = ds.defined() ? data<float>(ds) : nullptr;
    reverse.dy = data<T>(dy);
    reverse.borders = data<float>(ends);
    forward.chunk = reverse.chunk = space.chunk;
    const SsdGradients<T> to{reverse.dy,   forward.borders, reverse.borders, data<T>(dxbc), data<float>(ddt),
                             sums.a_log(), sums.d(),        sums.dt_bias(),  space.chunk};
    const auto kernel = ssd_chunk_backward_kernel<T>;
    const int bytes = space.floats() * static_cast<int>(sizeof(float));
    WT_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    for (a.first = 0; a.first < layers * samples; a.first += portion) {
      a.cells = std::min(portion, layers * samples - a.first);
      run_ssd_pass<T, false>(op, stream, a, forward);
      run_ssd_pass<T, true>(op, stream, a, reverse);
      if (chunks == 0) continue;
      kernel<<<grid_size(a.cells * a.groups * chunks), kThreads, static_cast<std::size_t>(bytes), native(stream)>>>(a,
                                                                                                                    to);
      check_launch(op);
    }
  });
  sums.add(stream);
  check_launch(op);
}

}  // namespace wt::kernels::cuda
