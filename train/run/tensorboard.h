// Scalars and texts for TensorBoard: an event file in TFRecord framing (length, masked CRC-32C of the length, bytes,
// masked CRC-32C of the bytes), each record an Event message in protocol-buffer encoding. Source:
// tensorflow/core/util/event.proto, tensorflow/core/framework/{summary,tensor}.proto,
// tensorflow/core/lib/io/record_writer.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wt {

class TensorBoardWriter {
 public:
  // Makes a new file events.out.tfevents.<time>.<host>.<process> in the folder. For a resumed run, `first_step` tells
  // TensorBoard to forget what earlier files say about that step and later ones.
  explicit TensorBoardWriter(const std::string& folder, std::int64_t first_step = 0);
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  // Throws Error (a full disk). TensorBoard stores float32.
  void scalar(std::string_view tag, double value, std::int64_t step);
  // Markdown, which TensorBoard's text plugin shows. Bytes that are no UTF-8, in tags too, are replaced by U+FFFD.
  void text(std::string_view tag, std::string_view markdown, std::int64_t step);
  const std::string& path() const { return path_; }

 private:
  void write_value(std::int64_t step, std::string_view entry);
  void write_event(std::int64_t step, int field, std::string_view payload);
  std::string path_;
  int descriptor_ = -1;
};

}  // namespace wt
