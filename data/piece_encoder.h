// Token ids of a text that need not fit in memory: it is cut where a cut changes no token.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace wt {

class PieceEncoder {
 public:
  using Sink = std::function<void(const std::vector<std::int32_t>&)>;
  // `sink` hears of the ids in order; together they are tokenizer.encode(text, options). `piece`: bytes encoded at a
  // time. A cut is made where encoding a kilobyte on either side of it apart and together gives the same ids. Only
  // where four pieces in a row have no such place (a "word" that long) is the text cut between two characters anyway,
  // at the cost of a token there.
  PieceEncoder(Tokenizer tokenizer, const EncodeOptions& options, Sink sink, std::size_t piece = std::size_t{1} << 20);

  void push(std::string_view text);
  // The rest. Nothing may be pushed after it.
  void finish();

 private:
  void encode(std::string_view text, bool last);
  std::size_t find_cut(std::string_view text) const;
  bool changes_nothing(std::string_view text, std::size_t cut) const;

  Tokenizer tokenizer_;
  EncodeOptions options_, inside_;  // of the first piece, and of those behind it
  Sink sink_;
  std::size_t piece_, wanted_;  // bytes: a piece, and what must wait before a cut is looked for
  std::string waiting_;
  bool started_ = false;
};

}  // namespace wt
