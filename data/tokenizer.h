// Byte-pair encoding (BPE): text <-> token ids. Two families of vocabularies:
// - byte-level (GPT-2, Llama 3, SmolLM): a text is cut into pieces by regular expressions, each piece's UTF-8 bytes are
//   written as 256 printable characters;
// - of characters (SentencePiece's way: Llama 2, TinyLlama): blanks are written as the mark U+2581, a text begins with
//   one, and a character that the vocabulary lacks is written as its bytes' tokens <0x00> to <0xFF>.
// Then neighbouring tokens are merged, lowest rank first, until no merge rule applies. Sources: Sennrich et al.,
// "Neural machine translation of rare words with subword units" (2016); the GPT-2 encoder; Hugging Face's
// tokenizer.json.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

struct EncodeOptions {
  // Text that spells an added token ("<|endoftext|>") becomes that token, as in Hugging Face's library. Switch it off
  // for text from outside: then such words are encoded like any others.
  bool match_added_tokens = true;
  // Adds what the file's post-processor asks for (Llama 3: <|begin_of_text|> in front). Nothing for GPT-2.
  bool add_special_tokens = false;
  // SentencePiece's vocabularies only: a blank at the start of the text is taken for the mark that begins every text,
  // and none is put before it. So pieces with a blank in front can be put together to a text.
  bool leading_space_is_prefix = false;
  // A character that is taken out of the text once added tokens are found: where it stands inside of one, that is text.
  // 0: none.
  char32_t token_breaker = 0;
};

// Immutable once loaded and safe to use from several threads; copies share the vocabulary.
class Tokenizer {
 public:
  // `path` is a tokenizer.json of any name, or a folder that holds one, or a folder with GPT-2's vocab.json and
  // merges.txt, whose added_tokens.json, special_tokens_map.json and tokenizer_config.json count, too.
  // Read: model BPE (merges as "a b" or ["a", "b"], ignore_merges, unk_token, fuse_unk, byte_fallback), added tokens,
  // normalizers Prepend and Replace, pre-tokenizers ByteLevel, Metaspace, and sequences of Split(Regex, Isolated) and
  // Digits with one of them or none, post-processors ByteLevel and TemplateProcessing, decoders ByteLevel, Metaspace,
  // and sequences of Replace, ByteFallback, Fuse and Strip. Anything else that would change the ids (other normalizers
  // and models, dropout, regular expressions that data/oniguruma.h refuses, ...) is an Error that names it. The
  // sections "padding" and "truncation" are not looked at: they shape batches of that library, not texts.
  static Tokenizer load(const std::string& path);
  // The same from the text of a tokenizer.json; `name` stands for the path in errors.
  static Tokenizer from_json(std::string_view text, const std::string& name);
  // GPT-2's two files, with what stands beside the first.
  static Tokenizer from_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path);

  // Byte-level: bytes that are not valid UTF-8 are kept, decode(encode(text)) == text for every text. Throws Error
  // where the vocabulary lacks a byte of the text.
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // encode() without added tokens, and leading_space_is_prefix: what books, facts and answers go through.
  std::vector<std::int32_t> encode_plain(std::string_view text) const;

  // The text the ids stand for; a cut multi-byte character stays cut (where Hugging Face's library writes U+FFFD). From
  // a SentencePiece vocabulary the blank that begins every text is gone. An id without a token is no text, as in that
  // library: models have more rows than their tokenizers tokens. Throws Error for a negative one.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = false) const;
  // The bytes that one token stands for inside a text; none for an id without a token.
  const std::string& piece(std::int32_t id) const;

  // Highest id + 1, so what an embedding table needs at least.
  std::int32_t vocab_size() const;
  // The id of a token as the file spells it ("Ġoffice", "<|endoftext|>").
  std::optional<std::int32_t> id_of(std::string_view token) const;
  // The same; throws Error, naming the token, where there is none.
  std::int32_t require_id(std::string_view token) const;
  // The token as the file spells it; throws Error for an id that is no token.
  const std::string& token(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  // The added tokens, as the file spells them.
  struct Added {
    std::string text;
    bool special = false;
  };
  std::vector<Added> added_tokens() const;

  // What add_special_tokens puts before and behind a text.
  const std::vector<std::int32_t>& ids_before() const;
  const std::vector<std::int32_t>& ids_after() const;

  // 16 hex digits over everything that decides the ids. Files of tokens carry it, so that they are never read with
  // another tokenizer.
  std::string fingerprint() const;
  // The files this came from (empty after from_json): what belongs beside an exported model.
  const std::vector<std::string>& files() const;

 private:
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace wt
