#include "data/babi/simulator.h"

#include <array>

#include "data/babi/simulator_tasks.h"

namespace wt {
namespace {

using Simulate = BabiStory (*)(RandomStream& random);

constexpr std::array<Simulate, kNumBabiTasks> kSimulators{
    babi::simulate_qa1,  babi::simulate_qa2,  babi::simulate_qa3,  babi::simulate_qa4,  babi::simulate_qa5,
    babi::simulate_qa6,  babi::simulate_qa7,  babi::simulate_qa8,  babi::simulate_qa9,  babi::simulate_qa10,
    babi::simulate_qa11, babi::simulate_qa12, babi::simulate_qa13, babi::simulate_qa14, babi::simulate_qa15,
    babi::simulate_qa16, babi::simulate_qa17, babi::simulate_qa18, babi::simulate_qa19, babi::simulate_qa20,
};

}  // namespace

BabiStory simulate_story(std::string_view task, std::uint64_t seed, std::uint64_t index, Split split) {
  const int number = babi_task_number(task);
  RandomStream random = data_stream(seed, DataPurpose::kStory, split, number, index);
  return kSimulators[static_cast<std::size_t>(number) - 1](random);
}

std::vector<BabiStory> simulate_stories(std::string_view task, std::uint64_t seed, std::uint64_t num_stories,
                                        Split split) {
  std::vector<BabiStory> stories;
  stories.reserve(static_cast<std::size_t>(num_stories));
  for (std::uint64_t i = 0; i < num_stories; ++i) stories.push_back(simulate_story(task, seed, i, split));
  return stories;
}

}  // namespace wt
