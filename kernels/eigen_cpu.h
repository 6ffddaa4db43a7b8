// Eigen's maps over our row-major memory. Included by *_cpu.cpp files only: Eigen costs seconds of compile time.
#pragma once

#include <Eigen/Core>
#include <cstdint>

namespace wt::kernels {

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using MatrixMap = Eigen::Map<RowMajor<T>, 0, Eigen::OuterStride<>>;
template <class T>
using ConstMatrixMap = Eigen::Map<const RowMajor<T>, 0, Eigen::OuterStride<>>;
template <class T>
using ArrayMap = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
template <class T>
using ConstArrayMap = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;

template <class T>
MatrixMap<T> matrix(T* data, std::int64_t rows, std::int64_t cols, std::int64_t row_stride) {
  return {data, rows, cols, Eigen::OuterStride<>(row_stride)};
}
template <class T>
ConstMatrixMap<T> const_matrix(const T* data, std::int64_t rows, std::int64_t cols, std::int64_t row_stride) {
  return {data, rows, cols, Eigen::OuterStride<>(row_stride)};
}
template <class T>
ArrayMap<T> array(T* data, std::int64_t count) {
  return {data, count};
}
template <class T>
ConstArrayMap<T> const_array(const T* data, std::int64_t count) {
  return {data, count};
}

}  // namespace wt::kernels
