#include <initializer_list>

#include "kernels/ssd_tensor_cuda.cuh"

namespace wt::kernels::cuda {

CUtensorMap tile_map(const bf16* first, const TileBlocks& of, int tile_rows) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    WT_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found));
    WT_CHECK(found == cudaDriverEntryPointSuccess, "CUDA: the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  CUtensorMap map{};
  const auto extent = [](std::int64_t n) { return static_cast<cuuint64_t>(n); };
  const cuuint64_t extents[4] = {extent(of.width), extent(of.blocks), extent(of.rows), extent(of.cells)};
  const cuuint64_t strides[3] = {extent(of.width * 2), extent(of.columns * 2), extent(of.columns * of.rows * 2)};
  const cuuint32_t box[4] = {kTile, 1, static_cast<cuuint32_t>(tile_rows), 1}, steps[4] = {1, 1, 1, 1};
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<bf16*>(first), extents, strides,
                                 box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  WT_CHECK(status == CUDA_SUCCESS, "CUDA: no map of ", of.cells, " x ", of.rows, " x ", of.blocks, " x ", of.width,
           " in ", of.columns, " columns: error ", static_cast<int>(status));
  return map;
}

bool tensor_ssd_fits(const Stream& stream, const SsdShape& shape, const Tensor& xbc,
                     std::initializer_list<const Tensor*> aligned) {
#ifdef WAVETAPE_SM90A
  static auto& able = *new PerDevice<bool>;
  const bool hopper = able.of(stream, [&] {
    int major = 0, minor = 0;
    WT_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, stream.device().index));
    WT_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, stream.device().index));
    return major == 9 && minor == 0;
  });
  bool fits = hopper && xbc.dtype() == DType::kBF16 && xbc.dim(2) >= kTensorRows && shape.width % 8 == 0 &&
              shape.state % 16 == 0 && shape.state <= 256 && shape.columns() % 8 == 0;
  for (const Tensor* t : aligned) fits = fits && reinterpret_cast<std::uintptr_t>(t->raw()) % 16 == 0;
  return fits;
#else
  return false;
#endif
}

}  // namespace wt::kernels::cuda
