// One simulator per task; the registry in simulator.cpp lists them. Each tells its story to the writer, to the end or
// as far as the writer goes on. Internal to the simulator.
#pragma once

#include "core/random.h"
#include "data/babi/story_writer.h"

namespace wt::babi {

void simulate_qa1(RandomStream& random, StoryWriter& story);
void simulate_qa2(RandomStream& random, StoryWriter& story);
void simulate_qa3(RandomStream& random, StoryWriter& story);
void simulate_qa4(RandomStream& random, StoryWriter& story);
void simulate_qa5(RandomStream& random, StoryWriter& story);
void simulate_qa6(RandomStream& random, StoryWriter& story);
void simulate_qa7(RandomStream& random, StoryWriter& story);
void simulate_qa8(RandomStream& random, StoryWriter& story);
void simulate_qa9(RandomStream& random, StoryWriter& story);
void simulate_qa10(RandomStream& random, StoryWriter& story);
void simulate_qa11(RandomStream& random, StoryWriter& story);
void simulate_qa12(RandomStream& random, StoryWriter& story);
void simulate_qa13(RandomStream& random, StoryWriter& story);
void simulate_qa14(RandomStream& random, StoryWriter& story);
void simulate_qa15(RandomStream& random, StoryWriter& story);
void simulate_qa16(RandomStream& random, StoryWriter& story);
void simulate_qa17(RandomStream& random, StoryWriter& story);
void simulate_qa18(RandomStream& random, StoryWriter& story);
void simulate_qa19(RandomStream& random, StoryWriter& story);
void simulate_qa20(RandomStream& random, StoryWriter& story);

}  // namespace wt::babi
