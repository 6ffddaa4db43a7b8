#include "data/babilong_metric.h"

#include <algorithm>
#include <set>

#include "data/babi/stories.h"

namespace wt {
namespace {

using Words = std::vector<std::string>;

const Words kRooms{"bathroom", "bedroom", "garden", "hallway", "kitchen", "office"};
const Words kYesNo{"no", "yes"};

// By task, qa1 first.
const std::vector<Words>& labels_of_tasks() {
  static const std::vector<Words> labels{
      kRooms,
      kRooms,
      kRooms,
      kRooms,
      {"Bill", "Fred", "Jeff", "Mary", "apple", "football", "milk"},
      kYesNo,
      {"none", "one", "three", "two"},
      {"apple", "football", "milk", "nothing"},
      kYesNo,
      {"maybe", "no", "yes"},
      kRooms,
      kRooms,
      kRooms,
      {"bedroom", "cinema", "kitchen", "office", "park", "school"},
      {"cat", "mouse", "sheep", "wolf"},
      {"gray", "green", "white", "yellow"},
      kYesNo,
      kYesNo,
      {"e,e", "e,n", "e,s", "n,e", "n,n", "n,w", "s,e", "s,s", "s,w", "w,n", "w,s", "w,w"},
      {"bedroom", "bored", "garden", "hungry", "kitchen", "thirsty", "tired"},
  };
  return labels;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

}  // namespace

const std::vector<std::string>& babilong_labels(std::string_view task) {
  return labels_of_tasks()[static_cast<std::size_t>(babi_task_number(task)) - 1];
}

bool babilong_correct(std::string_view task, std::string_view target, std::string_view output,
                      std::string_view question) {
  std::string answer = lower_case(output);
  for (const std::string_view mark : {".", "<context>", "<example>", "Question"}) {
    answer.resize(std::min(answer.find(mark), answer.size()));
  }
  const std::string asked = lower_case(question);
  std::set<std::string> found;
  for (const std::string& word : babilong_labels(task)) {
    const std::string label = lower_case(word);
    if (answer.find(label) != std::string::npos && asked.find(label) == std::string::npos) found.insert(label);
  }
  std::vector<std::string> wanted{lower_case(target)};
  if (target.size() > 3 && target.find(',') != std::string_view::npos) {
    const std::string whole = std::move(wanted.front());
    wanted.clear();
    for (std::size_t begin = 0; begin <= whole.size();) {
      const std::size_t end = std::min(whole.find(',', begin), whole.size());
      wanted.push_back(whole.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return found.size() == wanted.size() &&
         std::all_of(wanted.begin(), wanted.end(), [&](const std::string& part) { return found.count(part) != 0; });
}

}  // namespace wt
