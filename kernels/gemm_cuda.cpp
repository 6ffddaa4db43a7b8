#include "kernels/gemm_cuda.h"

#include <cublasLt.h>

#include <array>
#include <bit>
#include <limits>
#include <map>
#include <memory>
#include <mutex>

#include "core/cuda_check.h"

#define WT_CUBLAS(call)                                                                                        \
  do {                                                                                                         \
    const cublasStatus_t wt_status = (call);                                                                   \
    if (wt_status != CUBLAS_STATUS_SUCCESS) static_cast<void>(cudaGetLastError());                             \
    WT_CHECK(wt_status == CUBLAS_STATUS_SUCCESS, "cuBLASLt: ", #call, ": ", cublasLtGetStatusName(wt_status)); \
  } while (false)

namespace wt::kernels::cuda {
namespace {

// cuBLASLt's best Hopper kernels ask for this much at most.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

template <class T, cublasStatus_t (*Destroy)(T)>
struct Destroyer {
  using pointer = T;
  void operator()(T handle) const { Destroy(handle); }
};
using Description = std::unique_ptr<void, Destroyer<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<void, Destroyer<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;
using Preference = std::unique_ptr<void, Destroyer<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>;

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

// Largest power of two up to 256 that divides the address and the strides: what the choice of an algorithm may rely on.
std::uint32_t alignment(const Matrix& m) {
  const auto bits = reinterpret_cast<std::uintptr_t>(m.data) | 256u;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

// A product's shape: everything that the plan depends on.
using Key = std::array<std::int64_t, 20>;

struct Plan {
  Description description;
  Layout a, b, c_in, c;
  cublasLtMatmulAlgo_t algorithm;
  std::size_t workspace = 0;
};

Layout make_layout(const Matrix& m, std::int64_t rows, std::int64_t cols, std::int64_t batch) {
  // Stored row-major (rows, cols) is column-major (cols, rows).
  cublasLtMatrixLayout_t layout = nullptr;
  WT_CUBLAS(cublasLtMatrixLayoutCreate(&layout, type_of(m.dtype), static_cast<std::uint64_t>(cols),
                                       static_cast<std::uint64_t>(rows), m.row_stride));
  Layout owned(layout);
  const auto count = static_cast<std::int32_t>(batch);
  WT_CUBLAS(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)));
  WT_CUBLAS(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &m.batch_stride,
                                             sizeof(m.batch_stride)));
  return owned;
}

class Engine {
 public:
  Engine() { WT_CUBLAS(cublasLtCreate(&handle_)); }

  const Plan& plan(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, float beta, const Matrix& a,
                   const Matrix& b, const Matrix& c_in, const Matrix& c) {
    const auto flags = (a.transposed ? 1 : 0) | (b.transposed ? 2 : 0) | (beta == 0 ? 4 : 0) |
                       (c_in.data == c.data ? 8 : 0) | (a.dtype == DType::kBF16 ? 16 : 0) |
                       (c.dtype == DType::kBF16 ? 32 : 0);
    const Key key{batch,
                  m,
                  n,
                  k,
                  flags,
                  a.row_stride,
                  a.batch_stride,
                  b.row_stride,
                  b.batch_stride,
                  c.row_stride,
                  c.batch_stride,
                  c_in.row_stride,
                  c_in.batch_stride,
                  alignment(a),
                  alignment(b),
                  alignment(c),
                  alignment(c_in)};
    const std::lock_guard lock(mutex_);
    std::unique_ptr<Plan>& entry = plans_[key];
    if (entry == nullptr) entry = make_plan(batch, m, n, k, beta, a, b, c_in, c);
    return *entry;
  }

  cublasLtHandle_t handle() const { return handle_; }

 private:
  std::unique_ptr<Plan> make_plan(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, float beta,
                                  const Matrix& a, const Matrix& b, const Matrix& c_in, const Matrix& c) {
    auto plan = std::make_unique<Plan>();
    cublasLtMatmulDesc_t description = nullptr;
    WT_CUBLAS(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    plan->description.reset(description);
    // Row-major C = A B is column-major Cᵀ = Bᵀ Aᵀ: cuBLAS's first operand is our B.
    const cublasOperation_t first = b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    WT_CUBLAS(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first)));
    WT_CUBLAS(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof(second)));
    plan->a = make_layout(a, a.transposed ? k : m, a.transposed ? m : k, batch);
    plan->b = make_layout(b, b.transposed ? n : k, b.transposed ? k : n, batch);
    plan->c_in = make_layout(beta == 0 ? c : c_in, m, n, batch);
    plan->c = make_layout(c, m, n, batch);

    cublasLtMatmulPreference_t preference = nullptr;
    WT_CUBLAS(cublasLtMatmulPreferenceCreate(&preference));
    const Preference owned(preference);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      WT_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kWorkspaceBytes});
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE});
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(b));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(a));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(beta == 0 ? c : c_in));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(c));
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    WT_CUBLAS(cublasLtMatmulAlgoGetHeuristic(handle_, description, plan->b.get(), plan->a.get(), plan->c_in.get(),
                                             plan->c.get(), preference, 1, &result, &found));
    WT_CHECK(found > 0, "cuBLASLt has no algorithm for ", batch, " products of (", m, ",", k, ")·(", k, ",", n, ") in ",
             name_of(a.dtype), " into ", name_of(c.dtype));
    plan->algorithm = result.algo;
    plan->workspace = result.workspaceSize;
    return plan;
  }

  cublasLtHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

// One engine per GPU, kept until the process ends.
Engine& engine(const Stream& stream) {
  static std::mutex mutex;
  static std::map<int, std::unique_ptr<Engine>>& engines = *new std::map<int, std::unique_ptr<Engine>>;
  const std::lock_guard lock(mutex);
  auto& entry = engines[stream.device().index];
  if (entry == nullptr) entry = std::make_unique<Engine>();
  return *entry;
}

}  // namespace

void gemm(const Stream& stream, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
          const Matrix& a, const Matrix& b, float beta, const Matrix& c_in, const Matrix& c) {
  if (batch == 0 || m == 0 || n == 0) return;
  WT_CHECK(k > 0, "matrix product over an inner extent of 0");
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  WT_CHECK(batch <= kMost && m <= kMost && n <= kMost && k <= kMost, batch, " products of (", m, ",", k, ")·(", k, ",",
           n, "): an extent is above ", kMost);
  WT_CHECK(a.dtype == b.dtype && (a.dtype == DType::kF32 || a.dtype == DType::kBF16), "matrix product of ",
           name_of(a.dtype), " and ", name_of(b.dtype), ", expected f32 or bf16, both alike");
  WT_CHECK(c.dtype == DType::kF32 || c.dtype == a.dtype, "matrix product of ", name_of(a.dtype), " into ",
           name_of(c.dtype));
  Engine& e = engine(stream);
  const Plan& plan = e.plan(batch, m, n, k, beta, a, b, beta == 0 ? c : c_in, c);
  const Tensor workspace = Tensor::empty(stream, {static_cast<std::int64_t>(plan.workspace)}, DType::kU8);
  WT_CUBLAS(cublasLtMatmul(e.handle(), plan.description.get(), &alpha, b.data, plan.b.get(), a.data, plan.a.get(),
                           &beta, beta == 0 ? c.data : c_in.data, plan.c_in.get(), c.data, plan.c.get(),
                           &plan.algorithm, plan.workspace == 0 ? nullptr : workspace.raw(), plan.workspace,
                           static_cast<cudaStream_t>(stream.native())));
}

}  // namespace wt::kernels::cuda
