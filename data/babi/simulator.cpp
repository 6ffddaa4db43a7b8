#include "data/babi/simulator.h"

#include <array>

#include "data/babi/simulator_tasks.h"

namespace wt {
namespace {

struct TaskSimulator {
  void (*simulate)(RandomStream& random, babi::StoryWriter& story) = nullptr;
  int num_questions = babi::kQuestionsPerStory;  // of every story; 0: they differ
};

constexpr std::array<TaskSimulator, kNumBabiTasks> kSimulators{{
    {babi::simulate_qa1},     {babi::simulate_qa2},     {babi::simulate_qa3},     {babi::simulate_qa4, 1},
    {babi::simulate_qa5},     {babi::simulate_qa6},     {babi::simulate_qa7},     {babi::simulate_qa8},
    {babi::simulate_qa9},     {babi::simulate_qa10},    {babi::simulate_qa11},    {babi::simulate_qa12},
    {babi::simulate_qa13},    {babi::simulate_qa14},    {babi::simulate_qa15, 4}, {babi::simulate_qa16, 1},
    {babi::simulate_qa17, 8}, {babi::simulate_qa18, 0}, {babi::simulate_qa19, 1}, {babi::simulate_qa20, 0},
}};

const TaskSimulator& simulator_of(int task) {
  return kSimulators[static_cast<std::size_t>(task) - 1];
}

}  // namespace

BabiStory simulate_story(std::string_view task, std::uint64_t seed, std::uint64_t index, Split split) {
  const int number = babi_task_number(task);
  RandomStream random = data_stream(seed, DataPurpose::kStory, split, number, index);
  babi::StoryWriter writer;
  simulator_of(number).simulate(random, writer);
  return writer.take();
}

std::optional<BabiSample> simulate_sample(int task, RandomStream& story, RandomStream& question,
                                          const SampleLimits& limits, const FactTokens& fact_tokens) {
  const TaskSimulator& simulator = simulator_of(task);
  const auto draw = [&](int count) { return static_cast<int>(question.below(static_cast<std::uint64_t>(count))); };
  const bool is_known = simulator.num_questions > 0;
  int asked = is_known ? draw(simulator.num_questions) : 0;
  babi::StoryWriter writer = is_known ? babi::StoryWriter(asked, limits, fact_tokens) : babi::StoryWriter();
  simulator.simulate(story, writer);
  const int num_questions = writer.num_questions();
  if (!is_known) asked = draw(num_questions);
  if (asked >= num_questions) return std::nullopt;  // it broke off at a limit
  BabiSample sample = babi_sample(writer.take(), asked);
  const auto num_facts = static_cast<std::int64_t>(sample.facts.size());
  if (!limits.allow(num_facts, num_facts)) return std::nullopt;  // the tokens are the caller's to count
  return sample;
}

std::vector<BabiStory> simulate_stories(std::string_view task, std::uint64_t seed, std::uint64_t num_stories,
                                        Split split) {
  std::vector<BabiStory> stories;
  stories.reserve(static_cast<std::size_t>(num_stories));
  for (std::uint64_t i = 0; i < num_stories; ++i) stories.push_back(simulate_story(task, seed, i, split));
  return stories;
}

}  // namespace wt
