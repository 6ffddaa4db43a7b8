// What a run's data were, to know them again where a path has changed, or the files under it have.
#pragma once

#include <string>

#include "train/config.h"

namespace wt {

// A JSON object with, for data.babi and data.books where they are files, path, count, bytes and newest time of the
// files, and a checksum of their content. Of bAbI's files those that the run trains on are looked at. Where `known` is
// such a text and has the same path, count, bytes and time, its checksum is taken, and nothing is read.
std::string describe_data_files(const Config& config, const std::string& known = "");

// Throws UsageError with the key's place and both checksums where files differ between two such texts; `before` may be
// empty, of a run that keeps none, and paths must then be the same as `config_before`'s.
void check_same_data(const Config& config, const Config& config_before, const std::string& before,
                     const std::string& now);

}  // namespace wt
