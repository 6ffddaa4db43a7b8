#include "train/commands/commands.h"

namespace wt {

void add_commands(CLI::App& program) {
  add_data(program);
  add_tokenize(program);
  add_info(program);
}

}  // namespace wt
