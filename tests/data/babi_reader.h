// Reads bAbI's sentences by their words alone, and follows persons and objects through them: an independent check of
// what the simulator's stories say.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/babi/stories.h"

namespace wt::test {

inline std::vector<std::string> words_of(const std::string& text) {
  std::stringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) {
    while (!word.empty() && (word.back() == '.' || word.back() == '?')) word.pop_back();
    words.push_back(word);
  }
  return words;
}

struct Fact {
  char kind = '?';  // Move, Get, Drop, giVe
  std::string person, thing, recipient, verb;
  bool there = false;
};

// "Mary <verb> the <thing>[ there| to <recipient>]."
inline Fact read_fact(const std::string& text) {
  static const std::map<std::string, char> kinds{
      {"went to", 'M'},   {"went back to", 'M'}, {"journeyed to", 'M'}, {"travelled to", 'M'},
      {"moved to", 'M'},  {"got", 'G'},          {"took", 'G'},         {"grabbed", 'G'},
      {"picked up", 'G'}, {"dropped", 'D'},      {"left", 'D'},         {"discarded", 'D'},
      {"put down", 'D'},  {"gave", 'V'},         {"passed", 'V'},       {"handed", 'V'}};
  const std::vector<std::string> words = words_of(text);
  const auto the = std::find(words.begin(), words.end(), "the");
  WT_CHECK(text.back() == '.' && the - words.begin() >= 2 && words.end() - the >= 2, "cannot read `", text, "`");
  Fact fact;
  fact.person = words[0];
  for (auto word = words.begin() + 1; word != the; ++word) fact.verb += (fact.verb.empty() ? "" : " ") + *word;
  WT_CHECK(kinds.count(fact.verb) > 0, "no such verb: `", text, "`");
  fact.kind = kinds.at(fact.verb);
  fact.thing = *(the + 1);
  const std::vector<std::string> rest(the + 2, words.end());
  fact.there = rest == std::vector<std::string>{"there"};
  if (rest.size() == 2 && rest[0] == "to") fact.recipient = rest[1];
  WT_CHECK(rest.empty() || fact.there || !fact.recipient.empty(), "cannot read the end of `", text, "`");
  WT_CHECK((fact.kind == 'V') == !fact.recipient.empty() && !(fact.kind == 'M' && fact.there), "odd: `", text, "`");
  return fact;
}

// What a reader knows after some facts. Throws for facts that cannot be: a drop by somebody else than the holder, say.
class Reader {
 public:
  void read(const Fact& fact) {
    facts_.push_back(fact);
    std::string& place = place_[fact.person];  // "" where unknown
    if (fact.kind == 'M') {
      WT_CHECK(place != fact.thing, fact.person, " goes to the ", fact.thing, " twice in a row");
      place = fact.thing;
      for (auto& [object, holder] : holder_) {
        if (holder == fact.person) path_[object].push_back(place);
      }
      return;
    }
    std::string& holder = holder_[fact.thing];
    if (fact.kind == 'G') {
      WT_CHECK(holder.empty(), fact.person, " gets the ", fact.thing, " that ", holder, " holds");
      std::vector<std::string>& path = path_[fact.thing];
      WT_CHECK(path.empty() || place.empty() || path.back() == place, "the ", fact.thing, " is not in the ", place);
      if (!place.empty() && path.empty()) path.push_back(place);
      holder = fact.person;
      return;
    }
    WT_CHECK(holder == fact.person, fact.person, " does not hold the ", fact.thing);
    if (fact.kind == 'D') {
      holder.clear();
      return;
    }
    std::string& other = place_[fact.recipient];
    WT_CHECK(place.empty() || other.empty() || place == other, "a give across rooms");
    if (place.empty()) place = other;
    if (other.empty()) other = place;
    holder = fact.recipient;
  }

  const std::vector<Fact>& facts() const { return facts_; }
  std::string place_of(const std::string& person) const { return place_.count(person) ? place_.at(person) : ""; }
  // The places an object is known to have been carried through, in order.
  const std::vector<std::string>& path_of(const std::string& object) { return path_[object]; }

 private:
  std::vector<Fact> facts_;
  std::map<std::string, std::string> place_, holder_;
  std::map<std::string, std::vector<std::string>> path_;
};

// The answer to a question of qa1, qa2, qa3 or qa5 after these facts.
inline std::string answer_of(const std::string& task, const std::string& question, Reader& reader) {
  const std::vector<std::string> words = words_of(question);
  if (task == "qa1") return reader.place_of(words.at(2));
  if (task == "qa2") {
    const std::vector<std::string>& path = reader.path_of(words.at(3));
    return path.empty() ? "" : path.back();
  }
  if (task == "qa3") {
    const std::vector<std::string>& path = reader.path_of(words.at(3));
    const auto last = std::find(path.rbegin(), path.rend(), words.at(6));
    return last == path.rend() || last + 1 == path.rend() ? "" : *(last + 1);
  }
  // qa5: the latest give that fits the names the question gives.
  const std::set<std::string> objects{"apple", "football", "milk"};
  for (auto fact = reader.facts().rbegin(); fact != reader.facts().rend(); ++fact) {
    if (fact->kind != 'V') continue;
    const auto is = [&](std::size_t i, const std::string& word) { return i < words.size() && words[i] == word; };
    if (words[0] == "What") {  // What did P give to R
      if (is(2, fact->person) && is(5, fact->recipient)) return fact->thing;
    } else if (words[1] == "gave") {  // Who gave the O [to R]
      if (is(3, fact->thing) && (words.size() == 4 || is(5, fact->recipient))) return fact->person;
    } else if (words[1] == "received") {  // Who received the O
      if (is(3, fact->thing)) return fact->recipient;
    } else if (is(2, fact->person) && is(5, fact->thing)) {  // Who did P give the O to
      return fact->recipient;
    }
  }
  return "";
}

}  // namespace wt::test
