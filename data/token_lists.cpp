#include "data/token_lists.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace wt {
namespace {

using Json = nlohmann::json;

class Reader : public Json::json_sax_t {
 public:
  Reader(const std::string& name, TokenLists& lists, bool vocab_alone)
      : name_(name), lists_(lists), vocab_alone_(vocab_alone) {}

  Json take_tree() { return std::move(root_); }

  bool null() override { return scalar(nullptr); }
  bool boolean(bool value) override { return scalar(value); }
  bool number_integer(std::int64_t value) override { return scalar(value); }
  bool number_float(double value, const std::string& /*text*/) override { return scalar(value); }
  bool binary(Json::binary_t& /*value*/) override { return false; }  // JSON has none
  bool number_unsigned(std::uint64_t value) override {
    if (list_ != List::kVocab || value > std::numeric_limits<std::int32_t>::max()) return scalar(value);
    lists_.vocab.emplace_back(std::move(token_), static_cast<std::int32_t>(value));
    return true;
  }
  bool string(std::string& text) override {
    if (list_ == List::kMerges) {
      lists_.merges.push_back(parse_merge(text, where()));
    } else if (list_ == List::kPair) {
      if (++pair_count_ == 1) pair_.left_size = text.size();
      pair_.both += text;
    } else {
      return scalar(std::move(text));
    }
    return true;
  }
  bool key(std::string& text) override {
    (list_ == List::kVocab ? token_ : key_) = std::move(text);
    return true;
  }

  bool start_object(std::size_t /*size*/) override {
    if (list_ != List::kNone) wrong("an object");
    if (vocab_alone_ ? open_.empty() : in_model() && key_ == "vocab") {
      begin_list(List::kVocab, lists_.has_vocab);
      return true;
    }
    open(Json::object());
    return true;
  }
  bool end_object() override {
    if (list_ == List::kVocab) {
      list_ = List::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }
  bool start_array(std::size_t /*size*/) override {
    if (list_ == List::kMerges) {
      list_ = List::kPair;
      pair_ = {};
      pair_count_ = 0;
    } else if (list_ != List::kNone) {
      wrong("a list");
    } else if (in_model() && key_ == "merges") {
      begin_list(List::kMerges, lists_.has_merges);
    } else {
      open(Json::array());
    }
    return true;
  }
  bool end_array() override {
    if (list_ == List::kPair) {
      if (pair_count_ != 2) wrong(cat("a list of ", pair_count_));
      lists_.merges.push_back(std::move(pair_));
      list_ = List::kMerges;
    } else if (list_ == List::kMerges) {
      list_ = List::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    throw_json_error(error.id, position, name_);
  }

 private:
  enum class List : std::uint8_t { kNone, kVocab, kMerges, kPair };
  struct Open {
    Json* value;
    bool is_model;
  };

  bool in_model() const { return open_.size() == 2 && open_.back().is_model; }
  std::string where() const { return cat(name_, ": merge ", lists_.merges.size()); }

  Json& put(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    Json& parent = *open_.back().value;
    if (parent.is_object()) return parent[key_] = std::move(value);
    parent.push_back(std::move(value));
    return parent.back();
  }
  void open(Json value) {
    const bool is_model = open_.size() == 1 && open_.back().value->is_object() && key_ == "model";
    Json& placed = put(std::move(value));
    open_.push_back({&placed, is_model});
  }
  bool scalar(Json value) {
    if (list_ != List::kNone) wrong(value.dump().substr(0, 60));
    put(std::move(value));
    return true;
  }
  void begin_list(List list, bool& has) {
    if (has) throw Error(cat(name_, ": two of ", list == List::kVocab ? "\"vocab\"" : "\"merges\""));
    has = true;
    list_ = list;
    if (!vocab_alone_) put(nullptr);
  }
  // A value that has no place in the list.
  [[noreturn]] void wrong(const std::string& value) const {
    if (list_ == List::kVocab) {
      throw Error(cat(name_, ": the id of token \"", token_, "\" is ", value, ", expected a number from 0"));
    }
    throw Error(cat(where(), " is ", value, ", expected \"a b\" or [\"a\", \"b\"]"));
  }

  const std::string& name_;
  TokenLists& lists_;
  bool vocab_alone_;
  Json root_;
  std::vector<Open> open_;  // the containers of the tree around what comes next
  std::string key_, token_;
  List list_ = List::kNone;
  TokenPair pair_;
  int pair_count_ = 0;
};

Json read(std::string_view text, const std::string& name, TokenLists& lists, bool vocab_alone) {
  check_json_depth(text, name);
  Reader reader(name, lists, vocab_alone);
  Json::sax_parse(text, &reader);
  return reader.take_tree();
}

}  // namespace

nlohmann::json parse_tokenizer_tree(std::string_view text, const std::string& name, TokenLists& lists) {
  return read(text, name, lists, false);
}

void parse_vocab(std::string_view text, const std::string& name, TokenLists& lists) {
  read(text, name, lists, true);
  if (!lists.has_vocab) throw Error(cat(name, ": a vocabulary that is no object, expected {token: id, ...}"));
}

TokenPair parse_merge(std::string_view text, const std::string& where) {
  const std::size_t blank = text.find(' ');
  if (blank == std::string_view::npos || blank == 0 || blank + 1 == text.size() ||
      text.find(' ', blank + 1) != std::string_view::npos) {
    throw Error(cat(where, ": merge \"", text, "\", expected two tokens with a blank between"));
  }
  return {cat(text.substr(0, blank), text.substr(blank + 1)), blank};
}

}  // namespace wt
