// One simulator per task; the registry in babi_simulator.cpp lists them. Internal to the simulator.
#pragma once

#include "core/random.h"
#include "data/babi.h"

namespace wt::babi {

BabiStory simulate_qa1(RandomStream& random);
BabiStory simulate_qa2(RandomStream& random);
BabiStory simulate_qa3(RandomStream& random);
BabiStory simulate_qa4(RandomStream& random);
BabiStory simulate_qa5(RandomStream& random);

}  // namespace wt::babi
