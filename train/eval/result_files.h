// Files of results that grow while a command works.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace wt {

// Until results are whole they go beside those that an earlier run has left under the same name (unfinished_path() of
// core/files.h), and then take their place.
class ResultFiles {
 public:
  // Writes all results so far. Throws Error, leaving what was there.
  void write(const std::string& path, std::string_view text, bool whole);
  // " (in e/eval.csv.partial, …; what was there stays)" where unfinished results are not under their own names, else
  // "".
  std::string where() const;

 private:
  std::map<std::string, std::string> unfinished_;  // where the results of each path are for the time being
};

}  // namespace wt
