// The little of HDF5 that we use: text and integer attributes of the file, and datasets with one dimension of integers
// or of texts at its top level. The library is not thread-safe (as Debian builds it), so all calls take one lock; its
// own messages are off, and every failure is an Error with path and name. Nothing is read from other files, and never
// more than is stored: links other than hard ones, data kept outside (external, virtual) and compression are refused.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace wt {

// Element types of datasets: std::uint16_t, std::int32_t, std::int64_t.
class Hdf5Writer {
 public:
  // A temporary file until commit().
  explicit Hdf5Writer(const std::string& path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  void attribute(const std::string& name, const std::string& text);
  void attribute(const std::string& name, std::int64_t value);
  // Adds to the end of a dataset, making it at the first call.
  template <class T>
  void append(const std::string& name, std::span<const T> values);
  // A whole dataset of texts (of fixed length, that of the longest, filled up with NUL; at most 64 KiB).
  void texts(const std::string& name, const std::vector<std::string>& values);
  void commit();

 private:
  void append(const std::string& name, std::int64_t type, std::size_t count, const void* values);
  void close();
  AtomicFile file_;
  std::string path_;
  std::int64_t id_ = -1;
  std::map<std::string, std::int64_t> datasets_;
};

class Hdf5Reader {
 public:
  // Throws Error where the file is no HDF5 file, one of the older versions without checksums, or its attributes are not
  // format `format` and version `version`.
  Hdf5Reader(const std::string& path, const std::string& format, std::int64_t version);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;

  const std::string& path() const { return path_; }
  std::string text_attribute(const std::string& name) const;
  std::int64_t integer_attribute(const std::string& name) const;
  // Elements of a dataset. Throws where it has not one dimension, holds anything but integers or texts (of up to 64
  // KiB), or claims more elements than are stored.
  std::int64_t size(const std::string& name) const;
  // Elements [begin, begin + count) of a dataset whose type is T.
  template <class T>
  std::vector<T> read(const std::string& name, std::int64_t begin, std::int64_t count) const;
  template <class T>
  std::vector<T> read(const std::string& name) const {
    return read<T>(name, 0, size(name));
  }
  std::vector<std::string> texts(const std::string& name) const;

 private:
  void open(const std::string& format, std::int64_t version);
  std::int64_t dataset(const std::string& name) const;
  std::string path_;
  std::int64_t id_ = -1;
  mutable std::map<std::string, std::int64_t> datasets_;
};

}  // namespace wt
