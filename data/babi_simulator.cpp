#include "data/babi_simulator.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/babi_simulator_tasks.h"

namespace wt {
namespace {

struct TaskSimulator {
  std::string_view task;
  BabiStory (*simulate)(RandomStream& random);
};

constexpr std::array kSimulators{
    TaskSimulator{"qa1", babi::simulate_qa1}, TaskSimulator{"qa2", babi::simulate_qa2},
    TaskSimulator{"qa3", babi::simulate_qa3}, TaskSimulator{"qa4", babi::simulate_qa4},
    TaskSimulator{"qa5", babi::simulate_qa5},
};

const TaskSimulator& find_simulator(std::string_view task) {
  const auto* found =
      std::find_if(kSimulators.begin(), kSimulators.end(), [&](const auto& s) { return s.task == task; });
  if (found != kSimulators.end()) return *found;
  std::string known;
  for (const TaskSimulator& simulator : kSimulators) known += cat(known.empty() ? "" : ", ", simulator.task);
  throw UsageError(cat("there is no simulator for task `", task, "`, only for ", known,
                       "; for others, name a folder with bAbI's files"));
}

}  // namespace

std::vector<std::string> simulated_tasks() {
  std::vector<std::string> tasks;
  tasks.reserve(kSimulators.size());
  for (const TaskSimulator& simulator : kSimulators) tasks.emplace_back(simulator.task);
  return tasks;
}

BabiStory simulate_story(std::string_view task, std::uint64_t seed, std::uint64_t index, Split split) {
  const TaskSimulator& simulator = find_simulator(task);
  RandomStream random = data_stream(seed, DataPurpose::kStory, split, babi_task_number(task), index);
  return simulator.simulate(random);
}

std::vector<BabiStory> simulate_stories(std::string_view task, std::uint64_t seed, std::uint64_t num_stories,
                                        Split split) {
  std::vector<BabiStory> stories;
  stories.reserve(static_cast<std::size_t>(num_stories));
  for (std::uint64_t i = 0; i < num_stories; ++i) stories.push_back(simulate_story(task, seed, i, split));
  return stories;
}

}  // namespace wt
