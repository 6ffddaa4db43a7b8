// One simulator per task; the registry in babi_simulator.cpp lists them. Internal to the simulator.
#pragma once

#include "core/random.h"
#include "data/babi/stories.h"

namespace wt::babi {

BabiStory simulate_qa1(RandomStream& random);
BabiStory simulate_qa2(RandomStream& random);
BabiStory simulate_qa3(RandomStream& random);
BabiStory simulate_qa4(RandomStream& random);
BabiStory simulate_qa5(RandomStream& random);
BabiStory simulate_qa6(RandomStream& random);
BabiStory simulate_qa7(RandomStream& random);
BabiStory simulate_qa8(RandomStream& random);
BabiStory simulate_qa9(RandomStream& random);
BabiStory simulate_qa10(RandomStream& random);
BabiStory simulate_qa11(RandomStream& random);
BabiStory simulate_qa12(RandomStream& random);
BabiStory simulate_qa13(RandomStream& random);
BabiStory simulate_qa14(RandomStream& random);
BabiStory simulate_qa15(RandomStream& random);
BabiStory simulate_qa16(RandomStream& random);
BabiStory simulate_qa17(RandomStream& random);
BabiStory simulate_qa18(RandomStream& random);
BabiStory simulate_qa19(RandomStream& random);
BabiStory simulate_qa20(RandomStream& random);

}  // namespace wt::babi
