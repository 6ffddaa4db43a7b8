// The words of the bAbI tasks, as measured in the published files. Internal to the simulator and what reads its
// stories.
#pragma once

#include <array>
#include <string_view>

namespace wt::babi {

inline constexpr std::array<std::string_view, 5> kMoveVerbs{"went to", "went back to", "journeyed to", "travelled to",
                                                            "moved to"};
inline constexpr std::array<std::string_view, 4> kGetVerbs{"got", "took", "grabbed", "picked up"};
inline constexpr std::array<std::string_view, 4> kDropVerbs{"dropped", "left", "discarded", "put down"};
inline constexpr std::array<std::string_view, 3> kGiveVerbs{"gave", "passed", "handed"};

inline constexpr std::array<std::string_view, 4> kActors{"Mary", "John", "Daniel", "Sandra"};
inline constexpr std::array<std::string_view, 4> kGivers{"Mary", "Bill", "Fred", "Jeff"};        // qa5
inline constexpr std::array<std::string_view, 4> kTownspeople{"Bill", "Fred", "Julie", "Mary"};  // qa10, qa14
inline constexpr std::array<std::string_view, 6> kPlaces{"bathroom", "bedroom", "garden",
                                                         "hallway",  "kitchen", "office"};
inline constexpr std::array<std::string_view, 6> kTownPlaces{"bedroom", "cinema", "kitchen",
                                                             "office",  "park",   "school"};  // qa10, qa14
// Four ways, opposites side by side: the opposite of number i is number i ^ 1.
inline constexpr std::array<std::string_view, 4> kDirections{"north", "south", "east", "west"};  // qa4, qa19
inline constexpr std::array<std::string_view, 3> kObjects{"apple", "football", "milk"};

}  // namespace wt::babi
