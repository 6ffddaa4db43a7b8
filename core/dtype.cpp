#include "core/dtype.h"

namespace wt {

DType dtype_from_name(std::string_view name) {
  for (const DType dtype :
       {DType::kF64, DType::kF32, DType::kBF16, DType::kI64, DType::kI32, DType::kI16, DType::kU8}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw UsageError(cat("unknown dtype '", name, "': expected f64, f32, bf16, i64, i32, i16 or u8"));
}

}  // namespace wt
