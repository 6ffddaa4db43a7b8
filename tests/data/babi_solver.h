// Answers the questions of qa6 ... qa20 from a story's text alone, sharing nothing with the simulator: an independent
// check that what a story says is consistent and that the answer follows from it.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/data/babi_reader.h"

namespace wt::test {

using Words = std::vector<std::string>;
using Cell = std::array<int, 2>;

inline std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// "The red square is above the box": what stands between two marks, "" as the last mark for the rest.
inline std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const std::size_t begin = text.find(from);
  WT_CHECK(begin != std::string::npos, "no `", from, "` in `", text, "`");
  const std::size_t start = begin + from.size(), end = to.empty() ? text.find_first_of(".?") : text.find(to, start);
  WT_CHECK(end != std::string::npos && end > start, "no `", to, "` in `", text, "`");
  return text.substr(start, end - start);
}

// qa6, qa9 ... qa13: where persons are, are not, or may be.
class WhereaboutsSolver {
 public:
  void read(const std::string& text) {
    Words words = words_of(text);
    for (const Words& start : {Words{"Afterwards"}, {"Then"}, {"After", "that"}, {"Following", "that"}}) {
      if (words.size() > start.size() && std::equal(start.begin(), start.end(), words.begin())) {
        words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(start.size()));
      }
    }
    Words rest(words.begin() + 1, words.end());
    if (words[0] == "they") {
      WT_CHECK(subjects_.size() == 2, "`", text, "`: who are they?");
    } else if (words[0] == "he" || words[0] == "she") {
      const bool female = subjects_.size() == 1 && (subjects_[0] == "Mary" || subjects_[0] == "Sandra");
      WT_CHECK(subjects_.size() == 1 && female == (words[0] == "she"), "`", text, "`: who is that?");
    } else {
      subjects_ = {words[0]};
      if (rest.at(0) == "and") {
        subjects_.push_back(rest.at(1));
        WT_CHECK(subjects_[0] != subjects_[1], "`", text, "`: twice the same");
        rest.erase(rest.begin(), rest.begin() + 2);
      }
    }
    const bool is = rest.at(0) == "is", either = is && rest.at(1) == "either";
    const bool denied = is && (rest.at(1) == "not" || rest.at(1) == "no");
    if (!is && read_fact("Mary " + tail(rest, 0)).kind != 'M') return;  // qa6: gets and drops say nothing of places
    std::set<std::string> places{rest.back()};
    if (either) {
      WT_CHECK(rest.size() == 8 && rest[5] == "or" && rest[4] != rest[7], "cannot read `", text, "`");
      places.insert(rest[4]);
    }
    for (const std::string& person : subjects_) {
      Known& known = known_[person];
      WT_CHECK(denied || either || known.denied || known.places != places, "`", text, "`: goes where they are");
      WT_CHECK(!denied || known.denied || known.places.empty() || known.places == places, "`", text, "`: left another");
      WT_CHECK(!denied || !known.denied || known.places != places, "`", text, "`: left it before");
      known = {places, denied};
    }
  }
  std::string answer(const std::string& question) const {
    const Words words = words_of(question);
    const bool where = words[0] == "Where";
    const auto found = known_.find(words.at(where ? 2 : 1));
    if (found == known_.end()) return "";
    const Known& known = found->second;
    if (where) return known.denied || known.places.size() != 1 ? "" : *known.places.begin();
    const bool named = known.places.count(words.back()) > 0;
    if (known.denied) return named ? "no" : "";
    return !named ? "no" : known.places.size() == 1 ? "yes" : "maybe";
  }

 private:
  struct Known {
    std::set<std::string> places;
    bool denied = false;
  };
  static std::string tail(const Words& words, std::size_t from) {
    std::string out;
    for (std::size_t i = from; i < words.size(); ++i) out += (i > from ? " " : "") + words[i];
    return out + ".";
  }
  Words subjects_;
  std::map<std::string, Known> known_;
};

// qa7 and qa8. (Whether gets and drops are possible is checked by Reader, where all facts are read.)
inline std::string answer_carrying(const std::vector<std::string>& facts, const std::string& question) {
  const Words words = words_of(question);
  const bool count = words[0] == "How";
  const std::string person = words.at(count ? 4 : 2);
  Words held;
  for (const std::string& text : facts) {
    const Fact fact = read_fact(text);
    if (fact.kind == 'M') continue;
    const bool gets = (fact.kind == 'G' && fact.person == person) || fact.recipient == person;
    if (gets) held.push_back(fact.thing);
    if (!gets && fact.person == person) WT_CHECK(std::erase(held, fact.thing) == 1, "`", text, "`: does not hold it");
  }
  if (count) return std::array<std::string, 4>{"none", "one", "two", "three"}.at(held.size());
  std::string list;
  for (const std::string& object : held) list += (list.empty() ? "" : ",") + object;
  return list.empty() ? "nothing" : list;
}

inline std::string answer_time(const std::vector<std::string>& facts, const std::string& question) {
  const std::array<std::string, 4> times{"yesterday", "this morning", "this afternoon", "this evening"};
  std::map<std::pair<std::string, int>, std::string> visits;
  const Words asked = words_of(question);
  for (const std::string& fact : facts) {
    std::string text = lower(fact.substr(0, fact.size() - 1));
    int time = -1;
    for (int i = 0; i < 4; ++i) {
      const std::string& phrase = times[static_cast<std::size_t>(i)];
      if (text.starts_with(phrase + " ")) {
        time = i;
        text = fact.substr(phrase.size() + 1);
      } else if (text.ends_with(" " + phrase)) {
        time = i;
        text = fact.substr(0, text.size() - phrase.size() - 1) + ".";
      }
      if (time >= 0) break;
    }
    WT_CHECK(time >= 0, "no time in `", fact, "`");
    const Fact move = read_fact(text);
    WT_CHECK(move.kind == 'M' && visits.emplace(std::pair{move.person, time}, move.thing).second, "`", fact, "`");
  }
  // The last visit counts.
  for (int time = 3; time > 0; --time) {
    const auto visit = visits.find({asked.at(2), time});
    if (visit == visits.end() || visit->second != asked.at(5)) continue;
    const auto before = visits.find({asked.at(2), time - 1});
    return before == visits.end() ? "" : before->second;
  }
  return "";
}

inline std::string answer_deduction(const std::vector<std::string>& facts, const std::string& question) {
  const std::map<std::string, std::string> one{
      {"mice", "mouse"}, {"wolves", "wolf"}, {"cats", "cat"}, {"sheep", "sheep"}};
  std::map<std::string, std::string> fears, kinds;
  for (const std::string& fact : facts) {
    const Words words = words_of(lower(fact));
    if (words.size() == 5) {
      const bool is_new = fears.emplace(one.at(words[0]), one.at(words[4])).second;
      WT_CHECK(is_new && words[0] != words[4] && words[3] == "of", "`", fact, "`");
    } else {
      WT_CHECK(words.size() == 4 && words[2] == "a" && kinds.emplace(words[0], words[3]).second, "`", fact, "`");
    }
  }
  const std::string person = words_of(question).at(2);
  return kinds.count(person) && fears.count(kinds[person]) ? fears[kinds[person]] : "";
}

inline std::string answer_induction(const std::vector<std::string>& facts, const std::string& question) {
  const std::string asked = words_of(question).at(3);
  std::map<std::string, std::string> colors;
  std::vector<std::pair<std::string, std::string>> kinds;  // in the order of telling
  std::string kind;
  for (const std::string& fact : facts) {
    const Words words = words_of(fact);
    if (words.size() == 3) {
      colors.emplace(words[0], words[2]);
    } else if (words[0] == asked) {
      kind = words[3];
    } else {
      kinds.emplace_back(words[0], words[3]);
    }
  }
  WT_CHECK(colors.count(asked) == 0, "the color of ", asked, " is told");
  for (auto other = kinds.rbegin(); other != kinds.rend(); ++other) {
    if (other->second == kind && colors.count(other->first)) return colors[other->first];
  }
  return "";
}

// "A is above B", told by the facts as steps on a grid; a relation holds where A is further that way than B.
inline std::string answer_position(const std::vector<std::string>& facts, const std::string& question) {
  const std::map<std::string, Cell> relations{
      {"above", {0, 1}}, {"below", {0, -1}}, {"to the left of", {-1, 0}}, {"to the right of", {1, 0}}};
  const auto parse = [&](const std::string& text, const std::string& start, const std::string& verb) {
    for (const auto& [name, step] : relations) {
      const std::string middle = verb + name + " the ";
      if (text.find(middle) == std::string::npos) continue;
      return std::tuple{between(text, start, middle), step, between(text, middle, "")};
    }
    throw Error("no relation in `" + text + "`");
  };
  std::map<std::string, Cell> cells;
  for (const std::string& fact : facts) {
    const auto [one, step, other] = parse(fact, "The ", " is ");
    if (cells.empty()) cells[other] = {0, 0};
    if (cells.count(other)) {
      cells[one] = {cells[other][0] + step[0], cells[other][1] + step[1]};
    } else {
      if (!cells.count(one)) return "";
      cells[other] = {cells[one][0] - step[0], cells[one][1] - step[1]};
    }
  }
  std::set<Cell> taken;
  for (const auto& [shape, cell] : cells) WT_CHECK(taken.insert(cell).second, "two shapes in one place");
  const auto [one, step, other] = parse(question, "Is the ", " ");
  if (!cells.count(one) || !cells.count(other)) return "";
  const Cell &a = cells[one], &b = cells[other];
  return (a[0] - b[0]) * step[0] + (a[1] - b[1]) * step[1] > 0 ? "yes" : "no";
}

inline std::string answer_size(const std::vector<std::string>& facts, const std::string& question) {
  std::set<std::pair<std::string, std::string>> smaller;
  std::set<std::string> things;
  for (const std::string& fact : facts) {
    const bool fits = fact.find(" fits inside the ") != std::string::npos;
    std::string first = between(fact, "The ", fits ? " fits inside the " : " is bigger than the ");
    std::string second = between(fact, fits ? " fits inside the " : " is bigger than the ", "");
    if (!fits) std::swap(first, second);
    smaller.emplace(first, second);
    things.insert({first, second});
  }
  for (const std::string& middle : things) {
    for (const std::string& one : things) {
      for (const std::string& other : things) {
        if (smaller.count({one, middle}) && smaller.count({middle, other})) smaller.emplace(one, other);
      }
    }
  }
  for (const std::string& thing : things) WT_CHECK(!smaller.count({thing, thing}), thing, " is smaller than itself");
  const bool fit = question.starts_with("Does ");
  std::string small = fit ? between(question, "Does the ", " fit in the ") : between(question, " bigger than the ", "");
  std::string big = fit ? between(question, " fit in the ", "") : between(question, "Is the ", " bigger than the ");
  return smaller.count({small, big}) ? "yes" : smaller.count({big, small}) ? "no" : "";
}

inline std::string answer_path(const std::vector<std::string>& facts, const std::string& question) {
  const std::map<std::string, char> back{{"north", 's'}, {"south", 'n'}, {"east", 'w'}, {"west", 'e'}};
  std::map<std::string, std::map<char, std::string>> ways;  // from a place, by direction
  for (const std::string& fact : facts) {
    const Words words = words_of(fact);
    WT_CHECK(words.size() == 7 && words[1] != words[6], "`", fact, "`");
    const bool is_new = ways[words[6]].emplace(words[3][0], words[1]).second &&
                        ways[words[1]].emplace(back.at(words[3]), words[6]).second;
    WT_CHECK(is_new, "`", fact, "`: two places that way");
  }
  const Words asked = words_of(question);
  // Every way without a place twice.
  std::vector<std::string> found;
  struct Walk {
    std::string at, path;
    std::set<std::string> seen;
  };
  for (std::deque<Walk> walks{{asked.at(6), "", {asked.at(6)}}}; !walks.empty(); walks.pop_front()) {
    const Walk walk = walks.front();
    if (walk.at == asked.at(9)) found.push_back(walk.path.substr(1));
    for (const auto& [direction, to] : ways[walk.at]) {
      if (walk.seen.count(to)) continue;
      Walk next{to, walk.path + "," + direction, walk.seen};
      next.seen.insert(to);
      walks.push_back(std::move(next));
    }
  }
  return found.size() == 1 ? found[0] : "";
}

inline std::string answer_motive(const std::vector<std::string>& facts, const std::string& question) {
  const std::map<std::string, std::string> goals{
      {"tired", "bedroom"}, {"hungry", "kitchen"}, {"bored", "garden"}, {"thirsty", "kitchen"}};
  const Words asked = words_of(question);
  for (const std::string& fact : facts) {
    const Words words = words_of(lower(fact));
    if (words.at(1) == "is" && words[0] == asked.at(2))
      return asked[0] == "Where" ? goals.at(words.at(2)) : words.at(2);
  }
  return "";
}

// The answer to a question of qa6 ... qa20 after these facts; "" where it does not follow, or is not unique.
inline std::string solve(int task, const std::vector<std::string>& facts, const std::string& question) {
  switch (task) {
    case 7:
    case 8:
      return answer_carrying(facts, question);
    case 14:
      return answer_time(facts, question);
    case 15:
      return answer_deduction(facts, question);
    case 16:
      return answer_induction(facts, question);
    case 17:
      return answer_position(facts, question);
    case 18:
      return answer_size(facts, question);
    case 19:
      return answer_path(facts, question);
    case 20:
      return answer_motive(facts, question);
    default:
      WhereaboutsSolver solver;
      for (const std::string& fact : facts) solver.read(fact);
      return solver.answer(question);
  }
}

}  // namespace wt::test
