#include "train/commands/commands.h"

namespace wt {

void add_commands(CLI::App& program) {
  add_train(program);
  add_eval(program);
  add_score(program);
  add_report(program);
  add_forward(program);
  add_generate(program);
  add_data(program);
  add_tokenize(program);
  add_plan(program);
  add_bench(program);
  add_export(program);
  add_import(program);
  add_convert(program);
  add_info(program);
}

}  // namespace wt
