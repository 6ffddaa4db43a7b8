#include "core/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/lfs_pointer.h"
#include "core/text.h"

namespace wt {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

// The reference library's own limit: a longer header is a damaged or hostile file.
constexpr std::uint64_t kMaxHeader = 100'000'000;

struct StoredType {
  std::string_view name;
  std::size_t bytes;
};
constexpr StoredType kStoredTypes[] = {{"F64", 8},     {"F32", 4},    {"BF16", 2}, {"F16", 2}, {"I64", 8},
                                       {"I32", 4},     {"U8", 1},     {"BOOL", 1}, {"I16", 2}, {"I8", 1},
                                       {"U16", 2},     {"U32", 4},    {"U64", 8},  {"C64", 8}, {"F8_E4M3", 1},
                                       {"F8_E5M2", 1}, {"F8_E8M0", 1}};

const StoredType* find_stored_type(std::string_view name) {
  for (const StoredType& type : kStoredTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

// IEEE half precision widened to float32: exact for every value.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa times 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

// What the header says about one tensor, before any of it is believed.
struct RawEntry {
  std::string dtype;
  std::vector<std::uint64_t> shape, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Walks the header's JSON event by event, so that a duplicate name is seen (a DOM would drop one) and nesting deeper
// than the format's costs no stack.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string path) : path_(std::move(path)) {}

  std::map<std::string, std::string> metadata;
  std::map<std::string, RawEntry> entries;

  bool null() override { return value_of_wrong_type("null"); }
  bool boolean(bool) override { return value_of_wrong_type("true or false"); }
  bool number_integer(number_integer_t value) override { return value_of_wrong_type(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return value_of_wrong_type(text); }
  bool binary(binary_t&) override { return value_of_wrong_type("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == nullptr) return value_of_wrong_type(std::to_string(value));
    list_->push_back(value);
    return true;
  }
  bool string(string_t& value) override {
    if (depth_ == 2 && list_ == nullptr && tensor_ == nullptr) {
      metadata[field_] = value;
    } else if (depth_ == 2 && list_ == nullptr && field_ == "dtype") {
      tensor_->dtype = value;
      tensor_->has_dtype = true;
    } else {
      return value_of_wrong_type("text");
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == 2 || list_ != nullptr) return value_of_wrong_type("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      name_ = name;
      tensor_ = nullptr;
      fields_.clear();
      if (!names_.insert(name).second) fail(cat("the name ", name, " stands twice in the header"));
      if (name != kSafetensorsMetadata) tensor_ = &entries[name];
    } else {
      field_ = name;
      if (!fields_.insert(name).second) fail(cat(name_, ": ", name, " stands twice"));
      if (tensor_ != nullptr && name != "dtype" && name != "shape" && name != "data_offsets") {
        fail(cat("tensor ", name_, ": unknown field ", name));
      }
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || tensor_ == nullptr || list_ != nullptr || field_ == "dtype") {
      return value_of_wrong_type("a list");
    }
    list_ = field_ == "shape" ? &tensor_->shape : &tensor_->offsets;
    (field_ == "shape" ? tensor_->has_shape : tensor_->has_offsets) = true;
    return true;
  }
  bool end_array() override {
    list_ = nullptr;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail(cat("its header is not JSON (at byte ", position, " of the header)"));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(cat(path_, ": not a safetensors file: ", what)); }
  bool value_of_wrong_type(const std::string& what) const {
    if (depth_ == 0) fail("its header is not a JSON object");
    if (depth_ == 1) fail(cat(name_, " is ", what, ", expected an object"));
    fail(cat(tensor_ == nullptr ? "" : "tensor ", name_, ": ", field_, " holds ", what, ", expected ",
             tensor_ == nullptr || field_ == "dtype" ? "text" : "a list of whole numbers"));
  }

  std::string path_;
  int depth_ = 0;
  std::string name_, field_;
  std::set<std::string> names_, fields_;
  RawEntry* tensor_ = nullptr;                  // the tensor whose object is being read; null inside __metadata__
  std::vector<std::uint64_t>* list_ = nullptr;  // the list being read
};

struct Mapping {
  void* data;
  std::size_t bytes;
  Mapping(void* start, std::size_t size) : data(start), bytes(size) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(data, bytes); }
};

std::shared_ptr<const Mapping> map_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error(cat("cannot open ", path, ": ", std::strerror(errno)));
  struct stat status {};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (!regular || size < 8) {
    ::close(descriptor);
    if (!regular) throw Error(cat(path, ": not a regular file, expected a safetensors file"));
    throw Error(cat(path, ": not a safetensors file: only ", size, " bytes long"));
  }
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int reason = errno;
  ::close(descriptor);
  if (data == MAP_FAILED) throw Error(cat("cannot map ", path, ": ", std::strerror(reason)));
  return std::make_shared<const Mapping>(data, size);
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  SafetensorsFile file;
  file.path_ = path;
  const auto mapping = map_file(path);
  const char* bytes = static_cast<const char*>(mapping->data);
  refuse_lfs_pointer(path, {bytes, mapping->bytes});
  const auto fail = [&path](const auto&... what) { throw Error(cat(path, ": not a safetensors file: ", what...)); };

  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes, 8);
  if (header_bytes > kMaxHeader || header_bytes > mapping->bytes - 8) {
    fail("its header claims ", header_bytes, " bytes, the file has ", mapping->bytes,
         header_bytes > kMaxHeader ? "" : "; truncated?");
  }
  HeaderReader reader(path);
  nlohmann::json::sax_parse(bytes + 8, bytes + 8 + header_bytes, &reader);

  const std::size_t data_bytes = mapping->bytes - 8 - header_bytes;
  for (const auto& [name, raw] : reader.entries) {
    if (!raw.has_dtype || !raw.has_shape || !raw.has_offsets) {
      fail("tensor ", name, ": ", !raw.has_dtype ? "dtype" : !raw.has_shape ? "shape" : "data_offsets", " is missing");
    }
    const StoredType* type = find_stored_type(raw.dtype);
    if (type == nullptr) fail("tensor ", name, ": unknown dtype ", raw.dtype);
    if (raw.shape.size() > Shape::kMaxRank) {
      fail("tensor ", name, " has ", raw.shape.size(), " extents, at most ", Shape::kMaxRank, " are supported");
    }
    Entry entry;
    entry.dtype = raw.dtype;
    // Checked in 64 bits at every step, in the order of the extents, so that a zero extent cannot hide an overflow.
    std::int64_t size = static_cast<std::int64_t>(type->bytes);
    for (const std::uint64_t extent : raw.shape) {
      if (extent > INT64_MAX || __builtin_mul_overflow(size, static_cast<std::int64_t>(extent), &size)) {
        fail("tensor ", name, ": its shape has more bytes than 64 bits count");
      }
      entry.shape.append(static_cast<std::int64_t>(extent));
    }
    if (raw.offsets.size() != 2)
      fail("tensor ", name, ": data_offsets has ", raw.offsets.size(), " numbers, expected 2");
    const std::uint64_t begin = raw.offsets[0], end = raw.offsets[1];
    if (begin > end || end > data_bytes) {
      fail("tensor ", name, ": bytes [", begin, ",", end, ") lie outside the file's ", data_bytes,
           " bytes of data; truncated?");
    }
    if (end - begin != static_cast<std::uint64_t>(size)) {
      fail("tensor ", name, ": ", raw.dtype, entry.shape, " needs ", size, " bytes, data_offsets give ", end - begin);
    }
    entry.begin = begin;
    entry.end = end;
    file.entries_.emplace(name, entry);
  }

  std::vector<std::pair<const std::string, Entry>*> order;
  for (auto& item : file.entries_) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::size_t covered = 0;
  for (const auto* item : order) {
    if (item->second.begin < covered) fail("tensor ", item->first, " overlaps the tensor before it");
    if (item->second.begin > covered) {
      fail("bytes [", covered, ",", item->second.begin, ") before tensor ", item->first, " belong to no tensor");
    }
    covered = item->second.end;
  }
  if (covered != data_bytes) fail(data_bytes - covered, " bytes after the last tensor belong to none");

  file.metadata_ = std::move(reader.metadata);
  file.data_ = bytes + 8 + header_bytes;
  file.mapping_ = mapping;
  return file;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : entries_) out.push_back(name);
  return out;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw Error(cat(path_, ": no tensor ", name, did_you_mean(name, names())));
  return found->second;
}

const Shape& SafetensorsFile::shape(const std::string& name) const {
  return entry(name).shape;
}
const std::string& SafetensorsFile::stored_dtype(const std::string& name) const {
  return entry(name).dtype;
}

StoredTensor SafetensorsFile::stored(const std::string& name) const {
  const Entry& e = entry(name);
  return {name, e.dtype, e.shape, {data_ + e.begin, e.end - e.begin}, mapping_};
}

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const Entry& e = entry(name);
  const char* bytes = data_ + e.begin;
  if (e.dtype == "F16") {
    Tensor out = Tensor::empty(Stream{}, e.shape, DType::kF32);
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      std::uint16_t half = 0;
      std::memcpy(&half, bytes + 2 * i, 2);
      out.data<float>()[i] = half_to_float(half);
    }
    return out;
  }
  for (const DType dtype :
       {DType::kF64, DType::kF32, DType::kBF16, DType::kI64, DType::kI32, DType::kI16, DType::kU8}) {
    if (e.dtype != stored_dtype_of(dtype) && !(e.dtype == "BOOL" && dtype == DType::kU8)) continue;
    if (reinterpret_cast<std::uintptr_t>(bytes) % size_of(dtype) == 0) {
      return Tensor::view_of(bytes, e.shape, dtype, mapping_);
    }
    // The format does not promise alignment.
    Tensor out = Tensor::empty(Stream{}, e.shape, dtype);
    std::memcpy(out.raw(), bytes, out.bytes());
    return out;
  }
  throw Error(cat(path_, ": tensor ", name, " has dtype ", e.dtype,
                  ", which is not supported (F64, F32, BF16, F16, I64, I32, I16, U8 and BOOL are)"));
}

}  // namespace wt
