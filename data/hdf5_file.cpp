#include "data/hdf5_file.h"

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "core/error.h"
#include "core/lfs_pointer.h"

namespace wt {
namespace {

constexpr hsize_t kChunkElements = 1 << 14, kChunkBytes = 1 << 22;  // whichever is less
constexpr std::size_t kLongestText = 1 << 16;                       // the format's own limit for attributes
constexpr std::size_t kLargestChunk = 1 << 26;                      // bytes; the library reads a chunk as a whole

std::recursive_mutex& library_mutex() {
  // A file whose closing has failed (on a full disk) stays half open inside the library, which would trip over it when
  // it cleans up at the program's end. There is nothing to clean up: our files are closed by then.
  [[maybe_unused]] static const herr_t no_clean_up = H5dont_atexit();
  static std::recursive_mutex mutex;
  return mutex;
}

// Held during every call into the library; makes sure that it prints nothing.
class LibraryLock {
 public:
  LibraryLock() : lock_(library_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

// Closes an HDF5 id at the end of its scope.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  hid_t id() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

template <class T>
hid_t memory_type();
template <>
hid_t memory_type<std::uint16_t>() {
  return H5T_NATIVE_UINT16;
}
template <>
hid_t memory_type<std::int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t memory_type<std::int64_t>() {
  return H5T_NATIVE_INT64;
}

// Texts of at most `length` bytes, filled up with NUL. (Texts of variable length would lie outside what has checksums.)
hid_t new_text_type(std::size_t length) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, length > 0 ? length : 1);
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

bool is_text(hid_t type) {
  return H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
}

void check(bool ok, const std::string& path, const std::string& what) {
  if (!ok) throw Error(cat(path, ": ", what));
}

// A file as we write it begins with the superblock of version 2 or 3, whose parts all have checksums. In files of older
// versions the library would take damaged addresses and lengths for good ones.
void check_superblock(const std::string& path, const std::string& format) {
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  constexpr std::size_t kLength = kSignature.size() + 1, kPointer = 256;  // a git-lfs pointer is no longer
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error(cat("cannot open ", path, ": ", std::strerror(errno)));
  char start[kPointer] = {};
  const ssize_t count = ::read(descriptor, start, kPointer);
  const int reason = errno;
  ::close(descriptor);
  if (count < 0) throw Error(cat("cannot read ", path, ": ", std::strerror(reason)));
  refuse_lfs_pointer(path, {start, static_cast<std::size_t>(count)});
  if (count < static_cast<ssize_t>(kLength) || !std::string_view(start, kLength).starts_with(kSignature)) {
    throw Error(cat(path, ": no HDF5 file, or a damaged one; expected ", format));
  }
  const int version = static_cast<unsigned char>(start[kLength - 1]);
  check(version == 2 || version == 3, path,
        cat("an HDF5 file of another kind (superblock ", version, "), expected format `", format, "`"));
}

// Data must lie in the file itself, as we write it: everything else could name other files, or make gigabytes out of a
// few bytes.
void check_storage(hid_t dataset, const std::string& path, const std::string& name) {
  const Handle options(H5Dget_create_plist(dataset), H5Pclose), type(H5Dget_type(dataset), H5Tclose);
  check(options.ok() && type.ok(), path, cat("dataset ", name, " cannot be opened"));
  check(H5Pget_external_count(options.id()) == 0, path,
        cat("dataset ", name, " keeps its data in another file (external storage), expected it inside this one"));
  const H5D_layout_t layout = H5Pget_layout(options.id());
  check(layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED || layout == H5D_COMPACT, path,
        cat("dataset ", name,
            layout == H5D_VIRTUAL ? " is put together from other files (virtual layout)" : " has an unknown layout",
            ", expected its data inside this one"));
  for (int i = 0; i < H5Pget_nfilters(options.id()); ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(options.id(), static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, nullptr);
    check(filter == H5Z_FILTER_FLETCHER32, path,
          cat("dataset ", name, " is stored through filter ", filter, ", expected nothing but checksums (filter ",
              H5Z_FILTER_FLETCHER32, "); `h5repack -f NONE` undoes compression"));
  }
  if (layout != H5D_CHUNKED) return;
  hsize_t chunk = 0;
  check(H5Pget_chunk(options.id(), 1, &chunk) == 1, path, cat("dataset ", name, " has not one dimension"));
  check(chunk <= kLargestChunk / std::max<std::size_t>(1, H5Tget_size(type.id())), path,
        cat("dataset ", name, " has chunks of ", chunk, " elements, expected at most ", kLargestChunk, " bytes"));
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::string& path) : file_(path), path_(path) {
  check(!file_.temporary().empty(), path, "an HDF5 file has to be a regular file");
  const LibraryLock lock;
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose), options(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_obj_track_times(creation.id(), false);  // the same contents are the same bytes
  H5Pset_libver_bounds(options.id(), H5F_LIBVER_V110, H5F_LIBVER_LATEST);
  H5Pset_file_locking(options.id(), 0, 1);  // the file is ours, and locked (core/temporary.h)
  id_ = H5Fcreate(file_.temporary().c_str(), H5F_ACC_TRUNC, creation.id(), options.id());
  check(id_ >= 0, path, "HDF5 cannot make the file");
}

Hdf5Writer::~Hdf5Writer() {
  const LibraryLock lock;
  for (const auto& [name, id] : datasets_) H5Dclose(id);
  if (id_ >= 0) H5Fclose(id_);
}

void Hdf5Writer::attribute(const std::string& name, const std::string& text) {
  const LibraryLock lock;
  const Handle type(new_text_type(text.size()), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(id_, name.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check(attribute.ok() && H5Awrite(attribute.id(), type.id(), text.c_str()) >= 0, path_,
        cat("cannot write attribute ", name));
}

void Hdf5Writer::attribute(const std::string& name, std::int64_t value) {
  const LibraryLock lock;
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(id_, name.c_str(), H5T_STD_I64LE, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check(attribute.ok() && H5Awrite(attribute.id(), H5T_NATIVE_INT64, &value) >= 0, path_,
        cat("cannot write attribute ", name));
}

// Adds `count` elements of memory type `type` to the end of a dataset, making it where there is none.
void Hdf5Writer::append(const std::string& name, std::int64_t type, std::size_t count, const void* values) {
  const std::string failed = cat("cannot write dataset ", name, " (is the disk full?)");
  if (datasets_.count(name) == 0) {
    const hsize_t none = 0, unlimited = H5S_UNLIMITED;
    const hsize_t chunk = std::min<hsize_t>(kChunkElements, kChunkBytes / H5Tget_size(type));
    const Handle space(H5Screate_simple(1, &none, &unlimited), H5Sclose);
    const Handle options(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(options.id(), 1, &chunk);
    H5Pset_fletcher32(options.id());
    H5Pset_obj_track_times(options.id(), false);
    const hid_t made = H5Dcreate2(id_, name.c_str(), type, space.id(), H5P_DEFAULT, options.id(), H5P_DEFAULT);
    check(made >= 0, path_, failed);
    datasets_[name] = made;
  }
  if (count == 0) return;
  const hid_t dataset = datasets_[name];
  hsize_t size = 0;
  {
    const Handle space(H5Dget_space(dataset), H5Sclose);
    check(space.ok() && H5Sget_simple_extent_dims(space.id(), &size, nullptr) == 1, path_, failed);
  }
  const hsize_t added = count, grown = size + added;
  check(H5Dset_extent(dataset, &grown) >= 0, path_, failed);
  const Handle space(H5Dget_space(dataset), H5Sclose), memory(H5Screate_simple(1, &added, nullptr), H5Sclose);
  H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, &size, nullptr, &added, nullptr);
  check(H5Dwrite(dataset, type, memory.id(), space.id(), H5P_DEFAULT, values) >= 0, path_, failed);
}

template <class T>
void Hdf5Writer::append(const std::string& name, std::span<const T> values) {
  const LibraryLock lock;
  append(name, memory_type<T>(), values.size(), values.data());
}
template void Hdf5Writer::append(const std::string&, std::span<const std::uint16_t>);
template void Hdf5Writer::append(const std::string&, std::span<const std::int32_t>);
template void Hdf5Writer::append(const std::string&, std::span<const std::int64_t>);

void Hdf5Writer::texts(const std::string& name, const std::vector<std::string>& values) {
  const LibraryLock lock;
  std::size_t longest = 1;
  for (const std::string& value : values) longest = std::max(longest, value.size());
  check(longest <= kLongestText, path_,
        cat("a text of ", longest, " bytes in ", name, ", expected at most ", kLongestText));
  std::string bytes;
  for (const std::string& value : values) bytes += value + std::string(longest - value.size(), '\0');
  const Handle type(new_text_type(longest), H5Tclose);
  append(name, type.id(), values.size(), bytes.data());
}

void Hdf5Writer::close() {
  const LibraryLock lock;
  bool ok = true;
  for (const auto& [name, id] : datasets_) ok &= H5Dclose(id) >= 0;
  datasets_.clear();
  ok &= H5Fclose(id_) >= 0;  // writes what the library still holds
  id_ = -1;
  check(ok, path_, "cannot finish the HDF5 file (is the disk full?)");
}

void Hdf5Writer::commit() {
  close();
  file_.commit();
}

Hdf5Reader::Hdf5Reader(const std::string& path, const std::string& format, std::int64_t version) : path_(path) {
  const LibraryLock lock;
  try {
    open(format, version);
  } catch (...) {
    if (id_ >= 0) H5Fclose(id_);
    throw;
  }
}

void Hdf5Reader::open(const std::string& format, std::int64_t version) {
  check_superblock(path_, format);
  id_ = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  check(id_ >= 0, path_, "HDF5 cannot open the file: it is damaged or cut short");
  if (H5Aexists(id_, "format") <= 0 || text_attribute("format") != format) {
    throw Error(cat(path_, ": an HDF5 file of another kind, expected format `", format, "`"));
  }
  if (const std::int64_t found = integer_attribute("version"); found != version) {
    throw Error(cat(path_, ": version ", found, " of ", format, ", this program reads version ", version));
  }
}

Hdf5Reader::~Hdf5Reader() {
  const LibraryLock lock;
  for (const auto& [name, id] : datasets_) H5Dclose(id);
  H5Fclose(id_);
}

std::string Hdf5Reader::text_attribute(const std::string& name) const {
  const LibraryLock lock;
  const std::string expected = cat("attribute ", name, " is missing or no text");
  check(H5Aexists(id_, name.c_str()) > 0, path_, expected);
  const Handle attribute(H5Aopen(id_, name.c_str(), H5P_DEFAULT), H5Aclose);
  check(attribute.ok(), path_, expected);
  const Handle type(H5Aget_type(attribute.id()), H5Tclose), space(H5Aget_space(attribute.id()), H5Sclose);
  check(type.ok() && space.ok() && is_text(type.id()) && H5Tget_size(type.id()) <= kLongestText &&
            H5Sget_simple_extent_npoints(space.id()) == 1,
        path_, expected);
  std::string text(H5Tget_size(type.id()), '\0');
  const Handle wanted(new_text_type(text.size()), H5Tclose);
  check(H5Aread(attribute.id(), wanted.id(), text.data()) >= 0, path_, expected);
  return text.substr(0, text.find('\0'));
}

std::int64_t Hdf5Reader::integer_attribute(const std::string& name) const {
  const LibraryLock lock;
  const std::string expected = cat("attribute ", name, " is missing or no integer");
  check(H5Aexists(id_, name.c_str()) > 0, path_, expected);
  const Handle attribute(H5Aopen(id_, name.c_str(), H5P_DEFAULT), H5Aclose);
  check(attribute.ok(), path_, expected);
  const Handle type(H5Aget_type(attribute.id()), H5Tclose), space(H5Aget_space(attribute.id()), H5Sclose);
  std::int64_t value = 0;
  check(type.ok() && space.ok() && H5Tget_class(type.id()) == H5T_INTEGER &&
            H5Sget_simple_extent_npoints(space.id()) == 1 && H5Aread(attribute.id(), H5T_NATIVE_INT64, &value) >= 0,
        path_, expected);
  return value;
}

std::int64_t Hdf5Reader::dataset(const std::string& name) const {
  const auto known = datasets_.find(name);
  if (known != datasets_.end()) return known->second;
  check(H5Lexists(id_, name.c_str(), H5P_DEFAULT) > 0, path_, cat("no dataset ", name));
  H5L_info_t link{};
  check(H5Lget_info(id_, name.c_str(), &link, H5P_DEFAULT) >= 0, path_, cat("dataset ", name, " cannot be found"));
  check(link.type == H5L_TYPE_HARD, path_,
        cat("dataset ", name, " is a link to another place or file, expected the data itself"));
  const hid_t opened = H5Dopen2(id_, name.c_str(), H5P_DEFAULT);
  check(opened >= 0, path_, cat("dataset ", name, " cannot be opened"));
  try {
    check_storage(opened, path_, name);
  } catch (...) {
    H5Dclose(opened);
    throw;
  }
  datasets_[name] = opened;
  return opened;
}

std::int64_t Hdf5Reader::size(const std::string& name) const {
  const LibraryLock lock;
  const hid_t id = dataset(name);
  const Handle type(H5Dget_type(id), H5Tclose), space(H5Dget_space(id), H5Sclose);
  check(type.ok() && space.ok() && H5Sget_simple_extent_ndims(space.id()) == 1, path_,
        cat("dataset ", name, " has not one dimension"));
  check(H5Tget_class(type.id()) == H5T_INTEGER || is_text(type.id()), path_,
        cat("dataset ", name, " holds neither integers nor texts"));
  const std::size_t bytes = H5Tget_size(type.id());
  check(bytes > 0 && bytes <= kLongestText, path_,
        cat("dataset ", name, " has elements of ", bytes, " bytes, expected at most ", kLongestText));
  const std::int64_t count = H5Sget_simple_extent_npoints(space.id());
  // The file's own size is what no claim inside it can raise.
  hsize_t file_size = 0;
  check(H5Fget_filesize(id_, &file_size) >= 0, path_, "the file has no size");
  const auto stored = static_cast<std::int64_t>(std::min<hsize_t>(H5Dget_storage_size(id), file_size));
  check(count >= 0 && count <= stored / static_cast<std::int64_t>(bytes), path_,
        cat("dataset ", name, " claims ", count, " elements, with ", stored, " bytes stored"));
  return count;
}

template <class T>
std::vector<T> Hdf5Reader::read(const std::string& name, std::int64_t begin, std::int64_t count) const {
  const LibraryLock lock;
  const std::int64_t total = size(name);
  check(begin >= 0 && count >= 0 && begin <= total && count <= total - begin, path_,
        cat("dataset ", name, " has ", total, " elements, asked for ", count, " from ", begin));
  const hid_t id = dataset(name);
  const Handle type(H5Dget_type(id), H5Tclose);
  check(H5Tequal(type.id(), memory_type<T>()) > 0, path_,
        cat("dataset ", name, " has another integer type than expected"));
  std::vector<T> values(static_cast<std::size_t>(count));
  if (count == 0) return values;
  const auto from = static_cast<hsize_t>(begin), length = static_cast<hsize_t>(count);
  const Handle space(H5Dget_space(id), H5Sclose), memory(H5Screate_simple(1, &length, nullptr), H5Sclose);
  H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, &from, nullptr, &length, nullptr);
  check(H5Dread(id, memory_type<T>(), memory.id(), space.id(), H5P_DEFAULT, values.data()) >= 0, path_,
        cat("dataset ", name, " cannot be read: the file is damaged"));
  return values;
}
template std::vector<std::uint16_t> Hdf5Reader::read(const std::string&, std::int64_t, std::int64_t) const;
template std::vector<std::int32_t> Hdf5Reader::read(const std::string&, std::int64_t, std::int64_t) const;
template std::vector<std::int64_t> Hdf5Reader::read(const std::string&, std::int64_t, std::int64_t) const;

std::vector<std::string> Hdf5Reader::texts(const std::string& name) const {
  const LibraryLock lock;
  const std::int64_t count = size(name);
  const hid_t id = dataset(name);
  const Handle type(H5Dget_type(id), H5Tclose);
  check(is_text(type.id()), path_, cat("dataset ", name, " holds no texts"));
  const std::size_t length = H5Tget_size(type.id());
  const Handle wanted(new_text_type(length), H5Tclose);
  std::string bytes(static_cast<std::size_t>(count) * length, '\0');
  std::vector<std::string> values;
  if (count == 0) return values;
  check(H5Dread(id, wanted.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()) >= 0, path_,
        cat("dataset ", name, " cannot be read: the file is damaged"));
  for (std::size_t begin = 0; begin < bytes.size(); begin += length) {
    values.push_back(bytes.substr(begin, std::min(bytes.find('\0', begin), begin + length) - begin));
  }
  return values;
}

}  // namespace wt
