// The safetensors file format: an 8-byte little-endian header length, a JSON header {name: {dtype, shape,
// data_offsets}} with free text under "__metadata__", then the tensors' bytes. Source: the format description of the
// safetensors library (huggingface.co/docs/safetensors).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace wt {

// Free text stands under this name in the header.
inline constexpr const char* kSafetensorsMetadata = "__metadata__";

// "F32", "BF16", ...: what a header calls a dtype.
std::string_view stored_dtype_of(DType dtype);

// A tensor as a file has it, of any dtype ("F16" too, which is none of ours).
struct StoredTensor {
  std::string name, dtype;
  Shape shape;
  std::string_view bytes;
  std::shared_ptr<const void> owner;  // keeps the bytes
};
// Values rounded to `dtype`: F64, F32, BF16 or F16 (to nearest, ties to even). Throws Error for others.
StoredTensor stored_as(const std::string& name, const std::string& dtype, const Tensor& values);

// A file mapped into memory. Tensors are views of the mapping and keep it alive. Opening checks everything the header
// claims: its length against the file's, JSON, known dtypes, shapes times element size against offsets, offsets inside
// the file, no overlap, no hole, no duplicate name. Every failure is one Error with path and tensor name.
// F16 tensors are widened to f32 on reading and BOOL read as u8; other dtypes without a wt::DType are an Error when
// that tensor is asked for. The file must not be shortened while it is mapped (write_safetensors never does that).
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::vector<std::string> names() const;  // sorted
  bool contains(const std::string& name) const { return entries_.count(name) > 0; }
  const Shape& shape(const std::string& name) const;
  // As written in the file: "F32", "BF16", …
  const std::string& stored_dtype(const std::string& name) const;
  // Throws Error where the name is not in the file, naming the nearest one that is.
  Tensor tensor(const std::string& name) const;
  // The same untouched: bytes of the mapping.
  StoredTensor stored(const std::string& name) const;

 private:
  struct Entry {
    std::string dtype;
    Shape shape;
    std::size_t begin = 0, end = 0;  // byte range in the data section
  };
  const Entry& entry(const std::string& name) const;

  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Entry> entries_;
  std::shared_ptr<const void> mapping_;
  const char* data_ = nullptr;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Writes `path` whole or not at all: to a temporary file beside it, flushed to disk, then renamed. Names must be
// distinct; tensors of a GPU are fetched one at a time. Throws Error (a full disk, a read-only folder), leaving an
// earlier file as it was.
void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});
void write_stored_tensors(const std::string& path, const std::vector<StoredTensor>& tensors,
                          const std::map<std::string, std::string>& metadata = {});

}  // namespace wt
