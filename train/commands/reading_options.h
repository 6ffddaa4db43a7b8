// --segment-size and --strategy: how a command's model reads texts.
#pragma once

#include <CLI/CLI.hpp>

#include "train/models/model_io.h"

namespace wt {

inline void add_segment_size(CLI::App* command, ReadingOptions& options) {
  command
      ->add_option("--segment-size", options.segment_size,
                   "Tokens that are read at once, 0: as the model says; a llama without memory attends all of its text "
                   "then, in constant work memory")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 26));
}

inline void add_strategy(CLI::App* command, ReadingOptions& options) {
  command
      ->add_option_function<std::string>(
          "--strategy", [&options](const std::string& name) { options.passes_state = name == "passed"; },
          "Of Mamba-2 layers: passed hands their state from segment to segment, independent does not, an approximation "
          "(default passed; independent: segments of the model's chunk_size)")
      ->check(CLI::IsMember({"passed", "independent"}));
}

}  // namespace wt
