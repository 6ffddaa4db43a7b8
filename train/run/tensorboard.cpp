#include "train/run/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "train/run/crc32c.h"

namespace wt {
namespace {

// Field numbers of Event, SessionLog, Summary and Summary.Value.
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr int kStatus = 1, kStart = 1;
constexpr int kValue = 1;
constexpr int kTag = 1, kSimpleValue = 2, kTensor = 8, kMetadata = 9;
// Of TensorProto, SummaryMetadata and its PluginData.
constexpr int kDType = 1, kShape = 2, kStringValue = 8;
constexpr int kPluginData = 1, kDataClass = 4;
constexpr int kPluginName = 1;
// Values of DataType and DataClass.
constexpr int kString = 7, kTensorClass = 2;
// Wire types.
constexpr int kVarint = 0, k64Bit = 1, kBytes = 2, k32Bit = 5;

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_key(std::string& out, int field, int wire) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | wire));
}
template <class T>
void put_fixed(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
void put_int(std::string& out, int field, std::uint64_t value) {
  put_key(out, field, kVarint);
  put_varint(out, value);
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes.data(), bytes.size());
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::string& folder, std::int64_t first_step) {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  const std::string base =
      cat(folder, "/events.out.tfevents.", static_cast<std::int64_t>(now()), ".", host, ".", ::getpid());
  // Two writers of one second in one process get different names.
  for (int number = 0; descriptor_ < 0; ++number) {
    path_ = cat(base, ".", number);
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) throw Error(cat("cannot write ", path_, ": ", std::strerror(errno)));
  }
  sync_folder(folder);
  write_event(0, kFileVersion, "brain.Event:2");
  if (first_step > 0) {
    std::string log;
    put_int(log, kStatus, kStart);
    write_event(first_step, kSessionLog, log);
  }
}

TensorBoardWriter::~TensorBoardWriter() {
  ::close(descriptor_);
}

void TensorBoardWriter::scalar(std::string_view tag, double value, std::int64_t step) {
  std::string entry;
  put_bytes(entry, kTag, utf8_repaired(tag));  // protocol buffers refuse others
  put_key(entry, kSimpleValue, k32Bit);
  put_fixed(entry, static_cast<float>(value));
  write_value(step, entry);
}

// A string tensor without dimensions, which the text plugin renders as one document.
void TensorBoardWriter::text(std::string_view tag, std::string_view markdown, std::int64_t step) {
  std::string plugin, metadata, tensor, entry;
  put_bytes(plugin, kPluginName, "text");
  put_bytes(metadata, kPluginData, plugin);
  put_int(metadata, kDataClass, kTensorClass);
  put_int(tensor, kDType, kString);
  put_bytes(tensor, kShape, "");
  put_bytes(tensor, kStringValue, utf8_repaired(markdown));
  put_bytes(entry, kTag, utf8_repaired(tag));
  put_bytes(entry, kTensor, tensor);
  put_bytes(entry, kMetadata, metadata);
  write_value(step, entry);
}

void TensorBoardWriter::write_value(std::int64_t step, std::string_view entry) {
  std::string summary;
  put_bytes(summary, kValue, entry);
  write_event(step, kSummary, summary);
}

void TensorBoardWriter::write_event(std::int64_t step, int field, std::string_view payload) {
  std::string event;
  put_key(event, kWallTime, k64Bit);
  put_fixed(event, now());
  put_int(event, kStep, static_cast<std::uint64_t>(step));
  put_bytes(event, field, payload);

  std::string record;
  put_fixed(record, static_cast<std::uint64_t>(event.size()));
  put_fixed(record, masked_crc(record));
  record += event;
  put_fixed(record, masked_crc(event));
  const char* at = record.data();
  std::size_t left = record.size();
  while (left > 0) {
    const ssize_t written = ::write(descriptor_, at, left);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw Error(cat("cannot write ", path_, ": ", std::strerror(errno)));
    at += written;
    left -= static_cast<std::size_t>(written);
  }
}

}  // namespace wt
