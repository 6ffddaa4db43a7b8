#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "data/byte_pair_encoder.h"
#include "data/split_pattern.h"
#include "data/tokenizer_parts.h"
#include "data/utf8.h"

namespace wt {
namespace {

// GPT-2's table: printable bytes stand for themselves, the others for the characters from U+0100 on.
std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[b] = printable ? b : next++;
  }
  return table;
}

// The bytes a token's characters stand for. A token with a character outside the table (an added one, say) stands for
// itself.
std::string bytes_of(const std::string& token, const std::unordered_map<char32_t, char>& bytes) {
  std::string out;
  for (std::size_t i = 0; i < token.size();) {
    const std::size_t length = utf8_length_at(token, i);
    const auto found = length > 0 ? bytes.find(utf8_at(token, i)) : bytes.end();
    if (found == bytes.end()) return token;
    out += found->second;
    i += length;
  }
  return out;
}

// FNV-1a, with the length of every field mixed in so that fields cannot run together.
class Fingerprint {
 public:
  void add(std::string_view text) {
    add(static_cast<std::int64_t>(text.size()));
    for (const char c : text) byte(static_cast<unsigned char>(c));
  }
  void add(std::int64_t value) {
    for (int i = 0; i < 8; ++i) byte(static_cast<unsigned char>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
  std::string hex() const {
    std::string out;
    for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(hash_ >> shift) & 15];
    return out;
  }

 private:
  void byte(unsigned char value) { hash_ = (hash_ ^ value) * 0x100000001B3u; }
  std::uint64_t hash_ = 0xCBF29CE484222325u;
};

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerParts parts);

  void add_vocabulary();
  void add_added_tokens();
  std::vector<MergeRule> merge_rules() const;
  std::array<std::int32_t, 256> byte_ids() const;
  std::string compute_fingerprint() const;

  void encode_pieces(std::string_view text, std::size_t pattern, std::vector<std::int32_t>& out) const;
  void encode_run(std::string_view text, std::vector<std::int32_t>& out) const;
  void encode_matching(std::string_view text, std::size_t pass, std::vector<std::int32_t>& out) const;

  struct Entry {
    std::string token;  // as the file spells it
    std::string bytes;  // what it decodes to
    bool exists = false;
    bool special = false;
  };
  TokenizerParts parts;
  std::vector<Entry> entries;                                 // by id
  std::unordered_map<std::string, std::int32_t> ids;          // by the file's spelling
  std::unordered_map<std::string, std::int32_t> whole_words;  // by bytes; filled where merges may be ignored
  std::vector<SplitPattern> patterns;
  // Added tokens by first byte, longest first: those matched in the first pass, and those in the second.
  std::array<std::array<std::vector<const AddedToken*>, 256>, 2> added_by_byte;
  std::unique_ptr<const BytePairEncoder> encoder;
  std::string fingerprint;
};

Tokenizer::Impl::Impl(TokenizerParts given) : parts(std::move(given)) {
  add_vocabulary();
  add_added_tokens();
  for (const std::string& pattern : parts.split_patterns) patterns.emplace_back(pattern);
  encoder = std::make_unique<const BytePairEncoder>(byte_ids(), merge_rules());
  for (const auto* around : {&parts.ids_before, &parts.ids_after}) {
    for (const std::int32_t id : *around) {
      if (static_cast<std::size_t>(id) >= entries.size() || !entries[static_cast<std::size_t>(id)].exists) {
        throw Error(cat(parts.name, ": the post-processor adds id ", id, ", which is no token"));
      }
    }
  }
  fingerprint = compute_fingerprint();
}

void Tokenizer::Impl::add_vocabulary() {
  WT_CHECK(!parts.vocab.empty(), parts.name, ": the vocabulary is empty");
  // Ids far above the number of tokens are damage, and would cost their weight in memory.
  std::int32_t highest = 0;
  for (const auto& [token, id] : parts.vocab) highest = std::max(highest, id);
  for (const AddedToken& added : parts.added_tokens) highest = std::max(highest, added.id);
  const std::size_t count = parts.vocab.size() + parts.added_tokens.size();
  WT_CHECK(static_cast<std::size_t>(highest) < 4 * count + 65536, parts.name, ": highest id ", highest, " of ", count,
           " tokens: the file is damaged");
  entries.resize(static_cast<std::size_t>(highest) + 1);
  std::unordered_map<char32_t, char> bytes;
  const std::array<char32_t, 256> characters = byte_characters();
  for (std::size_t b = 0; b < 256; ++b) bytes[characters[b]] = static_cast<char>(static_cast<unsigned char>(b));
  for (const auto& [token, id] : parts.vocab) {
    Entry& entry = entries[static_cast<std::size_t>(id)];
    WT_CHECK(!entry.exists, parts.name, ": id ", id, " is \"", entry.token, "\" and \"", token, "\"");
    entry = {token, bytes_of(token, bytes), /*exists=*/true, /*special=*/false};
    ids.emplace(token, id);
    if (parts.ignore_merges) whole_words.emplace(entry.bytes, id);
  }
}

void Tokenizer::Impl::add_added_tokens() {
  for (const AddedToken& added : parts.added_tokens) {
    const auto known = ids.find(added.content);
    WT_CHECK(known == ids.end() || known->second == added.id, parts.name, ": added token \"", added.content,
             "\" has id ", added.id, ", in the vocabulary ", known == ids.end() ? -1 : known->second);
    Entry& entry = entries[static_cast<std::size_t>(added.id)];
    WT_CHECK(!entry.exists || entry.token == added.content, parts.name, ": id ", added.id, " is \"", entry.token,
             "\" and \"", added.content, "\"");
    entry = {added.content, added.content, /*exists=*/true, added.special};
    ids.emplace(added.content, added.id);
    auto& table = added_by_byte[added.normalized ? 1 : 0];
    table[static_cast<unsigned char>(added.content.front())].push_back(&added);
  }
  for (auto& table : added_by_byte) {
    for (auto& tokens : table) {
      std::stable_sort(tokens.begin(), tokens.end(),
                       [](const AddedToken* a, const AddedToken* b) { return a->content.size() > b->content.size(); });
    }
  }
}

std::vector<MergeRule> Tokenizer::Impl::merge_rules() const {
  std::vector<MergeRule> rules;
  rules.reserve(parts.merges.size());
  for (const auto& [left, right] : parts.merges) {
    MergeRule rule;
    for (const auto& [token, id] : {std::pair{left, &rule.left}, {right, &rule.right}, {left + right, &rule.merged}}) {
      const auto found = ids.find(token);
      WT_CHECK(found != ids.end(), parts.name, ": merge ", rules.size(), " (\"", left, "\" \"", right,
               "\"): no token \"", token, "\" in the vocabulary");
      *id = found->second;
    }
    rules.push_back(rule);
  }
  return rules;
}

std::array<std::int32_t, 256> Tokenizer::Impl::byte_ids() const {
  std::array<std::int32_t, 256> out{};
  const std::array<char32_t, 256> characters = byte_characters();
  for (std::size_t b = 0; b < 256; ++b) {
    std::string token;
    append_utf8(token, characters[b]);
    const auto found = ids.find(token);
    out[b] = found == ids.end() ? -1 : found->second;
  }
  return out;
}

std::string Tokenizer::Impl::compute_fingerprint() const {
  Fingerprint hash;
  hash.add("wavetape tokenizer 1");
  for (std::size_t id = 0; id < entries.size(); ++id) {
    if (entries[id].exists) {
      hash.add(static_cast<std::int64_t>(id));
      hash.add(entries[id].token);
    }
  }
  hash.add(static_cast<std::int64_t>(parts.merges.size()));
  for (const auto& [left, right] : parts.merges) {
    hash.add(left);
    hash.add(right);
  }
  for (const std::string& pattern : parts.split_patterns) hash.add(pattern);
  hash.add((parts.ignore_merges ? 2 : 0) + (parts.add_prefix_space ? 1 : 0));
  for (const AddedToken& added : parts.added_tokens) hash.add(added.id);
  return hash.hex();
}

// Cuts by pattern number `pattern` and the ones after it, then merges.
void Tokenizer::Impl::encode_pieces(std::string_view text, std::size_t pattern, std::vector<std::int32_t>& out) const {
  if (pattern < patterns.size()) {
    patterns[pattern].split(text, [&](std::string_view piece) { encode_pieces(piece, pattern + 1, out); });
    return;
  }
  if (parts.ignore_merges) {
    if (const auto whole = whole_words.find(std::string(text)); whole != whole_words.end()) {
      out.push_back(whole->second);
      return;
    }
  }
  encoder->encode(text, out);
}

// Text without added tokens. Stretches of bytes that are not UTF-8 are pieces of their own: the patterns speak of
// characters.
void Tokenizer::Impl::encode_run(std::string_view text, std::vector<std::int32_t>& out) const {
  std::string prefixed;
  if (parts.add_prefix_space && !text.empty() && text.front() != ' ') {
    prefixed = cat(" ", text);
    text = prefixed;
  }
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = utf8_valid_until(text, begin);
    if (end > begin) {
      encode_pieces(text.substr(begin, end - begin), 0, out);
    } else {
      while (end < text.size() && utf8_length_at(text, end) == 0) ++end;
      encoder->encode(text.substr(begin, end - begin), out);
    }
    begin = end;
  }
}

// Added tokens of this pass, leftmost first and the longest of those that start at one place; the text between goes
// through the next pass.
void Tokenizer::Impl::encode_matching(std::string_view text, std::size_t pass, std::vector<std::int32_t>& out) const {
  if (pass == added_by_byte.size()) return encode_run(text, out);
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size();) {
    const AddedToken* match = nullptr;
    for (const AddedToken* added : added_by_byte[pass][static_cast<unsigned char>(text[i])]) {
      if (text.substr(i).starts_with(added->content)) {
        match = added;
        break;
      }
    }
    if (match == nullptr) {
      ++i;
      continue;
    }
    if (i > done) encode_matching(text.substr(done, i - done), pass + 1, out);
    out.push_back(match->id);
    i += match->content.size();
    done = i;
  }
  if (done < text.size()) encode_matching(text.substr(done), pass + 1, out);
}

Tokenizer::Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Tokenizer Tokenizer::load(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    TokenizerParts parts = parse_tokenizer_json(read_file(path), path);
    parts.files = {path};
    return Tokenizer(std::make_shared<const Impl>(std::move(parts)));
  }
  const fs::path folder(path);
  if (fs::exists(folder / "tokenizer.json", ignored)) return load((folder / "tokenizer.json").string());
  if (fs::exists(folder / "vocab.json", ignored) && fs::exists(folder / "merges.txt", ignored)) {
    return from_vocab_and_merges((folder / "vocab.json").string(), (folder / "merges.txt").string());
  }
  throw Error(cat(path, ": no tokenizer.json, and not both of vocab.json and merges.txt, in this folder"));
}

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& name) {
  return Tokenizer(std::make_shared<const Impl>(parse_tokenizer_json(text, name)));
}

Tokenizer Tokenizer::from_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path) {
  return Tokenizer(std::make_shared<const Impl>(read_vocab_and_merges(vocab_path, merges_path)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<std::int32_t> out;
  const TokenizerParts& parts = impl_->parts;
  if (options.add_special_tokens) out = parts.ids_before;
  impl_->encode_matching(text, options.match_added_tokens ? 0 : impl_->added_by_byte.size(), out);
  if (options.add_special_tokens) out.insert(out.end(), parts.ids_after.begin(), parts.ids_after.end());
  return out;
}

std::vector<std::int32_t> Tokenizer::encode_plain(std::string_view text) const {
  return encode(text, {.match_added_tokens = false, .add_special_tokens = false});
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  std::string out;
  for (const std::int32_t id : ids) {
    token(id);
    const Impl::Entry& entry = impl_->entries[static_cast<std::size_t>(id)];
    if (!(skip_special_tokens && entry.special)) out += entry.bytes;
  }
  return out;
}

std::int32_t Tokenizer::vocab_size() const {
  return static_cast<std::int32_t>(impl_->entries.size());
}

std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto found = impl_->ids.find(std::string(token));
  if (found == impl_->ids.end()) return std::nullopt;
  return found->second;
}

std::int32_t Tokenizer::require_id(std::string_view token) const {
  const std::optional<std::int32_t> id = id_of(token);
  if (!id) throw Error(cat(impl_->parts.name, ": no token \"", token, "\" in the vocabulary"));
  return *id;
}

const std::string& Tokenizer::token(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error(cat(impl_->parts.name, ": id ", id, " is no token, expected 0 ... ", vocab_size() - 1));
  }
  const Impl::Entry& entry = impl_->entries[static_cast<std::size_t>(id)];
  if (!entry.exists) throw Error(cat(impl_->parts.name, ": id ", id, " is no token: the vocabulary has a hole there"));
  return entry.token;
}

bool Tokenizer::is_special(std::int32_t id) const {
  token(id);
  return impl_->entries[static_cast<std::size_t>(id)].special;
}

std::string Tokenizer::fingerprint() const {
  return impl_->fingerprint;
}

const std::vector<std::string>& Tokenizer::files() const {
  return impl_->parts.files;
}

}  // namespace wt
