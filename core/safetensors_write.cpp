// The writing half of core/safetensors.h.
#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/files.h"
#include "core/safetensors.h"

namespace wt {
namespace {

// One tensor of a header, and how many bytes an element has.
struct HeaderEntry {
  std::string_view name, dtype;
  const Shape* shape = nullptr;
  std::size_t bytes = 0;
};

// The header's text, padded so that the data begin at a multiple of 8; `order` is that of the data.
std::string header_of(const std::string& path, const std::vector<HeaderEntry>& order,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[kSafetensorsMetadata] = metadata;
  std::set<std::string_view> names;
  std::size_t offset = 0;
  for (const HeaderEntry& entry : order) {
    WT_CHECK(entry.name != kSafetensorsMetadata && names.insert(entry.name).second, path, ": tensor name ", entry.name,
             " is used twice or reserved");
    const std::size_t end = offset + entry.bytes;
    header[std::string(entry.name)] = {{"dtype", entry.dtype},
                                       {"shape", std::vector(entry.shape->begin(), entry.shape->end())},
                                       {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    throw Error(cat("cannot write ", path, ": a tensor name or metadata text is not UTF-8"));
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

void write_header(AtomicFile& file, const std::string& text) {
  const std::uint64_t header_bytes = text.size();
  file.write(&header_bytes, 8);
  file.write(text);
}

// Round to nearest, ties to even, as IEEE 754 has it; beyond 65504 and a half step it is infinity.
std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;   // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and more
  if (magnitude < 0x38800000u) {                        // below 2^-14: a multiple of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    auto whole = static_cast<std::uint32_t>(scaled);
    const float rest = scaled - static_cast<float>(whole);
    if (rest > 0.5f || (rest == 0.5f && (whole & 1u) != 0)) ++whole;
    return static_cast<std::uint16_t>(sign | whole);
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace

std::string_view stored_dtype_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "F64";
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kI16:
      return "I16";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

StoredTensor stored_as(const std::string& name, const std::string& dtype, const Tensor& values) {
  StoredTensor out{name, dtype, values.shape(), {}, nullptr};
  if (dtype == "F16") {
    const Tensor wide = values.to(Stream{}, DType::kF32);
    auto halves = std::make_shared<std::vector<std::uint16_t>>();
    halves->reserve(static_cast<std::size_t>(wide.numel()));
    for (const float value : wide.to_vector<float>()) halves->push_back(float_to_half(value));
    out.bytes = {reinterpret_cast<const char*>(halves->data()), 2 * halves->size()};
    out.owner = halves;
    return out;
  }
  for (const DType wanted : {DType::kF64, DType::kF32, DType::kBF16}) {
    if (dtype != stored_dtype_of(wanted)) continue;
    const auto tensor = std::make_shared<Tensor>(values.to(Stream{}, wanted));
    out.bytes = {static_cast<const char*>(tensor->raw()), tensor->bytes()};
    out.owner = tensor;
    return out;
  }
  throw Error(cat("tensor ", name, ": cannot be stored as ", dtype, ", expected F64, F32, BF16 or F16"));
}

void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Wide elements first, so that every tensor is aligned without padding between them.
  std::vector<const NamedTensors::value_type*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  std::vector<HeaderEntry> entries;
  for (const auto* item : order) {
    WT_CHECK(item->second.defined(), path, ": tensor ", item->first, " is undefined");
    entries.push_back(
        {item->first, stored_dtype_of(item->second.dtype()), &item->second.shape(), item->second.bytes()});
  }
  AtomicFile file(path);
  write_header(file, header_of(path, entries, metadata));
  for (const auto* item : order) {
    const Tensor bytes = item->second.to_cpu(Stream(item->second.device()));
    file.write(bytes.raw(), bytes.bytes());
  }
  file.commit();
}

void write_stored_tensors(const std::string& path, const std::vector<StoredTensor>& tensors,
                          const std::map<std::string, std::string>& metadata) {
  std::vector<const StoredTensor*> order;
  for (const StoredTensor& tensor : tensors) order.push_back(&tensor);
  const auto element = [](const StoredTensor& tensor) {
    return tensor.bytes.size() / static_cast<std::size_t>(std::max<std::int64_t>(tensor.shape.numel(), 1));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const StoredTensor* a, const StoredTensor* b) { return element(*a) > element(*b); });
  std::vector<HeaderEntry> entries;
  for (const StoredTensor* tensor : order) {
    entries.push_back({tensor->name, tensor->dtype, &tensor->shape, tensor->bytes.size()});
  }
  AtomicFile file(path);
  write_header(file, header_of(path, entries, metadata));
  for (const StoredTensor* tensor : order) file.write(tensor->bytes.data(), tensor->bytes.size());
  file.commit();
}

}  // namespace wt
