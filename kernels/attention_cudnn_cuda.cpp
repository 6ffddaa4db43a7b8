#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "kernels/attention_cudnn.h"

// Plans are not written to files here.
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include "core/cuda_check.h"

namespace wt::kernels::cuda {
namespace {

namespace fe = cudnn_frontend;
using fe::graph::Graph;
using fe::graph::Tensor_attributes;
using Pointers = std::unordered_map<std::int64_t, void*>;

// What a plan is built for. `batch` counts layers times samples.
struct Problem {
  int device = 0;
  bool backward = false;
  std::int64_t batch = 0, rows = 0, query = 0, key_value = 0, width = 0;
  std::int64_t capacity = 0;  // rows of the caches of texts; 0: keys and values lie beside the queries
  auto operator<=>(const Problem&) const = default;
  std::string str() const {
    return cat("attention", backward ? " backward" : "", " of ", batch, " samples, ", rows, " rows, ", query,
               " query and ", key_value, " key/value heads of width ", width,
               capacity > 0 ? cat(", caches of ", capacity, " rows") : std::string());
  }
};

// Names of the graphs' tensors.
enum Id : std::int64_t {
  kQuery = 1,
  kKey,
  kValue,
  kOut,
  kLse,
  kGradOut,
  kGradQuery,
  kGradKey,
  kGradValue,
  kNumQueries,
  kNumKeys,
  kQueryOffsets,
  kKeyOffsets,
  kOutOffsets
};

struct Plan {
  Graph graph;
  std::int64_t workspace = 0;
  std::uint64_t used = 0;  // the cache's count of runs when it ran last
};

// Plans kept: there is one for each number of rows, and each takes some memory.
constexpr std::size_t kMostPlans = 64;

struct Cache {
  std::mutex mutex;
  std::map<std::pair<int, void*>, cudnnHandle_t> handles;  // by device and stream
  std::map<Problem, std::unique_ptr<Plan>> plans;
  std::uint64_t runs = 0;
};

// Never destroyed: when the process ends, CUDA may be gone first.
Cache& cache() {
  static Cache& instance = *new Cache;
  return instance;
}

cudnnHandle_t handle_of(Cache& cache, const Stream& stream) {
  cudnnHandle_t& handle = cache.handles[{stream.device().index, stream.native()}];
  if (handle == nullptr) {
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status != CUDNN_STATUS_SUCCESS) handle = nullptr;
    WT_CHECK(status == CUDNN_STATUS_SUCCESS, "cuDNN does not start: ", cudnnGetErrorString(status));
    status = cudnnSetStream(handle, static_cast<cudaStream_t>(stream.native()));
    WT_CHECK(status == CUDNN_STATUS_SUCCESS, "cuDNN: cudnnSetStream: ", cudnnGetErrorString(status));
  }
  return handle;
}

void check(fe::error_t status, const Problem& problem) {
  std::string message = status.get_message();
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (status.is_bad()) static_cast<void>(cudaGetLastError());  // or the next launch is blamed
  WT_CHECK(status.is_good(), problem, ": cuDNN: ", message);
}

// (batch, heads, rows, width), where the rows of all heads lie side by side in rows of `row_width` elements.
void describe(Tensor_attributes& tensor, const char* name, Id id, const Problem& p, std::int64_t heads,
              std::int64_t row_width) {
  tensor.set_name(name)
      .set_uid(id)
      .set_data_type(fe::DataType_t::BFLOAT16)
      .set_dim({p.batch, heads, p.rows, p.width})
      .set_stride({p.rows * row_width, p.width, row_width, 1});
}

std::shared_ptr<Tensor_attributes> input(Graph& graph, const char* name, Id id, const Problem& p, std::int64_t heads,
                                         std::int64_t row_width) {
  Tensor_attributes tensor;
  describe(tensor, name, id, p, heads, row_width);
  return graph.tensor(tensor);
}

void describe_lse(Tensor_attributes& lse, const Problem& p) {
  lse.set_name("lse")
      .set_uid(kLse)
      .set_data_type(fe::DataType_t::FLOAT)
      .set_dim({p.batch, p.query, p.rows, 1})
      .set_stride({p.query * p.rows, p.rows, 1, 1});
}

// A number for each sample.
std::shared_ptr<Tensor_attributes> numbers(Graph& graph, const char* name, Id id, std::int64_t count,
                                           fe::DataType_t type) {
  return graph.tensor(Tensor_attributes()
                          .set_name(name)
                          .set_uid(id)
                          .set_data_type(type)
                          .set_dim({count, 1, 1, 1})
                          .set_stride({1, 1, 1, 1}));
}

// Texts in caches. With offsets for all of them the rows of a sample may begin anywhere, and what lies beyond its last
// key is not even multiplied by zero.
void define_text(Graph& graph, const Problem& p, std::int64_t row, std::int64_t out_row, float scale) {
  const auto offsets = [&](const char* name, Id id) {
    return numbers(graph, name, id, p.batch + 1, fe::DataType_t::INT64);
  };
  Problem cached = p;
  cached.rows = p.capacity;
  Tensor_attributes query, key, value;
  describe(query, "q", kQuery, p, p.query, row);
  describe(key, "k", kKey, cached, p.key_value, p.key_value * p.width);
  describe(value, "v", kValue, cached, p.key_value, p.key_value * p.width);
  query.set_ragged_offset(offsets("q offsets", kQueryOffsets));
  const auto of_keys = offsets("k and v offsets", kKeyOffsets);
  key.set_ragged_offset(of_keys);
  value.set_ragged_offset(of_keys);
  auto options = fe::graph::SDPA_attributes().set_name("text attention").set_generate_stats(true).set_attn_scale(scale);
  options.set_padding_mask(true)
      .set_seq_len_q(numbers(graph, "queries", kNumQueries, p.batch, fe::DataType_t::INT32))
      .set_seq_len_kv(numbers(graph, "keys", kNumKeys, p.batch, fe::DataType_t::INT32))
      .set_diagonal_alignment(fe::DiagonalAlignment_t::BOTTOM_RIGHT)
      .set_diagonal_band_right_bound(0);
  const auto [out, lse] = graph.sdpa(graph.tensor(query), graph.tensor(key), graph.tensor(value), options);
  describe(out->set_output(true), "out", kOut, p, p.query, out_row);
  out->set_ragged_offset(offsets("out offsets", kOutOffsets));
  describe_lse(lse->set_output(true), p);
}

void define(Graph& graph, const Problem& p) {
  const std::int64_t row = (p.query + 2 * p.key_value) * p.width, out_row = p.query * p.width;
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p.width)));
  graph.set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  if (p.capacity > 0) return define_text(graph, p, row, out_row, scale);
  const auto query = input(graph, "q", kQuery, p, p.query, row);
  const auto key = input(graph, "k", kKey, p, p.key_value, row);
  const auto value = input(graph, "v", kValue, p, p.key_value, row);
  if (!p.backward) {
    auto options = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true).set_attn_scale(scale);
    options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    const auto [out, lse] = graph.sdpa(query, key, value, options);
    describe(out->set_output(true), "out", kOut, p, p.query, out_row);
    describe_lse(lse->set_output(true), p);
    return;
  }
  const auto out = input(graph, "out", kOut, p, p.query, out_row);
  const auto dout = input(graph, "dout", kGradOut, p, p.query, out_row);
  Tensor_attributes lse;
  describe_lse(lse, p);
  auto options = fe::graph::SDPA_backward_attributes().set_name("attention backward").set_attn_scale(scale);
  options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
      .set_diagonal_band_right_bound(0)
      .set_deterministic_algorithm(true);
  const auto [dquery, dkey, dvalue] = graph.sdpa_backward(query, key, value, out, dout, graph.tensor(lse), options);
  describe(dquery->set_output(true), "dq", kGradQuery, p, p.query, row);
  describe(dkey->set_output(true), "dk", kGradKey, p, p.key_value, row);
  describe(dvalue->set_output(true), "dv", kGradValue, p, p.key_value, row);
}

// The library reports some errors as exceptions.
fe::error_t build(Plan& plan, const Problem& problem, cudnnHandle_t handle) {
  try {
    define(plan.graph, problem);
    fe::error_t status = plan.graph.build(handle, {fe::HeurMode_t::A, fe::HeurMode_t::B});
    if (status.is_bad()) return status;
    return plan.graph.get_workspace_size(plan.workspace);
  } catch (const std::exception& error) {
    return {fe::error_code_t::GRAPH_NOT_SUPPORTED, error.what()};
  }
}

Plan& plan_of(Cache& cache, const Problem& problem, const Stream& stream) {
  const auto found = cache.plans.find(problem);
  if (found != cache.plans.end()) return *found->second;
  if (cache.plans.size() >= kMostPlans) {
    const auto oldest = std::min_element(cache.plans.begin(), cache.plans.end(),
                                         [](const auto& a, const auto& b) { return a.second->used < b.second->used; });
    for (const auto& [place, handle] : cache.handles) {  // its kernels may still run
      if (place.first == oldest->first.device) WT_CUDA(cudaStreamSynchronize(static_cast<cudaStream_t>(place.second)));
    }
    cache.plans.erase(oldest);
  }
  auto plan = std::make_unique<Plan>();
  check(build(*plan, problem, handle_of(cache, stream)), problem);
  return *cache.plans.emplace(problem, std::move(plan)).first->second;
}

// Places after the workspace's start where cuDNN's own part begins are not rounded by the frontend: it puts the row
// sums of the backward, of this many bytes, in front.
std::int64_t bytes_in_front(const Problem& p) {
  return p.backward ? p.batch * p.query * p.rows * static_cast<std::int64_t>(sizeof(float)) : 0;
}

void run(const Stream& stream, const Problem& problem, Pointers pointers) {
  constexpr std::int64_t kAlign = 256;
  Cache& all = cache();
  const std::lock_guard lock(all.mutex);
  Plan& plan = plan_of(all, problem, stream);
  plan.used = ++all.runs;
  const std::int64_t shift = (kAlign - bytes_in_front(problem) % kAlign) % kAlign;
  const Tensor workspace = Tensor::empty(stream, {plan.workspace + shift + 1}, DType::kU8);
  check(plan.graph.execute(handle_of(all, stream), pointers, workspace.data<std::uint8_t>() + shift), problem);
}

// The part of a (G, B, T, width) tensor from sample `first` (of G·B) and element `column` of its rows on.
void* part(const Tensor& rows, std::int64_t first, std::int64_t column) {
  return rows.data<BFloat16>() + first * rows.dim(2) * rows.dim(3) + column;
}

float* part_of_lse(const Tensor& lse, std::int64_t first) {
  return lse.data<float>() + first * lse.dim(2) * lse.dim(3);
}

Pointers inputs(const Tensor& qkv, const AttentionHeads& heads, std::int64_t first) {
  return {{kQuery, part(qkv, first, 0)},
          {kKey, part(qkv, first, heads.query * heads.width)},
          {kValue, part(qkv, first, (heads.query + heads.key_value) * heads.width)}};
}

// cuDNN's kernels count the elements of a tensor in 32 bits.
constexpr std::int64_t kMostElements = (std::int64_t{1} << 31) - 1;

// Samples to run at once. Being deterministic costs the backward a bf16 number per score.
std::int64_t samples_at_once(std::int64_t batch, const AttentionHeads& heads, std::int64_t rows, bool backward) {
  constexpr std::int64_t kMostScoreBytes = std::int64_t{1} << 30;
  const std::int64_t padded = (rows + 127) / 128 * 128;
  const std::int64_t countable = std::max<std::int64_t>(1, kMostElements / (rows * heads.row_width()));
  const std::int64_t scores = std::max<std::int64_t>(1, kMostScoreBytes / (heads.query * padded * padded * 2));
  const std::int64_t most = backward ? std::min(countable, scores) : countable, parts = (batch + most - 1) / most;
  // In fours where that many go, which keeps the parts' lse 16-byte aligned for any number of rows.
  const std::int64_t fours = ((batch + parts - 1) / parts + 3) / 4 * 4;
  return std::min(fours, countable < 4 ? countable : countable / 4 * 4);
}

}  // namespace

bool cudnn_attends(DType dtype, const AttentionHeads& heads, std::int64_t rows) {
  return dtype == DType::kBF16 && heads.width % 8 == 0 && heads.width <= 128 && rows > 1;
}

std::size_t cudnn_plans() {
  Cache& all = cache();
  const std::lock_guard lock(all.mutex);
  return all.plans.size();
}

void cudnn_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Tensor& out,
                             const Tensor& lse) {
  const std::int64_t batch = qkv.dim(0) * qkv.dim(1), rows = qkv.dim(2);
  const std::int64_t step = samples_at_once(batch, heads, rows, false);
  for (std::int64_t first = 0; first < batch; first += step) {
    const Problem problem{stream.device().index, false,      std::min(step, batch - first), rows, heads.query,
                          heads.key_value,       heads.width};
    Pointers pointers = inputs(qkv, heads, first);
    pointers[kOut] = part(out, first, 0);
    pointers[kLse] = part_of_lse(lse, first);
    run(stream, problem, std::move(pointers));
  }
}

std::int64_t cudnn_text_samples(DType dtype, const AttentionHeads& heads, std::int64_t rows, std::int64_t capacity) {
  if (!cudnn_attends(dtype, heads, rows) || capacity == 0) return 0;
  const std::int64_t most =
      kMostElements / std::max(rows * heads.row_width(), capacity * heads.key_value * heads.width);
  return most < 4 ? most : most / 4 * 4;  // as in samples_at_once()
}

void cudnn_text_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                                  const Tensor& keys, const Tensor& values, std::int64_t first, std::int64_t count,
                                  const TextPlaces& places, const Tensor& out, const Tensor& lse) {
  const Problem problem{stream.device().index, false,           count,       qkv.dim(2),
                        heads.query,           heads.key_value, heads.width, keys.dim(2)};
  const std::int64_t cache = first * keys.dim(2) * heads.key_value * heads.width;
  run(stream, problem,
      {{kQuery, part(qkv, first, 0)},
       {kKey, keys.data<BFloat16>() + cache},
       {kValue, values.data<BFloat16>() + cache},
       {kOut, part(out, first, 0)},
       {kLse, part_of_lse(lse, first)},
       {kNumQueries, places.num_queries.raw()},
       {kNumKeys, places.num_keys.raw()},
       {kQueryOffsets, places.query_offsets.raw()},
       {kKeyOffsets, places.key_offsets.raw()},
       {kOutOffsets, places.out_offsets.raw()}});
}

void cudnn_attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const AttentionHeads& heads, const Tensor& dqkv) {
  const std::int64_t batch = qkv.dim(0) * qkv.dim(1), rows = qkv.dim(2);
  const std::int64_t step = samples_at_once(batch, heads, rows, true);
  for (std::int64_t first = 0; first < batch; first += step) {
    const Problem problem{stream.device().index, true,       std::min(step, batch - first), rows, heads.query,
                          heads.key_value,       heads.width};
    Pointers pointers = inputs(qkv, heads, first);
    pointers[kOut] = part(out, first, 0);
    pointers[kLse] = part_of_lse(lse, first);
    pointers[kGradOut] = part(dout, first, 0);
    pointers[kGradQuery] = part(dqkv, first, 0);
    pointers[kGradKey] = part(dqkv, first, heads.query * heads.width);
    pointers[kGradValue] = part(dqkv, first, (heads.query + heads.key_value) * heads.width);
    run(stream, problem, std::move(pointers));
  }
}

}  // namespace wt::kernels::cuda
