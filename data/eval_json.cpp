#include "data/eval_json.h"

#include <array>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "core/file_reader.h"
#include "core/text.h"
#include "core/utf8.h"

namespace wt {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 16;  // bytes of text handed on at a time
constexpr std::size_t kLongestKey = 100;              // of an unknown key that a message shows
constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
constexpr std::array<std::string_view, 3> kKeys{"input", "question", "target"};

// JSON's characters and texts (RFC 8259), from any place in a file on.
class JsonBytes {
 public:
  // `sample` is the one that messages name.
  JsonBytes(const std::string& path, std::int64_t begin, std::int64_t sample)
      : file_(path, begin), position_(begin), sample_(sample) {}

  std::int64_t next_sample() { return ++sample_; }
  std::int64_t position() const { return position_; }
  // The next byte, -1 at the end.
  int peek() {
    if (buffer_.empty()) buffer_ = file_.next();
    return buffer_.empty() ? -1 : static_cast<unsigned char>(buffer_.front());
  }
  int get() {
    const int byte = peek();
    if (byte >= 0) skip(1);
    return byte;
  }
  // The next byte that is no blank, still to be read.
  int next() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') skip(1);
    return peek();
  }
  void expect(char byte) {
    if (next() != byte) invalid();
    skip(1);
  }

  // Behind an opening quote, or where the last call ended: decodes onto `out` until it has `size` bytes, or somewhat
  // more. true: the closing quote was read.
  bool text(std::string& out, std::size_t size) {
    while (out.size() < size) {
      if (peek() < 0) invalid();
      std::size_t plain = 0;
      while (plain < buffer_.size() && is_plain(buffer_[plain])) ++plain;
      out += buffer_.substr(0, plain);
      skip(plain);
      if (buffer_.empty()) continue;
      const int byte = get();
      if (byte == '"') return true;
      if (byte == '\\') {
        escape(out);
      } else if (byte >= 0x80) {
        character(out, static_cast<char>(byte));
      } else {
        invalid();  // a control character
      }
    }
    return false;
  }

  // What a value is that starts here and should have been something else.
  std::string_view kind() {
    const int byte = next();
    if (byte == '[') return "a list";
    if (byte == '{') return "an object";
    if (byte == '"') return "a text";
    if (byte == '-' || (byte >= '0' && byte <= '9')) return "a number";
    std::string word;
    while (peek() >= 'a' && peek() <= 'z' && word.size() < 6) word += static_cast<char>(get());
    if (word == "null") return "null";
    if (word == "true" || word == "false") return "true or false";
    invalid();
  }

  [[noreturn]] void invalid() const {
    throw Error(cat(file_.path(), ": not valid JSON near byte ", position_, " (sample ", sample_, ")"));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(cat(file_.path(), ": sample ", sample_, ": ", what));
  }

 private:
  static bool is_plain(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
  }
  void skip(std::size_t count) {
    buffer_.remove_prefix(count);
    position_ += static_cast<std::int64_t>(count);
  }
  // The rest of a UTF-8 character, of which a piece of the file may end in the middle.
  void character(std::string& out, char first) {
    std::string bytes(1, first);
    while (utf8_length_at(bytes, 0) == 0) {
      if (bytes.size() == 4 || peek() < 0x80 || peek() > 0xBF) invalid();
      bytes += static_cast<char>(get());
    }
    out += bytes;
  }
  void escape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kStandFor = "\"\\/\b\f\n\r\t";
    const int byte = get();
    if (byte == 'u') {
      char32_t unit = hexadecimal();
      if (unit >= 0xD800 && unit < 0xDC00) {  // the first half of a surrogate pair
        if (get() != '\\' || get() != 'u') invalid();
        const char32_t low = hexadecimal();
        if (low < 0xDC00 || low > 0xDFFF) invalid();
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
      } else if (unit >= 0xDC00 && unit <= 0xDFFF) {
        invalid();
      }
      append_utf8(out, unit);
      return;
    }
    const std::size_t at = byte < 0 ? std::string_view::npos : kNames.find(static_cast<char>(byte));
    if (at == std::string_view::npos) invalid();
    out += kStandFor[at];
  }
  char32_t hexadecimal() {
    char32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const int byte = get();
      const int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                        : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                        : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                     : -1;
      if (digit < 0) invalid();
      value = value * 16 + static_cast<char32_t>(digit);
    }
    return value;
  }

  FileReader file_;
  std::string_view buffer_;
  std::int64_t position_, sample_;
};

// One object, its brace already read.
EvalJsonEntry read_entry(JsonBytes& in) {
  EvalJsonEntry entry;
  std::array<bool, 3> seen{};
  for (bool more = in.next() != '}'; more; more = in.next() == ',' && in.get() == ',') {
    in.expect('"');
    std::string key;
    const bool whole = in.text(key, kLongestKey);
    std::size_t at = 0;
    while (at < kKeys.size() && (!whole || key != kKeys[at])) ++at;
    if (at == kKeys.size()) {
      in.fail(cat("unknown key \"", key, whole ? "" : "…", "\", expected \"input\", \"question\" and \"target\""));
    }
    if (seen[at]) in.fail(cat("\"", key, "\" stands there twice"));
    seen[at] = true;
    in.expect(':');
    if (in.next() != '"') in.fail(cat("\"", key, "\" is ", in.kind(), ", expected a text"));
    in.get();
    if (at > 0) {
      in.text(at == 1 ? entry.question : entry.target, kAll);
      continue;
    }
    entry.input_begin = in.position();
    std::string piece;
    while (!in.text(piece, kPiece)) piece.clear();
    entry.input_bytes = in.position() - 1 - entry.input_begin;
  }
  in.expect('}');
  for (std::size_t i = 0; i < kKeys.size(); ++i) {
    if (!seen[i]) in.fail(cat("no key \"", kKeys[i], "\""));
  }
  if (trimmed(entry.target).empty()) in.fail("\"target\" is empty");
  return entry;
}

}  // namespace

std::vector<EvalJsonEntry> index_eval_json(const std::string& path, std::int64_t limit) {
  JsonBytes in(path, 0, 0);
  if (in.peek() == 0xEF && (in.get() != 0xEF || in.get() != 0xBB || in.get() != 0xBF))
    in.invalid();  // a byte-order mark
  if (in.next() != '[') {
    throw Error(cat(path, ": starts with ", in.kind(), ", expected a list of {\"input\", \"question\", \"target\"}"));
  }
  in.get();
  if (in.next() == ']') throw Error(cat(path, ": the list is empty, expected at least one sample"));
  std::vector<EvalJsonEntry> entries;
  while (true) {
    if (in.next() != '{') in.fail(cat("is ", in.kind(), ", expected an object"));
    in.get();
    entries.push_back(read_entry(in));
    if (in.next_sample() == limit) return entries;
    if (in.next() != ',') break;
    in.get();
  }
  in.expect(']');
  if (in.next() >= 0) in.invalid();
  return entries;
}

TextPieces eval_json_input(const std::string& path, const EvalJsonEntry& entry, std::int64_t index) {
  const auto bytes = std::make_shared<JsonBytes>(path, entry.input_begin, index);
  return [bytes, ended = std::make_shared<bool>(false)] {
    std::string piece;
    if (!*ended) *ended = bytes->text(piece, kPiece);
    return piece;
  };
}

}  // namespace wt
